"""The night's benchmark runs from its command to its table. Speed is not judged here."""

from pathlib import Path

import pytest

from reckoner.producer.trial.synthesis import Size
from tests.benchmarks.night_data import DataSet
from tests.benchmarks.night_waits import Waits
from tests.measuring import kept, measured

pytestmark = pytest.mark.install


def test_a_part_of_the_nights_benchmark_is_measured_and_not_kept() -> None:
    """The same lists with and without a killed worker, next to each other."""
    before = kept()
    told = measured("bench_night", "--like", "ml-1m", "--only", "kills")
    assert "all lists, the same bytes, with a worker killed every 2 s" in told
    assert all(f"{side}, round 1: s " in told for side in ("undisturbed", "killed"))
    assert kept() == before


def test_a_measurement_of_the_night_that_fails_says_why_and_the_next_one_begins() -> None:
    """No measurement ends within so short a time."""
    told = measured("bench_night", "--like", "ml-1m", "--only", "kills,memory", "--limit-s", "0.01")
    assert told.count("it has not ended within 0.01 s") >= 2


async def test_workers_that_wait_run_all_blocks(tmp_path: Path) -> None:
    """A single worker tells how long a kernel waits; then waits fill most of the time of few workers."""
    data = await DataSet.make(tmp_path / "data", Size(users=200, items=50, interactions=2_000))
    times: dict[str, float] = {}
    alone = await Waits(tmp_path, data, 1, times)()
    two = await Waits(tmp_path, data, 2, times)()
    assert alone["wait ms"] == 0 < alone["CPU ms a block"]
    assert two["wait ms"] == pytest.approx(63 * alone["CPU ms a block"])
    assert 0.2 < two["efficiency"] <= 1
