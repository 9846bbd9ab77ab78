"""What users do is recorded by hand and as JSON lines, shown, and moved to another user."""

import json
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import pytest
from redis.asyncio import Redis

from reckoner.producer.cli.event_lines import BATCH_LINES
from reckoner.producer.client.answers import RecentEvent
from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.client.recording import Event, Recorded
from reckoner.producer.client.sync import SyncReckoner
from reckoner.shared.errors import EventRefusedError, EventsFullError, RedisUnavailableError
from reckoner.shared.wire.shapes import Options, Record
from tests.commands import CommandLine
from tests.world import make_known

HOUR_MS = 3_600_000


def as_lines(*events: Mapping[str, object]) -> bytes:
    return "\n".join(map(json.dumps, events)).encode()


async def items_of(reckoner: OpenReckoner, user: str) -> list[str]:
    return [event.item for event in await reckoner.recent(user)]


async def test_an_event_is_recorded_by_hand(commands: CommandLine, reckoner: OpenReckoner) -> None:
    """With its type, weight and time; a repeated id changes nothing."""
    said = commands.call("record", "ü 1", "i:1")
    assert (said.code, said.out, said.err) == (0, "Recorded. The next list of user ü 1 follows it.\n", "")
    said = commands.call("record", "ü 1", "i:1", "--type", "impression")
    assert (said.code, said.out, said.err) == (0, "Recorded. It counts only for rotation.\n", "")
    said = commands.call("record", "ü 1", "i:1", "--type", "impression", "--id", "k")
    assert (said.code, said.out) == (2, "")
    assert "An impression counts once and now: it has no id." in said.err
    options = ("--type", "view", "--weight", "2.5", "--time", "2026-01-02T03:04+01:00", "--id", "e1", "--json")
    answers = [commands.call("record", "ü 1", "i:2", *options).objects for _ in range(2)]
    assert answers == [[{"user": "ü 1", "item": "i:2", "status": status}] for status in ("recorded", "seen")]
    assert "recorded before" in commands.call("record", "ü 1", "i:2", "--id", "e1").out
    first, second = await reckoner.recent("ü 1")
    assert (first.item, first.type, first.role, first.weight) == ("i:1", "interaction", "history", 1.0)
    at = int(datetime.fromisoformat("2026-01-02T03:04+01:00").timestamp() * 1000)
    assert second == RecentEvent("i:2", "view", "signal", 2.5, at)


async def test_what_the_live_data_hold_is_not_recent(reckoner: OpenReckoner, redis: Redis) -> None:
    """Although it is kept for the previous generation."""
    await reckoner.record("u", "imported")
    mark = str(await reckoner.events.last())
    await make_known(redis, reckoner.keys, Record(2, "g", "m", "s", Options(20), 1, 1, ["i"], mark=mark), {})
    await reckoner.record("u", "new")
    assert await items_of(reckoner, "u") == ["new"]


async def test_a_relative_time_is_ago(commands: CommandLine, reckoner: OpenReckoner) -> None:
    """For an event has happened."""
    assert commands.call("record", "u", "i", "--time", "2h").code == 0
    [event] = await reckoner.recent("u")
    assert abs(time.time() * 1000 - 2 * HOUR_MS - event.time_ms) < HOUR_MS / 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "Give USER and ITEM; or - to read events from standard input, or --file."),
        (("u",), "Give USER and ITEM; or - to read events from standard input, or --file."),
        (("-", "i"), "Give either USER and ITEM, or - for standard input, or --file."),
        (("u", "--file", "f"), "Give either USER and ITEM, or - for standard input, or --file."),
        (("-", "--type", "view"), "--type is for one event. In JSON lines, each event has its own fields."),
        (("u", "i", "--type", "veiw"), "Do you mean view?"),
        (("u", "i", "--weight", "-1"), "The weight -1 is not above 0"),
        (("u", "i", "--time", "soon"), "The time 'soon' is neither ISO 8601"),
    ],
)
async def test_a_wrong_command_is_one_sentence(
    commands: CommandLine, reckoner: OpenReckoner, arguments: tuple[str, ...], sentence: str
) -> None:
    """With exit code 2, and nothing is recorded."""
    ended = commands.call("record", *arguments)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
    assert sentence in ended.err
    assert (await reckoner.operator.status()).events == 0


async def test_bad_lines_are_reported_and_the_rest_is_recorded(commands: CommandLine, reckoner: OpenReckoner) -> None:
    """Then the exit code is 1."""
    events = [{"user": "u", "item": f"{number}", "id": f"e{number}"} for number in range(3)]
    given = as_lines(*events, {"user": "u"}, {"user": "u", "item": "3", "type": "buy"}, events[0])
    ended = commands.call("record", "-", given=given)
    assert (ended.code, ended.out) == (1, "3 recorded, 1 recorded before, 2 refused.\n")
    missing, unknown = ended.err.splitlines()
    assert missing == "Line 4 is refused: The field item is missing."
    assert unknown.startswith("Line 5 is refused: The event type 'buy' is none of dislike, ")
    assert await items_of(reckoner, "u") == ["0", "1", "2"]


