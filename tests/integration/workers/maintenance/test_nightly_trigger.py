"""The nightly run: one per date, however often it is started; a missed start is made up for."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from functools import partial

import pytest
from redis import exceptions
from structlog.testing import capture_logs

from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.flows.run_state import Run
from reckoner.shared.nightly import last_due, parse_nightly
from reckoner.shared.redis.scripts import ask
from reckoner.shared.settings import Settings
from reckoner.workers.maintenance.nightly_trigger import NightlyTrigger
from reckoner.workers.maintenance.sweeper import Sweeper
from reckoner.workers.process.wiring import connect_worker
from tests.conftest import StartServer
from tests.lanes import until
from tests.world import Hand, World, settle


async def far_from_now(hand: Hand) -> str:
    """A time half a day ago, so that no other run becomes due during a test."""
    now = datetime.fromtimestamp(await hand.runtime.now_ms() / 1000, UTC)
    return f"{now - timedelta(hours=12):%H:%M}"


@pytest.fixture
async def night(own_world: World, redis_url: str, prefix: str) -> AsyncIterator[Hand]:
    """A worker by hand that has a night."""
    redis = connect_worker(Settings(), redis_url)
    without = Hand(own_world, redis, prefix)
    made = Hand(own_world, redis, prefix, nightly=await far_from_now(without))
    yield made
    made.close()
    without.close()
    await redis.aclose()


async def tick(hand: Hand) -> None:
    await NightlyTrigger(hand.runtime).start_if_due()


async def due(hand: Hand) -> str:
    """The date that is due."""
    nightly = parse_nightly(hand.runtime.settings.nightly)
    assert nightly is not None
    return last_due(datetime.fromtimestamp(await hand.runtime.now_ms() / 1000, UTC), nightly).date.isoformat()


async def runs(hand: Hand) -> set[str]:
    """All runs that are remembered."""
    start = hand.runtime.keys.run("")
    return {name.removeprefix(start) for name in await hand.dump() if name.startswith(start) and name.count(":") == 2}


async def load(hand: Hand, run_id: str) -> Run:
    run = await hand.runtime.runs.load(run_id)
    assert run is not None
    return run


async def test_fifty_ticks_at_once_start_one_run(night: Hand, own_world: World) -> None:
    """The date's key names it; it computes all users, even if all lists exist."""
    generation = await night.adopt(own_world)
    await night.runtime.results.write(generation.id, list(generation.lists.items()), 100)
    await asyncio.gather(*(tick(night) for _ in range(50)))
    [run_id] = await runs(night)
    assert await night.runtime.runs.night(await due(night)) == run_id
    assert await night.runtime.runs.last_night() == (await due(night), run_id)
    key = night.runtime.keys.night(await due(night))
    assert 7 * 86_400 < await ask(night.redis, "TTL", key) <= 8 * 86_400
    await night.deliver_all()
    run = await load(night, run_id)
    assert run.outcome == "passed"
    assert run.manifest is not None
    assert run.manifest.done == len(generation.lists)


async def test_a_night_that_has_had_its_run_has_no_other(night: Hand, own_world: World) -> None:
    """Not after that run has ended or was refused, nor for a newer generation."""
    await night.adopt(own_world)
    await tick(night)
    await night.deliver_all()
    await night.adopt(own_world, 1)
    before = await night.dump()
    await tick(night)
    record = own_world.generations[1].record
    [run_id] = await runs(night)
    assert await night.runtime.runs.start_night(await due(night), record, 2) == (run_id, "known")
    assert await night.dump() == before


async def test_the_next_date_has_a_run_of_its_own(night: Hand, own_world: World) -> None:
    """The last night that is remembered is the latest one."""
    record = (await night.adopt(own_world)).record
    await tick(night)
    await night.deliver_all()
    tomorrow = (date.fromisoformat(await due(night)) + timedelta(1)).isoformat()
    run_id, beginning = await night.runtime.runs.start_night(tomorrow, record, 2)
    assert beginning == "started"
    assert len(await runs(night)) == 2
    assert await night.runtime.runs.last_night() == (tomorrow, run_id)


async def test_a_night_joins_the_run_that_is_under_way(night: Hand, own_world: World) -> None:
    """A run started by hand becomes the nightly run."""
    record = (await night.adopt(own_world)).record
    run_id, _ = await night.runtime.runs.start(record, 2, 2)
    queued = await night.queued()
    await tick(night)
    assert await night.queued() == queued
    assert await night.runtime.runs.night(await due(night)) == run_id
    await night.deliver_all()
    await tick(night)
    assert await runs(night) == {run_id}


