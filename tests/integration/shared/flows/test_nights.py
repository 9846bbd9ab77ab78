"""The scripts of nights and of the history on keys of other types, which somebody planted."""

from typing import Any

import msgspec
import pytest
from redis.exceptions import ResponseError

from reckoner.shared.errors import WireError
from reckoner.shared.flows.nights import Night, NightOptions, Nights, Stage
from reckoner.shared.redis.scripts import ask
from reckoner.shared.redis.scripts.constants import SLICE
from reckoner.shared.serving.history import MOST, MOST_OF_EACH, Entry, History, Kind
from reckoner.workers.runtime.history import remember
from tests.world import Hand

DATE = "2026-11-30"
PLANTED = {"string": ("SET", "planted"), "hash": ("HSET", "a", "b"), "zset": ("ZADD", 1, "a"), "list": ("RPUSH", "a")}


@pytest.fixture
def nights(hand: Hand) -> Nights:
    return Nights(hand.redis, hand.runtime.keys)


@pytest.fixture
def history(hand: Hand) -> History:
    return History(hand.redis, hand.runtime.keys)


async def plant(hand: Hand, key: str, kind: str) -> None:
    command, *arguments = PLANTED[kind]
    await ask(hand.redis, "DEL", key)
    await ask(hand.redis, command, key, *arguments)


async def begun(nights: Nights) -> Night:
    night_id, beginning = await nights.begin(DATE, "command", NightOptions())
    assert beginning == "started"
    night = await nights.load(night_id)
    assert night is not None
    return night


@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize("at", ["night_now", "night of the date"])
async def test_a_night_begins_over_a_planted_key(hand: Hand, nights: Nights, at: str, kind: str) -> None:
    """What is there names no night."""
    await plant(hand, nights.keys.night_now if at == "night_now" else nights.keys.night(DATE), kind)
    night = await begun(nights)
    assert await nights.under_way() == await nights.of_date(DATE) == night.id
    assert night.outcome is None


@pytest.mark.parametrize("kind", ["string", "zset", "list"])
async def test_a_night_whose_state_was_replaced_holds_up_no_other(hand: Hand, nights: Nights, kind: str) -> None:
    """It cannot be joined, and nothing of it changes."""
    first = await begun(nights)
    await ask(hand.redis, "SET", nights.keys.night_driver, "token")
    await plant(hand, nights.keys.night_state(first.id), kind)
    assert not await nights.note(first, "token", Stage("fit", 1))
    assert not await nights.end(first, "token", "live")
    assert (await begun(nights)).id != first.id


@pytest.mark.parametrize("kind", ["hash", "zset", "list"])
async def test_who_drives_is_unknown_under_a_planted_driver(hand: Hand, nights: Nights, kind: str) -> None:
    """So nobody changes the night."""
    night, before = await begun(nights), await hand.dump()
    await plant(hand, nights.keys.night_driver, kind)
    assert not await nights.end(night, "token", "live")
    await ask(hand.redis, "DEL", nights.keys.night_driver)
    assert await hand.dump() == before


@pytest.mark.parametrize("field", ["date", "options", "started", "failures", "stage:fit", "outcome"])
async def test_a_night_with_a_planted_field_is_invalid(hand: Hand, nights: Nights, field: str) -> None:
    """It is not taken for something else."""
    night = await begun(nights)
    await ask(hand.redis, "HSET", nights.keys.night_state(night.id), field, b"\xff")
    with pytest.raises(WireError, match=f"The state of night {night.id} is invalid"):
        await nights.load(night.id)


def entry(number: int, **fields: Any) -> Entry:
    return Entry(id=f"e{number:03}", kind="fit", outcome="done", started_ms=number, ended_ms=number + 1, **fields)


