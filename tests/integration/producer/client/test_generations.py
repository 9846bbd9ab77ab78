"""Going back and forth between generations by hand, and the gate before a generation goes live."""

import asyncio

import msgspec
import pytest
from structlog.testing import capture_logs

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.errors import BarredError, GenerationUnknownError, PromotionError, UsageError
from reckoner.shared.flows.run_state import Manifest, Run
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.evaluations import Verdict
from reckoner.shared.serving.history import History
from reckoner.workers.maintenance.generation_cleanup import GenerationCleanup
from reckoner.workers.maintenance.refreshing import Refreshing
from tests.commands import CommandLine
from tests.evaluations import evaluation_entry
from tests.world import USERS, Generation, Hand, World


async def run_all(hand: Hand, generation: Generation) -> Run:
    """Compute all lists of a generation, up to the gate and the flip."""
    run_id, _ = await hand.runtime.runs.start(generation.record, 2)
    await hand.deliver_all()
    run = await hand.runtime.runs.load(run_id)
    assert run is not None
    return run


@pytest.fixture
async def two(hand: Hand, world: World) -> tuple[str, str]:
    """The previous and the live generation, both whole."""
    for number in range(2):
        run = await run_all(hand, await hand.adopt(world, number))
        assert run.outcome == "passed"
    return world.generations[0].id, world.generations[1].id


async def live(reckoner: OpenReckoner) -> tuple[str | None, str | None]:
    """The live and the previous generation."""
    status = await reckoner.operator.status()
    return status.generation, status.previous


async def test_going_back_is_seen_at_the_next_read(reckoner: OpenReckoner, two: tuple[str, str]) -> None:
    """Both generations stay whole, for users who left too, and forth is as quick as back. Twice back is not forth."""
    first, second = two
    assert (await reckoner.get(USERS[0])).generation == second
    assert await reckoner.operator.rollback() == (first, second)
    assert (await reckoner.get(USERS[0])).generation == first
    assert await live(reckoner) == (first, second)
    with pytest.raises(BarredError, match=f"`reckoner promote {second}`"):
        await reckoner.operator.rollback()
    assert await reckoner.operator.promote(second) == first
    assert (await reckoner.get(USERS[0])).generation == second
    assert await live(reckoner) == (second, first)
    status = await reckoner.operator.status()
    assert {name: held.lists for name, held in status.holdings.items()} == dict.fromkeys(two, len(USERS))


async def test_lists_that_were_not_live_catch_up(
    hand: Hand, reckoner: OpenReckoner, world: World, two: tuple[str, str]
) -> None:
    """Those of the users who have had or hidden something since."""
    lists = (msgspec.json.decode(world.generations[0].lists[user])["items"] for user in USERS[:2])
    had, hidden = (places[0][0] for places in lists)
    await reckoner.record(USERS[0], had)
    await reckoner.hide(USERS[1], hidden)
    await hand.deliver_all()
    await reckoner.operator.rollback()
    await Refreshing(hand.runtime).refresh()
    await hand.deliver_all()
    values = await ask(hand.redis, "MGET", *(hand.runtime.keys.result(two[0], user) for user in USERS[:2]))
    for item, data in zip((had, hidden), values, strict=True):
        assert item not in [place[0] for place in msgspec.json.decode(data)["items"]]


async def test_no_run_makes_live_what_was_rolled_back(
    hand: Hand, reckoner: OpenReckoner, world: World, two: tuple[str, str]
) -> None:
    """It is not even started; one that was under way is refused. Only `promote` does."""
    first, second = two
    run_id, _ = await reckoner.operator.start_run()
    await reckoner.operator.rollback()
    assert (await reckoner.operator.status()).barred == [second]
    await hand.deliver_all()
    run = (await reckoner.operator.run(run_id)).run
    assert run.outcome in ("refused", "superseded")
    assert await live(reckoner) == (first, second)
    with pytest.raises(BarredError, match=f"`reckoner promote {second}`"):
        await reckoner.operator.start_run()
    await reckoner.operator.promote(second)
    assert (await reckoner.operator.status()).barred == []
    assert (await run_all(hand, world.generations[1])).outcome == "passed"


async def test_a_barred_generation_is_refused_when_its_run_began_afterwards(
    hand: Hand, reckoner: OpenReckoner, world: World, two: tuple[str, str]
) -> None:
    """By a worker that does not look before it starts a run."""
    first, second = two
    await reckoner.operator.rollback()
    await ask(hand.redis, "HDEL", hand.runtime.keys.barred, second)
    run_id, _ = await hand.runtime.runs.start(world.generations[1].record, 2)
    await ask(hand.redis, "HSET", hand.runtime.keys.barred, second, 1)
    await hand.deliver_all()
    run = (await reckoner.operator.run(run_id)).run
    assert run.manifest is not None
    assert (run.outcome, run.manifest.reasons) == ("refused", [str(BarredError(second))])
    assert (await live(reckoner))[0] == first


async def test_only_whole_generations_go_live(
    hand: Hand, reckoner: OpenReckoner, world: World, two: tuple[str, str]
) -> None:
    """Not one without lists, with deleted or with expired ones, and not one that nobody knows."""
    first, second = two
    keys, generations = reckoner.keys, reckoner.results.generations
    third = await hand.adopt(world, 2)
    with pytest.raises(PromotionError, match=f"Generation {third.id} does not hold every user's list"):
        await reckoner.operator.promote(third.id)
    with pytest.raises(GenerationUnknownError):
        await reckoner.operator.promote("nobody")
    with pytest.raises(UsageError):
        await reckoner.operator.promote("")
    held = (await generations.holdings())[first]
    expired = msgspec.json.encode(msgspec.structs.replace(held, until_ms=1))
    await ask(hand.redis, "HSET", keys.held, first, expired)
    with pytest.raises(PromotionError, match="have expired"):
        await reckoner.operator.rollback()
    await run_all(hand, third)
    assert await live(reckoner) == (third.id, second)
    await GenerationCleanup(hand.runtime).delete_old()
    assert first not in await generations.holdings()
    assert await live(reckoner) == (third.id, second)