async def test_a_pointer_that_moves_meanwhile_keeps_no_night_from_its_run(
    night: Hand, own_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script refuses an outdated pointer, and is called again."""
    current, third, newest = [await night.adopt(own_world, number) for number in (0, 2, 1)]
    keys, looks = night.runtime.keys, []

    async def look(*command: str) -> object:
        seen = await ask(night.redis, *command)
        if command == ("MGET", keys.current):
            looks.append(seen[0])
            await ask(night.redis, "SET", keys.current, third.id)
        return seen

    monkeypatch.setattr(night.runtime.runs._generations._values, "read", look)
    await tick(night)
    assert looks == [current.id.encode(), third.id.encode()]
    [run_id] = await runs(night)
    assert await ask(night.redis, "GET", keys.night(await due(night))) == run_id.encode()
    run = await load(night, run_id)
    assert (run.generation, run.since) == (newest.id, third.id)


async def test_without_a_model_nothing_is_written(night: Hand, own_world: World) -> None:
    """A later tick, when there is one, starts the run of the same date."""
    await tick(night)
    assert await night.dump() == {}
    assert await night.runtime.runs.last_night() is None
    await night.adopt(own_world)
    await tick(night)
    assert len(await runs(night)) == 1


@pytest.mark.parametrize("which", range(4))
async def test_a_night_is_whole_or_not_there(night: Hand, own_world: World, which: int) -> None:
    """If a shared key has the wrong type, the script writes nothing, not even the date's key."""
    record, keys = (await night.adopt(own_world)).record, night.runtime.keys
    key = (*keys.lanes, *keys.all_live)[which]
    await ask(night.redis, "SET", key, "planted")
    before = await night.dump()
    for start in (night.runtime.runs.start_night(await due(night), record, 2), tick(night)):
        with pytest.raises(exceptions.ResponseError, match="WRONGTYPE"):
            await start
    assert await night.dump() == before
    await ask(night.redis, "DEL", key)
    await tick(night)
    assert len(await runs(night)) == 1


async def test_a_key_of_another_type_in_the_place_of_the_date_is_written_over(night: Hand, own_world: World) -> None:
    """It holds no run, so the night has none yet."""
    await night.adopt(own_world)
    key = night.runtime.keys.night(await due(night))
    await ask(night.redis, "HSET", key, "a", "b")
    await tick(night)
    [run_id] = await runs(night)
    assert await ask(night.redis, "GET", key) == run_id.encode()


async def test_a_start_that_a_full_redis_refuses_is_retried(fresh_server: StartServer, own_world: World) -> None:
    """The date is not harmed."""
    redis = connect_worker(Settings(), fresh_server(maxmemory=100_000_000).url)
    without = Hand(own_world, redis, "full")
    hand = Hand(own_world, redis, "full", nightly=await far_from_now(without))
    await hand.adopt(own_world)
    await ask(redis, "CONFIG", "SET", "maxmemory", 1)
    before = await hand.dump()
    with pytest.raises(exceptions.OutOfMemoryError):
        await tick(hand)
    assert await hand.dump() == before
    await ask(redis, "CONFIG", "SET", "maxmemory", 0)
    await tick(hand)
    [run_id] = await runs(hand)
    await settle(hand, Sweeper(hand.runtime).sweep)
    assert (await load(hand, run_id)).outcome == "passed"
    for each in (hand, without):
        each.close()
    await redis.aclose()


async def test_two_prefixes_on_one_server_have_a_night_each(own_world: World, redis_url: str, prefix: str) -> None:
    """All of its keys have the prefix. As an arq cron job one of the two could starve."""
    redis = connect_worker(Settings(), redis_url)
    without = Hand(own_world, redis, prefix)
    nightly = await far_from_now(without)
    hands = [Hand(own_world, redis, f"{prefix}-{shop}", nightly=nightly) for shop in "ab"]
    for hand in hands:
        await hand.adopt(own_world)
    keeping = [asyncio.create_task(NightlyTrigger(hand.runtime).run()) for hand in hands]
    for hand in hands:
        await until(partial(runs, hand))
    await cancel_and_wait(*keeping)
    assert [len(await runs(hand)) for hand in hands] == [1, 1]
    for each in (*hands, without):
        each.close()
    await redis.aclose()


async def test_a_night_that_waits_says_so_once(night: Hand, own_world: World) -> None:
    """And again for another reason."""
    nights, newest = NightlyTrigger(night.runtime), night.runtime.keys.newest
    with capture_logs() as logs:
        for pointer in ("", "nonsense !", ""):
            await ask(night.redis, *(("SET", newest, pointer) if pointer else ("DEL", newest)))
            for _ in range(3):
                await nights.start_if_due()
        await night.adopt(own_world)
        await nights.start_if_due()
    found = [log for log in logs if log["event"] == "nightly run postponed"]
    assert [log["reason"] == "no model was fitted" for log in found] == [True, False, True]
    assert logs[-1]["event"] == "nightly run started"


async def test_no_setting_no_night(hand: Hand, own_world: World) -> None:
    """Without the setting nothing is started, and nothing waits for a minute to pass."""
    await hand.adopt(own_world)
    before = await hand.dump()
    await NightlyTrigger(hand.runtime).run()
    await tick(hand)
    assert await hand.dump() == before