async def test_each_line_has_its_answer_as_json(commands: CommandLine, tmp_path: Path) -> None:
    """In the order of the file, and the summary is a message."""
    file = tmp_path / "some évents"
    file.write_bytes(
        as_lines({"user": "u", "item": "1", "id": "e"}, {"item": "1"}, {"user": "u", "item": 1, "id": "e"})
    )
    ended = commands.call("record", "--file", str(file), "--json")
    assert (ended.code, ended.err) == (1, "1 recorded, 1 recorded before, 1 refused.\n")
    assert ended.objects == [
        {"line": 1, "user": "u", "item": "1", "status": "recorded", "reason": ""},
        {"line": 2, "user": None, "item": None, "status": "refused", "reason": "The field user is missing."},
        {"line": 3, "user": "u", "item": "1", "status": "seen", "reason": ""},
    ]


async def test_many_refusals_are_only_counted(commands: CommandLine) -> None:
    """So that they do not hide each other."""
    ended = commands.call("record", "-", given=b"no event\n" * 50)
    *shown, last = ended.err.splitlines()
    assert (ended.code, ended.out, len(shown)) == (1, "50 refused.\n", 20)
    assert last == "Further refused lines are not shown. --json shows all."


async def test_what_cannot_be_read_is_a_failure(commands: CommandLine, tmp_path: Path) -> None:
    """A missing file and a directory; an empty input is none."""
    for wrong in (tmp_path / "nowhere", tmp_path):
        ended = commands.call("record", "--file", str(wrong))
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.startswith(f"The file {wrong} cannot be read: ")
    ended = commands.call("record", "-")
    assert (ended.code, ended.out, ended.err) == (0, "No events.\n", "")


async def test_a_full_stream_stops_with_a_way_on(
    commands: CommandLine, reckoner: OpenReckoner, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """The same lines again record the rest once, since each has an id; `--json` says which lines have had room."""
    room = BATCH_LINES + 200
    given = as_lines(*({"user": f"{n % 7}", "item": "i", "type": "view", "id": f"{n}"} for n in range(room + 50)))
    full = CommandLine(redis_url=redis_url, prefix=prefix, home=tmp_path, max_events=room)
    ended = full.call("record", "-", "--json", given=given)
    assert ended.code == 1
    assert [line["status"] for line in ended.objects].count("recorded") == room
    assert {line["reason"][:30] for line in ended.objects if line["status"] == "refused"} == {
        "Redis holds 1,200 events that "
    }
    sentence = full.call("record", "-", given=given)
    assert (sentence.code, sentence.out, len(sentence.err.splitlines())) == (1, "", 1)
    assert "Stopped in lines 1,001 to 1,249: 1,200 recorded before, 49 without room. To go on, " in sentence.err
    assert sentence.err.startswith(f"Redis holds {room:,} events that no live list counts yet. Import them with ")
    assert full.call("record", "v", "i").code == 1
    assert commands.call("record", "-", given=given).out == "50 recorded, 1,200 recorded before.\n"
    assert (await reckoner.operator.status()).events == room + 50


@pytest.mark.parametrize(
    ("error", "code", "start"),
    [
        (RedisUnavailableError("Redis is away."), 1, "Redis is away. Stopped in "),
        (KeyboardInterrupt(), 130, "Stopped in "),
    ],
)
async def test_a_batch_that_is_cut_short_stops_with_a_way_on(
    commands: CommandLine, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, start: str
) -> None:
    """In one sentence, with the lines that may or may not be recorded."""
    record_many = SyncReckoner.record_many

    def cut_short(reckoner: SyncReckoner, events: Sequence[Event]) -> list[Recorded]:
        if len(events) < BATCH_LINES:
            raise error
        return record_many(reckoner, events)

    monkeypatch.setattr(SyncReckoner, "record_many", cut_short)
    given = as_lines(*({"user": f"{n}", "item": "i"} for n in range(BATCH_LINES + 50))) + b"\n"
    ended = commands.call("record", "-", given=given)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (code, "", 1)
    assert ended.err.startswith(f"{start}lines 1,001 to 1,050: 1,000 recorded. To go on, record the same lines again: ")
    assert ended.err.endswith("Without ids, some of these lines may be recorded.\n")


async def test_the_client_tells_a_bad_event_from_a_full_stream(redis_url: str, prefix: str) -> None:
    """An application refuses the one, and tries the other again."""
    async with OpenReckoner(redis_url, prefix=prefix, max_events=1) as client:
        await client.record("u", "i")
        with pytest.raises(EventsFullError, match="Redis holds 1 events"):
            await client.record("u", "i")
        with pytest.raises(EventRefusedError, match="is outside the calendar"):
            await client.record("u", "i", time=1_700_000_000_000)


async def test_a_visitor_becomes_a_user(commands: CommandLine, reckoner: OpenReckoner) -> None:
    """Their events are moved once."""
    for item in ("a", "b"):
        commands.call("record", "visitor", item)
    assert commands.call("merge", "visitor", "u").out == "Moved 2 events from visitor to u.\n"
    assert await items_of(reckoner, "u") == ["a", "b"]
    again = commands.call("merge", "visitor", "u")
    assert (again.code, again.out) == (0, "Visitor visitor has nothing to move: no events since the last import.\n")
    assert commands.call("merge", "visitor", "u", "--json").objects == [
        {"visitor": "visitor", "user": "u", "events": 0}
    ]
    same = commands.call("merge", "u", "u")
    assert (same.code, same.err) == (2, "The visitor and the user are the same.\n")
