"""Runs: one for each generation, a bounded window, a gate, and a pointer that moves once and never back."""

import asyncio
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from redis.exceptions import ResponseError

from reckoner.shared.errors import RetryRefusedError
from reckoner.shared.flows.dead_letters import DeadLetters
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.flows.flows import Flows
from reckoner.shared.flows.run_state import DamagedRunError, Run
from reckoner.shared.flows.runs import block_size_of
from reckoner.shared.redis.scripts import ask
from reckoner.shared.redis.scripts.constants import BEAT_WITHIN_MS, LEAST_WINDOW
from reckoner.shared.wire.jobs import Finish
from reckoner.shared.wire.shapes import Options, Outcome, Record
from reckoner.workers.maintenance.sweeper import Sweeper
from tests.damages import DAMAGES, Damage
from tests.world import USERS, Generation, Hand, World, settle


async def load(hand: Hand, run_id: str) -> Run:
    run = await hand.runtime.runs.load(run_id)
    assert run is not None
    return run


async def start(hand: Hand, generation: Generation, block_size: int = 2, window: int = 2) -> str:
    run_id, new = await hand.runtime.runs.start(generation.record, block_size, window)
    assert new
    return run_id


def is_finish(job: str) -> bool:
    return job.startswith("finish:")


async def cached(hand: Hand, generation: Generation) -> dict[str, Any]:
    state, prefix = await hand.dump(), hand.runtime.keys.result(generation.id, "")
    return {name.removeprefix(prefix): data for name, data in state.items() if name.startswith(prefix)}


async def flight(hand: Hand, run_id: str) -> dict[bytes, bytes]:
    pairs: dict[bytes, bytes] = await ask(hand.redis, "HGETALL", hand.runtime.keys.flight(run_id))
    return pairs


async def test_a_run_does_everybody_and_flips(hand: Hand, world: World) -> None:
    """With a window of two blocks in flight; its generation is current then, the one before is the previous."""
    first, second = await hand.adopt(world), await hand.adopt(world, 1)
    run_id = await start(hand, second)
    while jobs := await hand.queued():
        assert len(await flight(hand, run_id)) <= 2
        await hand.deliver(jobs[0])
    run = await load(hand, run_id)
    assert (run.state, run.outcome) == ("ended", "passed")
    assert run.manifest is not None
    assert (run.manifest.users, run.manifest.done, run.manifest.failed, run.manifest.empty) == (6, 6, 0, 1)
    assert await cached(hand, second) == second.lists
    assert await hand.runtime.results.generations.current() == second.id
    assert await hand.runtime.results.generations.pointer(hand.runtime.keys.previous) == first.id


async def set_workers(hand: Hand, count: int) -> None:
    """Let so many workers have sent a heartbeat just now, and none else."""
    key, now_ms = hand.runtime.keys.workers, await hand.runtime.now_ms()
    await ask(hand.redis, "DEL", key)
    if count:
        await ask(hand.redis, "ZADD", key, *(word for n in range(count) for word in (now_ms, f"worker {n}")))


async def end_a_block(hand: Hand, run_id: str, workers: int | None = None) -> int:
    """End the first block in flight, with so many workers now. Returns how many are in flight then."""
    if workers is not None:
        await set_workers(hand, workers)
    first = min((await flight(hand, run_id)).items(), key=lambda pair: int(pair[0]))
    flow = await hand.runtime.flows.load(first[1].decode())
    assert flow is not None
    assert await hand.runtime.flows.finish(flow, outcome=Outcome(done=1), lease=None)
    return len(await flight(hand, run_id))


async def test_a_window_follows_the_workers(hand: Hand, world: World) -> None:
    """Three blocks a worker, and no fewer than eight: more soon after workers came, none too many after they went."""
    record = msgspec.structs.replace((await hand.adopt(world)).record, users=200)
    await set_workers(hand, 4)
    run_id, _ = await hand.runtime.runs.start(record, 1)
    assert len(await flight(hand, run_id)) == 12
    # Each block ends just after a heartbeat, however slow this machine is.
    assert [await end_a_block(hand, run_id, 20) for _ in range(50)] == [*range(13, 61), 60, 60]
    assert [await end_a_block(hand, run_id, 0) for _ in range(54)] == [*range(59, 7, -1), 8, 8]
    while await end_a_block(hand, run_id, 0):
        pass
    run = await load(hand, run_id)
    assert (run.state, await hand.runtime.runs.progress(run_id)) == ("finish", 200)


