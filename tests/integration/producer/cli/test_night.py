"""`reckoner night`: begins a night, or joins one; the workers do the rest."""

import asyncio
import json
from datetime import UTC, datetime

import msgspec
import pytest
from redis.asyncio import Redis

from reckoner.shared.errors import SettingsError
from reckoner.shared.flows.nights import NightOptions, Nights
from reckoner.shared.flows.run_state import Figures
from reckoner.shared.redis.keys import Keys
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.history import Entry, History
from tests.commands import CommandLine
from tests.patience import PATIENCE_S

DATE = "2026-11-30"


@pytest.fixture
def nights(redis: Redis, prefix: str) -> Nights:
    return Nights(redis, Keys(prefix))


async def test_a_night_begins_and_the_command_ends(commands: CommandLine, nights: Nights) -> None:
    """With its options. A second command with the same ones joins it, whatever its own date."""
    ended = commands.call("night", "--date", DATE, "--no-import", "--dry-run", "--json")
    [begun] = ended.objects
    assert (ended.code, begun) == (0, {"night": begun["night"], "date": DATE, "beginning": "started"})
    night = await nights.load(begun["night"])
    assert night is not None
    assert (night.starter, night.options) == ("command", NightOptions(imports=False, dry=True))
    ended = commands.call("night", "--date", "2026-12-01", "--no-import", "--dry-run")
    assert (ended.code, ended.out) == (0, f"Night {night.id} is in progress. Joined it.\n")
    ended = commands.call("night", "--date", "2026-12-01")
    assert ended.code == 1
    assert ended.err.startswith(f"Night {night.id} is in progress, with other options.")


async def test_a_night_does_not_begin_with_an_invalid_configuration(commands: CommandLine, nights: Nights) -> None:
    """It would fail hours later."""
    commands.environ["RECKONER_FIT"] = "--similarity bm26"
    ended = commands.call("night", "--date", DATE)
    assert (ended.code, ended.out) == (SettingsError().exit_code, "")
    assert ended.err.startswith("RECKONER_FIT is invalid: ")
    assert await nights.under_way() is None


async def test_a_date_that_is_done_is_said(commands: CommandLine, nights: Nights, redis: Redis) -> None:
    """Nothing begins then."""
    night_id = json.loads(commands.call("night", "--date", DATE, "--json").out)["night"]
    night = await nights.load(night_id)
    assert night is not None
    await ask(redis, "SET", nights.keys.night_driver, "token", "PX", 60_000)
    assert await nights.end(night, "token", "live")
    ended = commands.call("night", "--date", DATE)
    known = f"The night of {DATE} went live already. See `reckoner runs show {night_id}`.\n"
    assert (ended.code, ended.out, ended.err) == (0, known, "")
    assert await nights.under_way() is None
    figures = {"users": 1_200, "figures": msgspec.to_builtins(Figures(0.0, 0.0, 0.25, 0.0, 0.0, 9, 9, 0.1, 0.1))}
    entry = Entry(id=night_id, kind="night", outcome="live", started_ms=1, ended_ms=2, figures=figures)
    await History(redis, nights.keys).remember(entry)
    ended = commands.call("night", "--date", DATE, "--wait")
    assert ended.code == 0
    assert f"{night_id}, of {DATE}" in ended.out
    assert "Live: readers see the new lists." in ended.out
    assert "25.0% of the places are new" in ended.out


async def test_the_date_is_that_of_the_server(commands: CommandLine, redis: Redis) -> None:
    """If none is given."""
    before, *_ = await ask(redis, "TIME")
    ended = commands.call("night")
    after, *_ = await ask(redis, "TIME")
    dates = {datetime.fromtimestamp(int(seconds), UTC).date().isoformat() for seconds in (before, after)}
    assert any(f" of {date} has begun. See how it ends with `reckoner runs`." in ended.out for date in dates)


@pytest.mark.parametrize("date", ["today", "2026-13-01", "", "2026-11-30T03:00"])
def test_an_invalid_date_is_a_usage_error(commands: CommandLine, date: str) -> None:
    """That names it and shows a valid one."""
    ended = commands.call("night", "--date", date)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"The date {date!r} is invalid. Write it as in 2026-11-30.\n"


@pytest.mark.parametrize(("outcome", "code"), [("unchanged", 99), ("refused", 1), ("failed", 1), ("held", 0)])
async def test_the_exit_code_says_how_a_night_ended(
    commands: CommandLine, nights: Nights, redis: Redis, outcome: str, code: int
) -> None:
    """A scheduler may know a code for a night without news."""
    night_id, _ = await nights.begin(DATE, "command", NightOptions())
    night = await nights.load(night_id)
    assert night is not None
    await ask(redis, "SET", nights.keys.night_driver, "token", "PX", 60_000)
    with commands.start("night", "--date", DATE, "--wait", "--json", "--skip-code", "99") as waiting:
        assert waiting.stderr is not None
        # A night that has ended before could begin again.
        assert "Joined it." in await asyncio.to_thread(waiting.stderr.readline)
        assert await nights.end(night, "token", outcome)  # type: ignore[arg-type]
        out, _ = await asyncio.to_thread(waiting.communicate, timeout=PATIENCE_S)
    assert (waiting.returncode, json.loads(out)["outcome"]) == (code, outcome)
