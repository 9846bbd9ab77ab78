"""A benchmark runs from its command to its table. Speed is not judged here."""

import subprocess
import sys
from pathlib import Path

import pytest

from reckoner.producer.trial.synthesis import Size
from tests.benchmarks.night_data import DataSet
from tests.benchmarks.night_waits import Waits
from tests.patience import PATIENCE_S
from tests.processes import environment
from tests.root import ROOT

pytestmark = pytest.mark.install

RESULTS = ROOT / "tests" / "benchmarks" / "results"


def measured(program: str, *arguments: str) -> str:
    """The output of a benchmark whose part is measured once."""
    command = [sys.executable, "tests/benchmarks", program, "--rounds", "1", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    # 1 means that a target was missed.
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def kept() -> dict[str, bytes]:
    """The kept results."""
    return {path.name: path.read_bytes() for path in RESULTS.glob("*")}


def test_a_part_of_the_queues_benchmark_is_measured_and_not_kept() -> None:
    """A worker is killed, another does its job once, and the row shows the delay."""
    before = kept()
    text = measured("bench_queue", "--only", "kill")
    assert "from SIGKILL of a worker to its job's end on another, 3 s lease" in text
    assert "engine, round 1: s " in text
    assert "none" not in text
    assert kept() == before


def test_the_same_flows_run_on_stock_workers() -> None:
    """The comparison has an answer of both."""
    text = measured("bench_queue", "--only", "flows")
    assert all(f"{side}, round 1: flows/s " in text for side in ("engine", "stock arq"))


@pytest.mark.parametrize(
    ("group", "row", "figures"),
    [
        ("doubled", "growth", ("12,080 users, round 1: s ", "6,040 users, round 1: s ")),
        ("processes", "two worker processes, compared", ("one worker process, round 1: s ",)),
    ],
)
def test_a_part_of_the_kernels_benchmark_is_measured_and_not_kept(
    group: str, row: str, figures: tuple[str, ...]
) -> None:
    """On small data, without peers."""
    before = kept()
    text = measured("bench_kernels", "--like", "ml-1m", "--only", group)
    for figure in (row, *figures, "synthetic data like ml-1m"):
        assert figure in text
    assert "none" not in text
    assert kept() == before


def test_a_part_of_the_nights_benchmark_is_measured_and_not_kept() -> None:
    """The same lists with and without a killed worker, next to each other."""
    before = kept()
    told = measured("bench_night", "--like", "ml-1m", "--only", "kills")
    assert "all lists, the same bytes, with a worker killed every 2 s" in told
    assert all(f"{side}, round 1: s " in told for side in ("undisturbed", "killed"))
    assert kept() == before


def test_a_part_of_the_imports_benchmark_is_measured_and_not_kept() -> None:
    """On small data; DuckDB may be missing."""
    before = kept()
    told = measured("bench_import", "--like", "ml-1m", "--only", "csv,hundred")
    assert all(f"import of {rows} rows of" in told for rows in ("1,000,209", "5,001,045"))
    assert told.count("import, round 1: s ") == 2
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