async def test_a_worker_without_a_recent_heartbeat_has_no_share_of_the_window(hand: Hand, world: World) -> None:
    """It is dead or cannot reach Redis."""
    record = msgspec.structs.replace((await hand.adopt(world)).record, users=100)
    old = await hand.runtime.now_ms() - BEAT_WITHIN_MS - 60_000
    await ask(hand.redis, "ZADD", hand.runtime.keys.workers, *(word for n in range(9) for word in (old, f"dead {n}")))
    run_id, _ = await hand.runtime.runs.start(record, 1)
    assert len(await flight(hand, run_id)) == LEAST_WINDOW


async def test_a_window_has_room_for_all_threads_of_the_workers(hand: Hand, world: World) -> None:
    """Those of each worker as many as the worker has that ends a block."""
    record = msgspec.structs.replace((await hand.adopt(world)).record, users=200)
    hand.runtime = replace(hand.runtime, flows=Flows(hand.redis, hand.runtime.keys, 10.0, threads=5))
    await set_workers(hand, 3)
    run_id, _ = await hand.runtime.runs.start(record, 1)
    assert len(await flight(hand, run_id)) == 9
    assert [await end_a_block(hand, run_id, 3) for _ in range(40)][-5:] == [45] * 5


async def test_planted_heartbeats_have_no_share_of_the_window(hand: Hand, world: World) -> None:
    """Those in the future; and with another type at their key blocks end and follow all the same."""
    record = msgspec.structs.replace((await hand.adopt(world)).record, users=100)
    key, tomorrow = hand.runtime.keys.workers, await hand.runtime.now_ms() + 86_400_000
    await ask(hand.redis, "ZADD", key, *(word for n in range(9) for word in (tomorrow, f"planted {n}")))
    run_id, _ = await hand.runtime.runs.start(record, 1)
    assert len(await flight(hand, run_id)) == LEAST_WINDOW
    await ask(hand.redis, "SET", key, "planted", "EX", 100)
    assert await end_a_block(hand, run_id) == LEAST_WINDOW


@pytest.mark.parametrize("window", ["nan", "-nan", "inf", "-1", "0", "", "many"])
async def test_a_planted_window_counts_as_none(hand: Hand, world: World, window: str) -> None:
    """The window follows the workers then."""
    record = msgspec.structs.replace((await hand.adopt(world)).record, users=100)
    run_id, _ = await hand.runtime.runs.start(record, 1, 2)
    await ask(hand.redis, "HSET", hand.runtime.keys.run(run_id), "window", window)
    for _ in range(LEAST_WINDOW):
        in_flight = await end_a_block(hand, run_id)
    assert in_flight == LEAST_WINDOW


@pytest.mark.parametrize(
    ("users", "additions", "length", "expected"),
    [
        (138_493, 138_493 * 14_500, 20, 1435),
        (138_493, 138_493 * 14_500, 1, 1435),
        (138_493, 138_493 * 14_500, 1000, 105),
        (1_400_000, 2_100_000 * 50, 20, 5517),
        (671, 671 * 14_000, 20, 42),
        (3, 0, 20, 1),
        (0, 0, 20, 1),
    ],
)
def test_a_block_is_sized_by_its_work(users: int, additions: int, length: int, expected: int) -> None:
    """By the additions of its users and the writing of their lists; a run over few users has several blocks."""
    record = Record(2, "g", "m", "s", Options(length), 0, users, [], additions)
    assert block_size_of(record) == expected


async def test_the_first_generation_passes_without_a_flip(hand: Hand, world: World) -> None:
    """It is current already; the previous one stays none."""
    generation = await hand.adopt(world)
    run_id = await start(hand, generation, 4, 1)
    await hand.deliver_all()
    assert (await load(hand, run_id)).outcome == "passed"
    assert await hand.runtime.results.generations.pointer(hand.runtime.keys.previous) is None


async def test_a_second_run_of_a_generation_joins_the_first(hand: Hand, world: World) -> None:
    """Twenty who start one at once start one; after its end a new one starts."""
    generation = await hand.adopt(world)
    answers = await asyncio.gather(*(hand.runtime.runs.start(generation.record, 2, 2) for _ in range(20)))
    assert len({run_id for run_id, _ in answers}) == 1
    assert sum(new for _, new in answers) == 1
    await hand.deliver_all()
    assert (await hand.runtime.runs.start(generation.record, 2, 2))[1]


