"""The frame of the benchmarks: medians, ratios, and what is kept of them."""

import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from tests.benchmarks.frame import (
    Figures,
    Report,
    Row,
    Side,
    WrongAnswerError,
    at_least,
    at_most,
    at_most_times,
    in_turn,
    machine,
    times_faster,
    times_sooner,
)

KEYS = ["what", "value", "unit", "peer", "peer_value", "ratio", "target", "met", "trouble"]


def side(name: str, *values: float, trouble: str = "") -> Side:
    """A side with a value for each round."""
    made = Side(name, trouble)
    for value in values:
        made.add({"jobs/s": value})
    return made


async def test_sides_are_measured_in_turn_and_one_that_was_wrong_is_not_measured_again() -> None:
    """In every round each once; of one that was wrong there are no figures, and it is told why."""
    order: list[str] = []
    told: list[str] = []

    async def right() -> Figures:
        order.append("right")
        return {"jobs/s": len(order)}

    async def wrong() -> Figures:
        order.append("wrong")
        if order.count("wrong") == 2:
            raise WrongAnswerError("of 9 jobs 1 were lost")
        return {"jobs/s": 100.0}

    sides = await in_turn(3, {"right": right, "wrong": wrong}, told.append)
    assert order == ["right", "wrong", "right", "wrong", "right"]
    assert sides["right"].median("jobs/s") == 3
    assert sides["wrong"].median("jobs/s") is None
    assert "wrong, round 2: of 9 jobs 1 were lost" in told


@pytest.mark.parametrize(
    ("ours", "peers", "ratio", "met"),
    [
        ((30.0, 10.0, 20.0), (2.0, 1.0, 4.0), 10.0, True),
        ((30.0, 10.0, 19.0), (2.0, 1.0, 4.0), 9.5, False),
        ((), (2.0,), None, False),
        ((30.0,), (), None, False),
    ],
)
def test_a_speed_is_compared_by_the_medians(
    ours: tuple[float, ...], peers: tuple[float, ...], ratio: float | None, met: bool
) -> None:
    """The target is met by a ratio that is there and large enough, and by nothing else."""
    row = times_faster("no-op", side("engine", *ours), side("stock", *peers), "jobs/s", "jobs/s", 10)
    assert (row.ratio, row.met, row.peer, row.target) == (ratio, met, "stock", "at least 10 times")


@pytest.mark.parametrize(
    ("ours", "peers", "ratio", "met"),
    [((2.0, 1.0, 4.0), (30.0, 7.0, 20.0), 10.0, True), ((2.1,), (20.0,), 20 / 2.1, False), ((), (2.0,), None, False)],
)
def test_a_time_is_compared_by_the_medians(
    ours: tuple[float, ...], peers: tuple[float, ...], ratio: float | None, met: bool
) -> None:
    """The shorter it is the larger is the ratio."""
    row = times_sooner("build", side("ours", *ours), side("theirs", *peers), "jobs/s", "s", 10)
    assert (row.ratio, row.met, row.peer, row.target) == (ratio, met, "theirs", "at least 10 times faster")


@pytest.mark.parametrize(
    ("ours", "before", "ratio", "met"),
    [((21.0, 1.0, 30.0), (10.0,), 2.1, True), ((22.0,), (10.0,), 2.2, False), ((22.0,), (), None, False)],
)
def test_a_value_may_be_at_most_so_many_times_anothers(
    ours: tuple[float, ...], before: tuple[float, ...], ratio: float | None, met: bool
) -> None:
    """And is over it when there is no other."""
    row = at_most_times("growth", side("twice", *ours), side("once", *before), "jobs/s", "s", 2.1)
    assert (row.ratio, row.met, row.peer, row.target) == (ratio, met, "once", "at most 2.1 times")