async def test_without_a_previous_generation_there_is_no_way_back(hand: Hand, reckoner: OpenReckoner) -> None:
    """Before anything is fitted too."""
    with pytest.raises(PromotionError, match="no previous generation"):
        await reckoner.operator.rollback()


async def test_readers_see_one_generation_at_a_time_while_it_changes(
    reckoner: OpenReckoner, redis_url: str, two: tuple[str, str]
) -> None:
    """Every answer of one call is of one generation, and a call after a change is of the new one."""
    seen = set[str]()
    async with OpenReckoner(redis_url, prefix=reckoner.keys.prefix) as reader:

        async def read() -> None:
            while True:
                answers = await reader.get_many(USERS)
                [generation] = {answer.generation for answer in answers}
                seen.add(generation)

        reading = asyncio.create_task(read())
        for _ in range(20):
            await reckoner.operator.rollback()
            assert (await reckoner.get(USERS[0])).generation == two[0]
            await reckoner.operator.promote(two[1])
            assert (await reckoner.get(USERS[0])).generation == two[1]
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    assert seen <= set(two)
    assert seen


async def test_the_gate_refuses_and_promote_lets_through(
    hand: Hand, reckoner: OpenReckoner, world: World, commands: CommandLine
) -> None:
    """A refusal names the figures and says that the configuration changed. The lists stay for a look."""
    live_one = await hand.adopt(world)
    await run_all(hand, live_one)
    second = await hand.adopt(world, 1)
    settings = msgspec.structs.replace(hand.runtime.settings, gate_churn=0.0)
    object.__setattr__(hand.runtime, "settings", settings)
    with capture_logs() as lines:
        run = await run_all(hand, second)
    assert run.manifest is not None
    assert run.outcome == "refused"
    churn, changed = run.manifest.reasons
    assert churn.endswith("of the places are new, the limit is 0.0% (RECKONER_GATE_CHURN)")
    assert changed == ("the configuration changed from cosine neighbours=4 recency=0 to cosine neighbours=9 recency=0")
    assert [line["log_level"] for line in lines if line["event"] == "run refused"] == ["warning"]
    assert (await reckoner.operator.status()).generation == live_one.id
    shown = await asyncio.to_thread(commands.run, "get", USERS[0], "--generation", second.id, "--json")
    assert (shown.code, second.id in shown.out) == (0, True)
    promoted = await asyncio.to_thread(commands.run, "promote", second.id)
    assert promoted.out == f"Generation {second.id} is live. The previous one is {live_one.id}.\n"
    back = await asyncio.to_thread(commands.run, "rollback")
    assert back.out.startswith(f"Generation {live_one.id} is live again.")
    past = [entry.kind for entry in await reckoner.operator.entries()]
    assert past == ["rollback", "promote", "run", "run"]
    status = await asyncio.to_thread(commands.run, "status")
    assert f"{second.id}" in status.out
    assert "rolled back" in status.out


async def evaluated(hand: Hand, entry_id: str, now: Generation, before: Generation, by: float, found: Verdict) -> None:
    """Remember an evaluation of two generations' configurations."""
    one, other = (generation.config.facts() for generation in (before, now))
    started_ms = await hand.runtime.now_ms()
    entry = evaluation_entry(entry_id, (one, 0.0), ((other, 0.0), by, found), started_ms=started_ms)
    await History(hand.redis, hand.runtime.keys).remember(entry)


async def judged(hand: Hand, generation: Generation) -> tuple[Run, Manifest]:
    """A run of all lists, and its manifest."""
    run = await run_all(hand, generation)
    assert run.manifest is not None
    return run, run.manifest


async def test_the_gate_takes_the_last_evaluation_of_a_new_configuration(
    hand: Hand, reckoner: OpenReckoner, world: World, commands: CommandLine
) -> None:
    """Worse beyond noise is refused with the figures; within noise passes; without one the run says so."""
    one, other, third = [await hand.adopt(world, number) for number in range(3)]
    assert (await judged(hand, one))[1].evaluation is msgspec.UNSET
    run, manifest = await judged(hand, other)
    none = (
        "No evaluation of this configuration: run `reckoner evaluate --model 'cosine neighbours=9 recency=0' --live`."
    )
    assert (run.outcome, manifest.evaluation) == ("passed", none)
    for shown in [("job", run.id), ("runs", "show", run.id)]:
        assert none in (await asyncio.to_thread(commands.run, *shown)).out

    await evaluated(hand, "e1", third, other, 0.05, "better")
    await evaluated(hand, "e2", third, other, -0.047, "worse")
    run, manifest = await judged(hand, third)
    assert (run.outcome, manifest.evaluation) == ("refused", msgspec.UNSET)
    assert manifest.reasons == [
        "evaluation e2 found this configuration worse beyond noise than the live one: nDCG@10 0.140 [0.130 0.150] "
        "against 0.187 [0.177 0.197], a difference of -0.047 [-0.067 -0.037]",
        "the configuration changed from cosine neighbours=9 recency=0 to cosine neighbours=9 shrink=2.5 recency=0",
    ]
    assert await reckoner.operator.promote(third.id) == other.id

    await evaluated(hand, "e3", one, third, -0.01, "within noise")
    run, manifest = await judged(hand, one)
    assert run.outcome == "passed"
    assert isinstance(manifest.evaluation, str)
    assert manifest.evaluation.startswith("Evaluation e3 found this configuration within noise of the live one: ")