async def test_a_run_that_has_ended_is_not_joined(hand: Hand, world: World) -> None:
    """Even when its entry has stayed behind."""
    generation = await hand.adopt(world)
    first = await start(hand, generation)
    await hand.deliver_all()
    await ask(hand.redis, "SET", hand.runtime.keys.run_of(generation.id), first, "EX", 100)
    assert await start(hand, generation) != first


async def test_of_two_runs_at_once_one_flips(hand: Hand, world: World) -> None:
    """The pointer has moved since the other began, so that ends as superseded; and the pointer never goes back."""
    await hand.adopt(world)
    older, newer = await hand.adopt(world, 1), await hand.adopt(world, 2)
    first, second = await start(hand, older), await start(hand, newer)
    await hand.deliver_all(but=lambda job: is_finish(job) or job == Finish(first, 0).job_id)
    await hand.deliver(Finish(second, 0).job_id)
    await hand.deliver(Finish(first, 0).job_id)
    assert ((await load(hand, first)).outcome, (await load(hand, second)).outcome) == ("superseded", "passed")
    assert await hand.runtime.results.generations.current() == newer.id


async def test_a_flip_that_is_done_again_stays_done(hand: Hand, world: World) -> None:
    """A finish whose worker died after the flip passes when it comes again."""
    await hand.adopt(world)
    generation = await hand.adopt(world, 1)
    run_id = await start(hand, generation)
    await hand.deliver_all(but=is_finish)
    run = await load(hand, run_id)
    assert await hand.runtime.runs.flip(run, lease=None) == "flipped"
    before = await hand.dump()
    assert await hand.runtime.runs.flip(run, lease=None) == "flipped"
    assert await hand.dump() == before
    await hand.deliver_all()
    assert (await load(hand, run_id)).outcome == "passed"
    assert await hand.runtime.runs.flip(run, lease=None) == "late"


async def test_a_run_that_flipped_does_not_flip_again_over_another(hand: Hand, world: World) -> None:
    """Between its flip and its end another generation became current: it stays."""
    await hand.adopt(world)
    generation, other = await hand.adopt(world, 1), await hand.adopt(world, 2)
    run_id = await start(hand, generation)
    await hand.deliver_all(but=is_finish)
    await hand.runtime.runs.flip(await load(hand, run_id), lease=None)
    await ask(hand.redis, "SET", hand.runtime.keys.current, other.id)
    await hand.deliver_all()
    assert (await load(hand, run_id)).outcome == "superseded"
    assert await hand.runtime.results.generations.current() == other.id


async def test_a_failed_block_stops_the_flip_and_not_the_run(hand: Hand, world: World) -> None:
    """The others are done, the manifest tells the reason, yesterday's generation stays."""
    first, second = await hand.adopt(world), await hand.adopt(world, 1)
    run_id = await start(hand, second)
    [flow] = await hand.runtime.flows.load_many([(await flight(hand, run_id))[b"1"].decode()])
    await hand.runtime.flows.fail(flow, "failed by the test", lease=None)  # type: ignore[arg-type]
    await hand.deliver_all()
    run = await load(hand, run_id)
    assert run.outcome == "refused"
    assert run.manifest is not None
    assert (run.manifest.done, run.manifest.failed, run.manifest.reasons) == (4, 2, ["failed by the test"])
    assert await hand.runtime.results.generations.current() == first.id
    assert await ask(hand.redis, "PTTL", hand.runtime.keys.record(second.id)) == -1, "the newest pointer names it"


async def test_the_churn_is_the_share_of_places_that_are_new(hand: Hand, world: World) -> None:
    """Counted over the users who had a list in the generation that was current when the run began."""
    first, second = await hand.adopt(world), world.generations[1]
    await start(hand, first)
    await hand.deliver_all()
    await hand.adopt(world, 1)
    run_id = await start(hand, second, 4, 1)
    await hand.deliver_all()
    manifest = (await load(hand, run_id)).manifest
    assert manifest is not None
    assert manifest.figures is not None
    pairs = [await hand.runtime.results.read(generation.id, USERS) for generation in (first, second)]
    before, after = [[{place.item for place in result.items} for result in results if result] for results in pairs]
    fresh = sum(len(new - old) for old, new in zip(before, after, strict=True))
    assert manifest.figures.churn == round(fresh / sum(map(len, after)), 6)


