"""A benchmark runs from its command to its table. Speed is not judged here."""

import pytest

from tests.measuring import kept, measured

pytestmark = pytest.mark.install


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


def test_a_part_of_the_imports_benchmark_is_measured_and_not_kept() -> None:
    """On small data; DuckDB may be missing."""
    before = kept()
    told = measured("bench_import", "--like", "ml-1m", "--only", "csv,hundred")
    assert all(f"import of {rows} rows of" in told for rows in ("1,000,209", "5,001,045"))
    assert told.count("import, round 1: s ") == 2
    assert kept() == before


def test_a_part_of_the_benchmark_over_http_is_measured_and_not_kept() -> None:
    """Both sides answer wrk without an error."""
    before = kept()
    told = measured("bench_http", "--only", "hits")
    assert "one user, round 1: bare: requests/s" in told
    assert "none" not in told
    assert kept() == before
