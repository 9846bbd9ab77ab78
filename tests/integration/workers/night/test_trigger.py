"""The night begins once for its date, however often it is begun; a missed one is made up for."""

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import msgspec
import pytest
from redis import exceptions
from structlog.testing import capture_logs

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.errors import NightInProgressError
from reckoner.shared.flows.nights import NightOptions, Nights
from reckoner.shared.nightly import last_due, parse_nightly
from reckoner.shared.redis.scripts import ask
from reckoner.shared.settings import Settings
from reckoner.workers.night.trigger import NightlyTrigger
from reckoner.workers.process.wiring import connect_worker
from tests.conftest import StartServer
from tests.integration.workers.night.conftest import far_from_now
from tests.lanes import until
from tests.world import Hand, World


async def tick(hand: Hand) -> None:
    await NightlyTrigger(hand.runtime).begin_if_due()


async def due(hand: Hand) -> str:
    """The date that is due."""
    nightly = parse_nightly(hand.runtime.settings.nightly)
    assert nightly is not None
    return last_due(datetime.fromtimestamp(await hand.runtime.now_ms() / 1000, UTC), nightly).date.isoformat()


def nights_of(hand: Hand) -> Nights:
    return Nights(hand.redis, hand.runtime.keys)


async def nights(hand: Hand) -> set[str]:
    """All nights that are remembered."""
    start = hand.runtime.keys.night_state("")
    return {name.removeprefix(start) for name in await hand.dump() if name.startswith(start)}


async def test_fifty_ticks_at_once_begin_one_night(night: Hand) -> None:
    """The date's key names it, for eight days."""
    await asyncio.gather(*(tick(night) for _ in range(50)))
    [night_id] = await nights(night)
    assert await nights_of(night).of_date(await due(night)) == night_id
    assert await nights_of(night).last() == (await due(night), night_id)
    assert await nights_of(night).under_way() == night_id
    key = night.runtime.keys.night(await due(night))
    assert 7 * 86_400 < await ask(night.redis, "TTL", key) <= 8 * 86_400
    begun = await nights_of(night).load(night_id)
    assert begun is not None
    assert (begun.date, begun.starter, begun.outcome) == (await due(night), "settings", None)


async def test_a_date_that_has_had_its_night_has_no_other(night: Hand) -> None:
    """Unless a person asks for one, and the first did not go live."""
    await tick(night)
    [first] = await nights(night)
    found, date_ = nights_of(night), await due(night)
    begun = await found.load(first)
    assert begun is not None
    assert await found.begin(date_, "command", NightOptions()) == (first, "joined")
    await ask(night.redis, "SET", night.runtime.keys.night_driver, "token")
    assert await found.end(begun, "token", "refused")
    assert not await found.end(begun, "token", "live"), "it ends once"
    await tick(night)
    assert await nights(night) == {first}
    second, beginning = await found.begin(date_, "command", NightOptions())
    assert (beginning, second != first) == ("started", True)
    begun = await found.load(second)
    assert begun is not None
    assert not await found.end(begun, "another token", "live"), "another worker drives it"
    assert await found.end(begun, "token", "live")
    assert await found.begin(date_, "command", NightOptions()) == (second, "known")


async def test_a_night_that_a_command_began_in_vain_leaves_the_date_its_own(night: Hand) -> None:
    """One that was refused, and a dry one whatever came of it; not one that went live or had nothing to do."""
    found, date_ = nights_of(night), await due(night)
    await ask(night.redis, "SET", night.runtime.keys.night_driver, "token")
    ends = [(NightOptions(dry=True), "held"), (NightOptions(), "refused"), (NightOptions(), "unchanged")]
    for options, outcome in ends:
        night_id, beginning = await found.begin(date_, "command", options)
        assert beginning == "started"
        begun = await found.load(night_id)
        assert begun is not None
        assert await found.end(begun, "token", outcome)  # type: ignore[arg-type]
        await tick(night)
        if (own := await found.under_way()) is None:
            break
        begun = await found.load(own)
        assert begun is not None
        assert begun.starter == "settings"
        assert await found.end(begun, "token", "failed")
        await ask(night.redis, "DEL", night.runtime.keys.night(date_))
    assert outcome == "unchanged"


async def test_the_next_date_has_a_night_of_its_own(night: Hand) -> None:
    """The last night that is remembered is the latest one."""
    await tick(night)
    [first] = await nights(night)
    begun = await nights_of(night).load(first)
    assert begun is not None
    await ask(night.redis, "SET", night.runtime.keys.night_driver, "token")
    await nights_of(night).end(begun, "token", "live")
    tomorrow = (date.fromisoformat(await due(night)) + timedelta(1)).isoformat()
    night_id, beginning = await nights_of(night).begin(tomorrow, "command", NightOptions())
    assert beginning == "started"
    assert await nights_of(night).last() == (tomorrow, night_id)