@pytest.mark.parametrize("key", ["queue", "blocks", "run"])
async def test_a_block_ends_whole_or_not_at_all(hand: Hand, world: World, key: str) -> None:
    """A key of another type stops the script before it has written: the run would lose its next block for good."""
    await hand.adopt(world)
    run_id, keys = await start(hand, await hand.adopt(world, 1), 1, 1), hand.runtime.keys
    [flow] = await hand.runtime.flows.load_many([(await flight(hand, run_id))[b"0"].decode()])
    assert isinstance(flow, Flow)
    name = keys.batch if key == "queue" else getattr(keys, key)(run_id)
    await ask(hand.redis, "SET", name, "planted", "EX", 100)
    before = await hand.dump()
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await hand.runtime.flows.finish(flow, lease=None)
    assert await hand.dump() == before


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_pointer_without_a_valid_generation_does_not_supersede(
    hand: Hand, world: World, damage: Damage
) -> None:
    """However pointer or record have changed since the start, the run's generation goes live."""
    first, second = await hand.adopt(world), await hand.adopt(world, 1)
    run_id = await start(hand, second)
    await hand.deliver_all(but=is_finish)
    await damage(hand.redis, hand.runtime.keys, hand.runtime.keys.current, first.id)
    await hand.deliver_all()
    assert (await load(hand, run_id)).outcome == "passed"
    assert await hand.runtime.results.generations.current() == second.id


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_run_takes_the_place_of_a_pointer_that_names_nothing(hand: Hand, world: World, damage: Damage) -> None:
    """It begins as if there were no generation yet, and nothing is named as the one before."""
    first, second, keys = await hand.adopt(world), await hand.adopt(world, 1), hand.runtime.keys
    await damage(hand.redis, keys, keys.current, first.id)
    run_id = await start(hand, second)
    assert (await load(hand, run_id)).since == ""
    await hand.deliver_all()
    assert (await load(hand, run_id)).outcome == "passed"
    assert await hand.runtime.results.generations.current() == second.id
    assert await hand.runtime.results.generations.pointer(keys.previous) is None


@pytest.mark.parametrize("planted", [("SET", "planted"), ("ZADD", 1, "a"), ("RPUSH", "a")])
async def test_a_run_ends_over_planted_holdings(hand: Hand, world: World, planted: tuple[str | int, ...]) -> None:
    """A key of another type holds nothing."""
    first = await hand.adopt(world)
    command, *words = planted
    await ask(hand.redis, command, hand.runtime.keys.held, *words)
    run_id, _ = await hand.runtime.runs.start(first.record, 2)
    await hand.deliver_all()
    run = await hand.runtime.runs.load(run_id)
    assert run is not None
    assert (run.state, run.outcome) == ("ended", "passed")
    assert await ask(hand.redis, "HKEYS", hand.runtime.keys.held) == [first.id.encode()]


async def test_a_run_whose_own_record_is_lost_does_not_go_live(hand: Hand, world: World) -> None:
    """Readers would find no generation, where they have one now; the reason says what to do."""
    first, second = await hand.adopt(world), await hand.adopt(world, 1)
    run_id = await start(hand, second)
    await hand.deliver_all(but=is_finish)
    await ask(hand.redis, "SET", hand.runtime.keys.record(second.id), b"\x80bomb")
    await hand.deliver_all()
    run = await load(hand, run_id)
    assert run.manifest is not None
    assert (run.outcome, len(run.manifest.reasons)) == ("failed", 1)
    assert "is gone; fit a model again" in run.manifest.reasons[0]
    assert await hand.runtime.results.generations.current() == first.id