@pytest.mark.parametrize(("values", "met"), [((5.0, 6.0, 9.0), True), ((5.0, 6.1, 9.0), False), ((), False)])
def test_a_value_may_be_at_most_its_target(values: tuple[float, ...], met: bool) -> None:
    """It is the median that counts, and no value is none that is small enough."""
    row = at_most("idle", side("engine", *values), "jobs/s", "ms", 6)
    assert (row.met, row.target, row.peer, row.ratio) == (met, "at most 6 ms", None, None)


def test_a_side_with_trouble_has_no_figures() -> None:
    """Whatever it reached in the rounds before."""
    troubled = side("ArdiQ", 1.0, 2.0, trouble="round 3: of 9 jobs 1 were lost")
    assert troubled.median("jobs/s") is None
    assert troubled.values("jobs/s") == []
    assert side("ArdiQ", 1.0, 2.0).values("jobs/s") == [1.0, 2.0]


def test_a_report_is_kept_in_the_form_of_all_benchmarks(tmp_path: Path) -> None:
    """`machine` and `rows`, each with the same nine keys; what is not there is null."""
    rows = [
        times_faster("no-op, engine / stock", side("engine", 20.0), side("stock", 2.0), "jobs/s", "jobs/s", 10),
        at_most("idle", side("engine"), "jobs/s", "%", 0.3),
    ]
    path = tmp_path / "results" / "queue.json"
    Report("a machine", rows).write(path)
    kept = msgspec.json.decode(path.read_bytes())
    assert list(kept) == ["machine", "rows"]
    assert [list(row) for row in kept["rows"]] == [KEYS, KEYS]
    assert kept["rows"][0] == {
        "what": "no-op, engine / stock",
        "value": 20.0,
        "unit": "jobs/s",
        "peer": "stock",
        "peer_value": 2.0,
        "ratio": 10.0,
        "target": "at least 10 times",
        "met": True,
        "trouble": "",
    }
    assert kept["rows"][1]["value"] is None
    assert kept["rows"][1]["met"] is False
    assert msgspec.convert(kept, Report) == Report("a machine", rows)


def test_a_table_says_what_was_not_reached_and_what_has_no_figure() -> None:
    """For somebody who reads it without its colours."""
    written = io.StringIO()
    rows = [
        Row(what="flows", value=1234.5, unit="flows/s", peer="stock", peer_value=None, target="at least 2", met=False)
    ]
    Report("a machine", rows).show(Console(file=written, width=120), "Queue")
    told = written.getvalue()
    assert "1,234 flows/s" in told
    assert "none" in told
    assert "NO" in told
    assert "a machine" in told


def test_the_machine_says_what_it_is() -> None:
    """Processor, cores, memory, system and Python, and what is said besides."""
    said = machine("Valkey 9.1.2")
    assert " cores, " in said
    assert " GB; " in said
    assert said.endswith("; Valkey 9.1.2")
    assert "Python 3." in said


def test_a_row_without_a_figure_says_why() -> None:
    """The reasons of both sides are kept, and shown below the table."""
    slow, away = side("ours", trouble="round 1: too slow"), side("theirs", trouble="not installed")
    row = times_faster("no-op", slow, away, "jobs/s", "jobs/s", 10)
    assert (row.value, row.met, row.trouble) == (None, False, "ours: round 1: too slow; theirs: not installed")
    assert at_most("no-op", slow, "jobs/s", "jobs/s", 10).trouble == "round 1: too slow"
    shown = io.StringIO()
    Report("a machine", [row]).show(Console(file=shown, width=140), "Queue")
    assert "no-op: ours: round 1: too slow; theirs: not installed" in shown.getvalue()


@pytest.mark.parametrize(("values", "met"), [((0.95, 0.9, 0.99), True), ((0.94,), False), ((), False)])
def test_a_value_must_not_fall_below_its_target(values: tuple[float, ...], met: bool) -> None:
    """The median counts, and a missing one does not meet it."""
    assert at_least("efficiency", side("ours", *values), "jobs/s", "", 0.95).met == met