@pytest.mark.parametrize(
    ("at", "kind"),
    [
        *(("history", kind) for kind in ("string", "zset", "list")),
        *(("history_order", kind) for kind in ("string", "hash", "list")),
    ],
)
async def test_a_planted_history_stops_an_entry_before_its_first_write(
    hand: Hand, history: History, at: str, kind: str
) -> None:
    """A worker goes on without it."""
    await history.remember(entry(1))
    await plant(hand, getattr(history.keys, at), kind)
    before = await hand.dump()
    with pytest.raises(ResponseError):
        await history.remember(entry(2))
    await remember(hand.runtime, entry(2))
    assert await hand.dump() == before


async def test_planted_entries_are_left_out(hand: Hand, history: History) -> None:
    """Bytes that are no entry, and an id without an entry."""
    for number in (1, 2, 3):
        await history.remember(entry(number))
    await ask(hand.redis, "HSET", history.keys.history, "e002", b"\xff")
    await ask(hand.redis, "ZADD", history.keys.history_order, 9, "nobody")
    assert [each.id for each in await history.newest()] == ["e003", "e001"]
    assert await history.find("e002") is None


async def test_the_history_is_bounded(hand: Hand, history: History) -> None:
    """The oldest entries go, by their start; an entry that is there is replaced."""
    for number in range(MOST_OF_EACH, -1, -1):
        await history.remember(entry(number))
    await history.remember(entry(MOST_OF_EACH, acknowledged=True))
    kept = await history.newest()
    assert (len(kept), kept[0].id, kept[0].acknowledged) == (MOST_OF_EACH, f"e{MOST_OF_EACH}", True)
    for key, count in ((history.keys.history, "HLEN"), (history.keys.history_order, "ZCARD")):
        assert await ask(hand.redis, count, key) == MOST_OF_EACH
    assert await history.find("e001") == entry(1)


@pytest.mark.parametrize("frequent", ["import", "evaluation"])
async def test_the_frequent_drop_no_night(hand: Hand, history: History, frequent: Kind) -> None:
    """Both have their own bound, and one order."""
    night = msgspec.structs.replace(entry(0), kind="night", outcome="refused")
    await history.remember(night)
    for number in range(1, MOST_OF_EACH + 3):
        await history.remember(msgspec.structs.replace(entry(number), kind=frequent))
    await history.remember(entry(MOST))
    kept = [each.id for each in await history.newest()]
    assert (kept[0], kept[1], kept[-1]) == (f"e{MOST}", f"e{MOST_OF_EACH + 2}", night.id)
    assert [each.id for each in await history.newest(2)] == kept[:2]
    assert MOST_OF_EACH + 2 <= len(kept) <= MOST_OF_EACH + 3


async def test_many_planted_members_are_dropped_in_slices(hand: Hand, history: History) -> None:
    """A script takes only so many arguments."""
    for start in range(0, 20_000, 1_000):
        members = [word for number in range(start, start + 1_000) for word in (number, f"planted {number}")]
        await ask(hand.redis, "ZADD", history.keys.history_order, *members)
    await history.remember(entry(30_000))
    assert await ask(hand.redis, "ZCARD", history.keys.history_order) == 20_001 - SLICE
    assert [each.id for each in await history.newest()] == ["e30000"]


@pytest.mark.parametrize(
    "fields",
    [
        {"stages": [{}]},
        {"stages": [1]},
        {"stages": [{"name": "fit", "started_ms": "x", "ended_ms": 2, "outcome": "done", "message": ""}]},
        {"figures": [1]},
        {"started_ms": -1},
        {"ended_ms": 1e300},
    ],
)
async def test_an_entry_with_a_planted_field_is_left_out(hand: Hand, history: History, fields: dict[str, Any]) -> None:
    """Readers need not look at its parts."""
    await history.remember(entry(1))
    planted = msgspec.json.encode(msgspec.to_builtins(entry(1)) | fields)
    await ask(hand.redis, "HSET", history.keys.history, "e001", planted)
    assert await history.find("e001") is None
    assert await history.newest() == []