@pytest.mark.parametrize("lost", ["flight", "blocks", "flow", "finish"])
async def test_what_a_run_loses_is_put_back(hand: Hand, world: World, sweeper: Sweeper, lost: str) -> None:
    """Its bookkeeping, a flow of its own, or its finish: the run ends well all the same."""
    await hand.adopt(world)
    generation = await hand.adopt(world, 1)
    run_id, keys = await start(hand, generation), hand.runtime.keys
    flow = (await flight(hand, run_id))[b"0"].decode()
    for job in await hand.queued():
        await hand.deliver(job)
    if lost == "flow":
        await ask(hand.redis, "DEL", keys.flow(flow))
    elif lost == "finish":
        await hand.deliver_all(but=is_finish)
        await ask(hand.redis, "ZREM", keys.batch, Finish(run_id, 0).job_id)
    else:
        if lost == "blocks":
            await hand.deliver_all(but=lambda job: flow not in job)
        await ask(hand.redis, "DEL", getattr(keys, lost)(run_id))
    await settle(hand, sweeper.sweep)
    assert (await load(hand, run_id)).outcome == "passed"
    assert await cached(hand, generation) == generation.lists


@pytest.mark.parametrize("field", ["state", "generation", "since", "next", "blocks", "spec", "users", "started"])
async def test_a_run_that_cannot_be_read_ends_as_failed(hand: Hand, world: World, sweeper: Sweeper, field: str) -> None:
    """Waiting clients are notified, the pointer stays, and the next run of the generation is a new one."""
    first, second = await hand.adopt(world), await hand.adopt(world, 1)
    run_id = await start(hand, second)
    await ask(hand.redis, "HSET", hand.runtime.keys.run(run_id), field, b"\xff no value of ours")
    with pytest.raises(DamagedRunError):
        await hand.runtime.runs.load(run_id)
    await settle(hand, sweeper.sweep)
    run = await load(hand, run_id)
    assert (run.state, run.outcome) == ("ended", "failed")
    assert await hand.runtime.results.generations.current() == first.id
    again = await start(hand, second)
    await settle(hand, sweeper.sweep)
    assert (await load(hand, again)).outcome == "passed"


async def test_an_outcome_that_cannot_be_read_counts_as_failed(hand: Hand, world: World) -> None:
    """The run ends as refused, and says why."""
    await hand.adopt(world)
    run_id = await start(hand, await hand.adopt(world, 1))
    await hand.deliver_all(but=is_finish)
    await ask(hand.redis, "HSET", hand.runtime.keys.blocks(run_id), "1", b"\x80\x05bomb.", "x", b"planted")
    await hand.deliver_all()
    run = await load(hand, run_id)
    assert run.outcome == "refused"
    assert run.manifest is not None
    assert run.manifest.reasons == ["the outcome of a block is unreadable"]


async def test_a_finish_that_kills_its_worker_ends_the_run(hand: Hand, world: World) -> None:
    """After three starts without an end the run is over, and failed."""
    await hand.adopt(world)
    run_id = await start(hand, await hand.adopt(world, 1))
    await hand.deliver_all(but=is_finish)
    await hand.run("finish", [run_id, 0], Finish(run_id, 0).job_id, tries=4)
    assert (await load(hand, run_id)).outcome == "failed"


async def test_a_finish_that_dies_in_the_clean_up_has_passed(hand: Hand, world: World) -> None:
    """The pointer has moved and readers see the generation: what is missing removes only what expires by itself."""
    await hand.adopt(world)
    run_id = await start(hand, await hand.adopt(world, 1))
    await hand.deliver_all(but=is_finish)
    assert await hand.runtime.runs.flip(await load(hand, run_id), lease=None) == "flipped"
    await hand.run("finish", [run_id, 0], Finish(run_id, 0).job_id, tries=4)
    assert (await load(hand, run_id)).outcome == "passed"


async def test_an_unfinished_run_renews_its_keys(hand: Hand, world: World, sweeper: Sweeper) -> None:
    """Its own keys and its generation's record are renewed. The keys of an ended run expire within the hour."""
    await hand.adopt(world)
    generation, keys = world.generations[1], hand.runtime.keys
    run_id = await start(hand, generation)
    names = [keys.run(run_id), keys.flight(run_id), keys.run_of(generation.id), keys.record(generation.id)]
    for name in names:
        await ask(hand.redis, "PEXPIRE", name, 1_000)
    await hand.make_due()
    await sweeper.sweep()
    assert all([await ask(hand.redis, "PTTL", name) > 6 * 86_400_000 for name in names])
    await hand.deliver_all()
    assert 0 < await ask(hand.redis, "PTTL", keys.run(run_id)) <= 3_600_000
    assert not await ask(hand.redis, "EXISTS", keys.flight(run_id), keys.blocks(run_id), keys.run_of(generation.id))


