"""Prints chunk tasks by worker, for `job` and `demo`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from reckoner.producer.cli.output import print_table

if TYPE_CHECKING:
    from reckoner.producer.client.answers import JobReport


def print_tasks(report: "JobReport") -> None:
    """Print a job's chunk tasks with their workers and durations."""
    created_ms = report.flow.created_ms
    rows = [
        (str(index), trace.worker, f"{trace.started_ms - created_ms:.1f}", f"{trace.ended_ms - trace.started_ms:.1f}")
        for index, trace in sorted(report.traces.items())
    ]
    columns = ("chunk task", "worker", "began after ms", "took ms")
    print_table(columns, rows, numbers=("chunk task", "began after ms", "took ms"))


def print_shares(tasks: Mapping[str, int]) -> None:
    """Print how many chunk tasks each worker did."""
    rows = [(worker, f"{count:,}") for worker, count in tasks.items()]
    print_table(("worker", "chunk tasks"), rows, numbers=("chunk tasks",))