@pytest.mark.parametrize("changes", [date(2026, 3, 29), date(2026, 10, 25)], ids=["missing hour", "hour twice"])
async def test_each_date_around_a_change_of_clocks_has_one_night(
    night: Hand, monkeypatch: pytest.MonkeyPatch, changes: date
) -> None:
    """Ten minutes after ten minutes for three days: 02:30 does not exist in spring, and comes twice in autumn."""
    settings = msgspec.structs.replace(night.runtime.settings, nightly="02:30 Europe/Berlin")
    object.__setattr__(night.runtime, "settings", settings)
    keys, begun = night.runtime.keys, list[tuple[str, datetime]]()
    await ask(night.redis, "SET", keys.night_driver, "token")
    now = datetime.combine(changes - timedelta(days=1), time(0), UTC)

    async def now_ms(_: object) -> int:
        return int(now.timestamp() * 1000)

    monkeypatch.setattr(type(night.runtime), "now_ms", now_ms)
    for _ in range(3 * 24 * 6):
        now += timedelta(minutes=10)
        await tick(night)
        if (night_id := await nights_of(night).under_way()) and (found := await nights_of(night).load(night_id)):
            begun.append((found.date, now))
            assert await nights_of(night).end(found, "token", "live")
    dates = [(changes + timedelta(days=day)).isoformat() for day in (-2, -1, 0, 1)]
    # The first one is of the day before, which was missed.
    assert [of_date for of_date, _ in begun] == dates
    on_the_wall = [moment.astimezone(ZoneInfo("Europe/Berlin")).strftime("%H:%M") for _, moment in begun[1:]]
    assert on_the_wall[0] == on_the_wall[2] == "02:30"
    assert on_the_wall[1] in ("02:30", "03:30")


async def test_without_data_nothing_is_written(night: Hand, own_world: World) -> None:
    """A later tick, when there are some, begins the night of the same date; it says once that it waits."""
    current = own_world.store.root / "current-snapshot"
    name = current.read_text()
    current.unlink()
    trigger = NightlyTrigger(night.runtime)
    with capture_logs() as logs:
        for _ in range(3):
            await trigger.begin_if_due()
        assert await night.dump() == {}
        current.write_text(name)
        await trigger.begin_if_due()
    assert [log["event"] for log in logs] == ["night postponed", "night started"]
    assert len(await nights(night)) == 1


async def test_a_key_of_another_type_in_the_place_of_the_date_is_written_over(night: Hand) -> None:
    """It holds no night, so the date has none yet."""
    key = night.runtime.keys.night(await due(night))
    await ask(night.redis, "HSET", key, "a", "b")
    await tick(night)
    [night_id] = await nights(night)
    assert await ask(night.redis, "GET", key) == night_id.encode()


async def test_a_night_that_a_full_redis_refuses_begins_later(fresh_server: StartServer, own_world: World) -> None:
    """The date is not harmed."""
    redis = connect_worker(Settings(), fresh_server(maxmemory=100_000_000).url)
    without = Hand(own_world, redis, "full")
    hand = Hand(own_world, redis, "full", nightly=await far_from_now(without))
    await ask(redis, "CONFIG", "SET", "maxmemory", 1)
    before = await hand.dump()
    with pytest.raises(exceptions.OutOfMemoryError):
        await tick(hand)
    assert await hand.dump() == before
    await ask(redis, "CONFIG", "SET", "maxmemory", 0)
    await tick(hand)
    assert len(await nights(hand)) == 1
    for each in (hand, without):
        each.close()
    await redis.aclose()


async def test_two_prefixes_on_one_server_have_a_night_each(own_world: World, redis_url: str, prefix: str) -> None:
    """All of its keys have the prefix. As an arq cron job one of the two could starve."""
    redis = connect_worker(Settings(), redis_url)
    without = Hand(own_world, redis, prefix)
    nightly = await far_from_now(without)
    hands = [Hand(own_world, redis, f"{prefix}-{shop}", nightly=nightly) for shop in "ab"]
    keeping = [asyncio.create_task(NightlyTrigger(hand.runtime).run()) for hand in hands]
    for hand in hands:
        await until(partial(nights, hand))
    await cancel_and_wait(*keeping)
    assert [len(await nights(hand)) for hand in hands] == [1, 1]
    for each in (*hands, without):
        each.close()
    await redis.aclose()


async def test_no_setting_no_night(hand: Hand, own_world: World) -> None:
    """Without the setting nothing begins, and nothing waits for a minute to pass."""
    await hand.adopt(own_world)
    before = await hand.dump()
    await NightlyTrigger(hand.runtime).run()
    await tick(hand)
    assert await hand.dump() == before


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
async def test_a_night_by_hand_and_one_by_setting_are_of_the_same_date(night: Hand, redis_url: str, zone: str) -> None:
    """Of that which was due last in the setting's zone: after midnight a night is repaired, not the next one taken."""
    nightly = parse_nightly(f"23:59 {zone}")
    assert nightly is not None
    last = last_due(datetime.fromtimestamp(await night.runtime.now_ms() / 1000, UTC), nightly).date.isoformat()
    async with OpenReckoner(redis_url, prefix=night.runtime.keys.prefix) as reckoner:
        _, of_date, _ = await reckoner.operator.begin_night(None, NightOptions(), nightly)
        assert of_date == last
        with pytest.raises(NightInProgressError, match="with other options"):
            await reckoner.operator.begin_night(None, NightOptions(dry=True), nightly)
    assert await nights_of(night).of_date(of_date) is not None