@pytest.mark.parametrize("field", ["run", "block", "spec"])
async def test_a_block_whose_flow_lost_its_way_is_put_back(
    hand: Hand, world: World, sweeper: Sweeper, field: str
) -> None:
    """A flow that no longer knows its run or its block ends and cannot tell; another takes its place."""
    await hand.adopt(world)
    generation = await hand.adopt(world, 1)
    run_id = await start(hand, generation, 1, 1)
    flow = (await flight(hand, run_id))[b"0"].decode()
    await ask(hand.redis, "HSET", hand.runtime.keys.flow(flow), field, "3")
    await hand.deliver_all()
    await settle(hand, sweeper.sweep)
    run = await load(hand, run_id)
    assert run.outcome == ("refused" if field == "spec" else "passed")
    assert await cached(hand, generation) == {
        user: data for user, data in generation.lists.items() if field != "spec" or user != USERS[0]
    }


# Blocks that failed and are done again.


async def fail_block(hand: Hand, run_id: str, block: int) -> str:
    """Have a block in flight fail; returns its dead letter."""
    [flow] = await hand.runtime.flows.load_many([(await flight(hand, run_id))[b"%d" % block].decode()])
    assert isinstance(flow, Flow)
    assert await hand.runtime.flows.fail(flow, f"block {block} failed by the test", lease=None)
    return (await letters_of(hand).newest(1))[0].id


def letters_of(hand: Hand) -> DeadLetters:
    return DeadLetters(hand.redis, hand.runtime.flows)


async def refused_run(hand: Hand, generation: Generation, block: int = 1) -> tuple[str, str]:
    """A run that has ended since one of its blocks failed; returns it with the block's dead letter."""
    run_id = await start(hand, generation)
    letter = await fail_block(hand, run_id, block)
    await hand.deliver_all()
    assert (await load(hand, run_id)).outcome == "refused"
    return run_id, letter


async def why_not(hand: Hand, letter: str) -> str:
    """Why a block is not done again; trying it changes nothing."""
    before = await hand.dump()
    with pytest.raises(RetryRefusedError) as caught:
        await letters_of(hand).retry(letter)
    assert await hand.dump() == before
    return str(caught.value)


async def test_a_block_that_is_done_again_makes_an_ended_run_pass(hand: Hand, world: World) -> None:
    """It is judged again in the next round: everybody is done, each counted once, and readers see the generation."""
    first, second = await hand.adopt(world), await hand.adopt(world, 1)
    run_id, letter = await refused_run(hand, second)
    assert 0 < await ask(hand.redis, "PTTL", hand.runtime.keys.blocks(run_id)) <= 3_600_000
    assert await hand.runtime.results.generations.current() == first.id
    assert (await letters_of(hand).retry(letter)).is_new
    run = await load(hand, run_id)
    assert (run.state, run.round, run.outcome, run.manifest, run.ended_ms) == ("run", 1, "", None, None)
    assert await hand.runtime.runs.start(second.record, 2, 2) == (run_id, False), "it is joined again"
    await hand.deliver_all(but=is_finish)
    assert await hand.queued() == [Finish(run_id, 1).job_id]
    await hand.deliver_all()
    run = await load(hand, run_id)
    assert (run.outcome, run.round) == ("passed", 1)
    assert run.manifest is not None
    assert (run.manifest.done, run.manifest.failed, run.manifest.reasons) == (6, 0, [])
    assert await cached(hand, second) == second.lists
    assert await hand.runtime.results.generations.current() == second.id
    assert not await ask(hand.redis, "EXISTS", hand.runtime.keys.blocks(run_id), hand.runtime.keys.run_of(second.id))
    assert not await letters_of(hand).newest(10)


@pytest.mark.parametrize("window", [1, 2, 3])
async def test_a_block_that_is_done_again_starts_no_other(hand: Hand, world: World, window: int) -> None:
    """In a run under way it is one more than the window, and nothing follows it until there are fewer."""
    await hand.adopt(world)
    generation = await hand.adopt(world, 1)
    run_id = await start(hand, generation, 1, window)
    letter = await fail_block(hand, run_id, 0)
    others = (await flight(hand, run_id)).keys()
    assert others == {b"%d" % (block + 1) for block in range(window)}
    retried = await letters_of(hand).retry(letter)
    assert (await flight(hand, run_id)).keys() == others | {b"0"}
    await hand.deliver_all(but=lambda job: retried.job not in job)
    assert (await flight(hand, run_id)).keys() == others
    await hand.deliver_all()
    run = await load(hand, run_id)
    assert (run.outcome, run.round) == ("passed", 0)
    assert await cached(hand, generation) == generation.lists


