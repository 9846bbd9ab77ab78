"""`reckoner runs`: what has ended, newest first, and one of them whole."""

import json

import pytest
from redis.asyncio import Redis

from reckoner.producer.formats import format_time
from reckoner.shared.redis.keys import Keys
from reckoner.shared.serving.history import Entry, History
from tests.commands import CommandLine

DAY_MS = 86_400_000
REASON = "everybody: 95.0% of the places are new, the limit is 90.0% (RECKONER_GATE_CHURN)."
REFUSED = Entry(
    id="n2",
    kind="night",
    outcome="refused",
    started_ms=20_000 * DAY_MS,
    ended_ms=20_000 * DAY_MS + 2_500,
    starter="settings",
    date="2024-10-04",
    snapshot="s2",
    generation="g2",
    reasons=[REASON],
    stages=[
        {
            "name": "import",
            "started_ms": 20_000 * DAY_MS,
            "ended_ms": 20_000 * DAY_MS,
            "outcome": "skipped",
            "message": "Skipped by --no-import.",
        },
        {
            "name": "everybody",
            "started_ms": 20_000 * DAY_MS,
            "ended_ms": 20_000 * DAY_MS + 2_100,
            "outcome": "refused",
            "message": REASON.removeprefix("everybody: "),
        },
    ],
    figures={"users": 1_200, "figures": {"churn": 0.95}},
    releases=["", "0.1.0"],
)
IMPORT = Entry(
    id="i1",
    kind="import",
    outcome="done",
    started_ms=19_999 * DAY_MS,
    ended_ms=19_999 * DAY_MS + 1_000,
    snapshot="s1",
    figures={"users": 1_250, "bad_rows": 0},
)


@pytest.fixture
async def remembered(redis: Redis, prefix: str) -> History:
    """A history of two."""
    history = History(redis, Keys(prefix))
    for entry in (REFUSED, IMPORT):
        await history.remember(entry)
    return history


def test_before_anything_has_ended_runs_say_what_to_do(commands: CommandLine) -> None:
    """And it is no error."""
    ended = commands.call("runs")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == "Nothing has ended yet: start with `reckoner import` and `reckoner night`.\n"
    assert commands.call("runs", "--json").out == ""


@pytest.mark.usefixtures("remembered")
def test_the_newest_come_first(commands: CommandLine) -> None:
    """A line each, or as many as are asked for."""
    ended = commands.call("runs")
    assert (ended.code, ended.err) == (0, "")
    head, _, *rows = (" ".join(line.split()) for line in ended.out.splitlines())
    assert head == "id kind started took outcome users churn"
    assert rows == [
        f"n2 night {format_time(REFUSED.started_ms)} 2.5 s refused 1,200 95.0%",
        f"i1 import {format_time(IMPORT.started_ms)} 1.0 s done 1,250",
    ]
    assert [each["id"] for each in commands.call("runs", "--json", "-n", "1").objects] == ["n2"]
    assert [each["took_s"] for each in commands.call("runs", "--json").objects] == [2.5, 1.0]
    assert [each["id"] for each in commands.call("runs", "--json", "--kind", "import").objects] == ["i1"]
    wrong = commands.call("runs", "--kind", "fits")
    assert (wrong.code, wrong.err.partition(" of ")[0]) == (2, "Invalid value for '--kind': 'fits' is not one")
    assert commands.call("runs", "--kind", "fit").err == "No fit has ended yet. See everything with `reckoner runs`.\n"


@pytest.mark.usefixtures("remembered")
def test_one_is_shown_whole(commands: CommandLine) -> None:
    """With its stages, reasons, figures and the releases of the workers."""
    ended = commands.call("runs", "show", "n2")
    assert (ended.code, ended.err) == (0, "")
    shown = " ".join(ended.out.split())
    for part in (
        "night n2",
        "outcome refused",
        ", by settings",
        "took 2.5 s",
        "date 2024-10-04",
        "snapshot s2",
        "import skipped, 0.0 s: Skipped by --no-import.",
        f"everybody refused, 2.1 s: {REASON.removeprefix('everybody: ')}",
        "releases unknown, 0.1.0",
    ):
        assert part in shown
    [found] = commands.call("runs", "show", "n2", "--json").objects
    assert (found["kind"], found["figures"]["figures"], found["acknowledged"]) == ("night", {"churn": 0.95}, False)


async def test_what_is_acknowledged_says_so(commands: CommandLine, remembered: History) -> None:
    """Everywhere."""
    assert commands.call("runs", "acknowledge", "n2").out == "The night n2 is acknowledged.\n"
    assert "refused (acknowledged)" in commands.call("runs").out
    assert "refused (acknowledged)" in commands.call("runs", "show", "n2").out
    found = await remembered.find("n2")
    assert found is not None
    assert found.acknowledged
    assert json.loads(commands.call("runs", "acknowledge", "i1", "--json").out) == {"id": "i1", "acknowledged": True}


@pytest.mark.parametrize("command", ["show", "acknowledge"])
def test_an_unknown_id_is_an_error(commands: CommandLine, command: str) -> None:
    """That says where the ids are; an impossible one is a usage error."""
    ended = commands.call("runs", command, "nobody")
    assert (ended.code, ended.out) == (1, "")
    assert "The history has no such entry: see `reckoner runs`." in ended.err
    assert commands.call("runs", command, "").code == 2
