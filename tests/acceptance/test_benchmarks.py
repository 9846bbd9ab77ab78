"""A benchmark runs from its command to its table. Speed is not judged here."""

import subprocess
import sys

import pytest

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