async def test_a_run_waits_for_a_block_that_is_done_again(hand: Hand, world: World) -> None:
    """Also when all others have ended before it."""
    await hand.adopt(world)
    generation = await hand.adopt(world, 1)
    run_id = await start(hand, generation, 2, 3)
    retried = await letters_of(hand).retry(await fail_block(hand, run_id, 2))
    await hand.deliver_all(but=lambda job: retried.job in job)
    assert (await load(hand, run_id)).state == "run"
    await hand.deliver_all()
    assert (await load(hand, run_id)).outcome == "passed"


async def test_several_blocks_are_done_again_in_one_round(hand: Hand, world: World) -> None:
    """The second finds the run under way; it is judged when both have ended."""
    await hand.adopt(world)
    generation = await hand.adopt(world, 1)
    run_id = await start(hand, generation, 2, 3)
    pair = [await fail_block(hand, run_id, block) for block in (0, 1)]
    await hand.deliver_all()
    for letter in pair:
        await letters_of(hand).retry(letter)
    await hand.deliver_all()
    run = await load(hand, run_id)
    assert (run.outcome, run.round) == ("passed", 1)


async def test_a_block_that_fails_again_can_be_done_again(hand: Hand, world: World) -> None:
    """Each failure is a dead letter, each retry a round."""
    await hand.adopt(world)
    generation = await hand.adopt(world, 1)
    run_id, letter = await refused_run(hand, generation)
    await letters_of(hand).retry(letter)
    again = await fail_block(hand, run_id, 1)
    assert again != letter
    await hand.deliver_all()
    run = await load(hand, run_id)
    assert (run.outcome, run.round) == ("refused", 1)
    await letters_of(hand).retry(again)
    await hand.deliver_all()
    run = await load(hand, run_id)
    assert (run.outcome, run.round) == ("passed", 2)


async def test_a_run_that_is_judged_again_does_not_flip_over_another(hand: Hand, world: World) -> None:
    """The pointer has moved since the run began: it ends as superseded, and everybody has a list all the same."""
    await hand.adopt(world)
    older, newer = await hand.adopt(world, 1), await hand.adopt(world, 2)
    run_id, letter = await refused_run(hand, older)
    await start(hand, newer)
    await hand.deliver_all()
    await letters_of(hand).retry(letter)
    await hand.deliver_all()
    assert (await load(hand, run_id)).outcome == "superseded"
    assert await hand.runtime.results.generations.current() == newer.id
    assert await cached(hand, older) == older.lists


@pytest.mark.parametrize("lost", ["flow", "job", "finish", "flight"])
async def test_what_a_run_loses_in_a_later_round_is_put_back(
    hand: Hand, world: World, sweeper: Sweeper, lost: str
) -> None:
    """As in the first: the run ends well, in the same round."""
    await hand.adopt(world)
    generation, keys = await hand.adopt(world, 1), hand.runtime.keys
    run_id, letter = await refused_run(hand, generation)
    retried = await letters_of(hand).retry(letter)
    if lost == "finish":
        await hand.deliver_all(but=is_finish)
    if lost in ("finish", "job"):
        await ask(hand.redis, "DEL", keys.batch)
    else:
        await ask(hand.redis, "DEL", keys.flow(retried.job) if lost == "flow" else keys.flight(run_id))
    await settle(hand, sweeper.sweep)
    run = await load(hand, run_id)
    assert (run.outcome, run.round) == ("passed", 1)
    assert await cached(hand, generation) == generation.lists


async def test_a_run_that_is_being_judged_takes_no_block_back(hand: Hand, world: World) -> None:
    """The answer is to Retry in a moment, and then it does."""
    await hand.adopt(world)
    run_id = await start(hand, await hand.adopt(world, 1))
    letter = await fail_block(hand, run_id, 0)
    await hand.deliver_all(but=is_finish)
    assert "Retry in a moment" in await why_not(hand, letter)
    await hand.deliver_all()
    await letters_of(hand).retry(letter)
    await hand.deliver_all()
    assert (await load(hand, run_id)).outcome == "passed"


async def test_a_block_waits_for_another_run_of_its_generation(hand: Hand, world: World) -> None:
    """That one computes everybody's list, this block's users among them."""
    await hand.adopt(world)
    generation = await hand.adopt(world, 1)
    _, letter = await refused_run(hand, generation)
    other = await start(hand, generation)
    assert f"Run {other} already computes" in await why_not(hand, letter)
    await hand.deliver_all()
    assert (await load(hand, other)).outcome == "passed"
    await letters_of(hand).retry(letter)
    await hand.deliver_all()
    assert await hand.runtime.results.generations.current() == generation.id


@pytest.mark.parametrize(
    ("gone", "sentence"), [("run", "has expired"), ("record", "was deleted"), ("blocks", "has not failed")]
)
async def test_a_block_whose_run_is_forgotten_is_not_done_again(
    hand: Hand, world: World, gone: str, sentence: str
) -> None:
    """Its run, its generation's record, or how its run's blocks ended: the sentence says what to do."""
    await hand.adopt(world)
    generation, keys = await hand.adopt(world, 1), hand.runtime.keys
    run_id, letter = await refused_run(hand, generation)
    name = {"run": keys.run(run_id), "record": keys.record(generation.id), "blocks": keys.blocks(run_id)}[gone]
    await ask(hand.redis, "DEL", name)
    refusal = await why_not(hand, letter)
    assert sentence in refusal
    assert ("`reckoner batch`" in refusal) == (gone != "blocks")


async def test_a_block_that_was_done_meanwhile_is_not_done_again(hand: Hand, world: World, sweeper: Sweeper) -> None:
    """Its outcome was lost, and another flow has done it; so it is while that is under way."""
    await hand.adopt(world)
    run_id, keys = await start(hand, await hand.adopt(world, 1), 2, 3), hand.runtime.keys
    letter = await fail_block(hand, run_id, 0)
    await ask(hand.redis, "DEL", keys.blocks(run_id))
    await hand.make_due()
    await sweeper.sweep()
    put_back = (await flight(hand, run_id))[b"0"].decode()
    assert "has not failed" in await why_not(hand, letter)
    await hand.deliver_all(but=lambda job: put_back not in job)
    assert "has not failed" in await why_not(hand, letter)
    await hand.deliver_all()
    assert (await load(hand, run_id)).outcome == "passed"
    assert "has not failed" in await why_not(hand, letter), "a run that has passed keeps no outcomes"


async def test_a_run_that_cannot_be_read_takes_no_block_back(hand: Hand, world: World, sweeper: Sweeper) -> None:
    """It has failed for good."""
    await hand.adopt(world)
    run_id = await start(hand, await hand.adopt(world, 1))
    letter = await fail_block(hand, run_id, 0)
    await ask(hand.redis, "HSET", hand.runtime.keys.run(run_id), "state", "no state")
    assert "has expired" in await why_not(hand, letter)
    await settle(hand, sweeper.sweep)
    assert (await load(hand, run_id)).outcome == "failed"
    assert "has not failed" in await why_not(hand, letter)


async def test_a_check_from_an_earlier_round_changes_nothing(hand: Hand, world: World) -> None:
    """A sweeper that stalls between reading a run and mending it creates no finish of an earlier round."""
    await hand.adopt(world)
    run_id = await start(hand, await hand.adopt(world, 1))
    letter = await fail_block(hand, run_id, 0)
    await hand.deliver_all(but=is_finish)
    seen = await load(hand, run_id)
    await hand.deliver_all()
    await letters_of(hand).retry(letter)
    await hand.deliver_all(but=is_finish)
    before = await hand.dump()
    assert await hand.runtime.runs.tend(seen) == 0
    assert await hand.dump() == before


async def test_a_check_of_an_ended_run_removes_it_from_the_live_set(hand: Hand, world: World) -> None:
    """The script that finds it ended removes it: between two scripts it could be restarted."""
    run_id = await start(hand, await hand.adopt(world))
    await hand.deliver_all()
    await ask(hand.redis, "ZADD", hand.runtime.keys.live_of("batch"), 1, f"run:{run_id}")
    assert await hand.runtime.runs.tend(await load(hand, run_id)) == -1
    assert not await ask(hand.redis, "EXISTS", *hand.runtime.keys.all_live)
