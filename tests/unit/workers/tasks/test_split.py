"""The split: the number of chunk tasks of a block."""

import pytest

from reckoner.workers.kernels.scoring.score import ADDITIONS_PER_MS
from reckoner.workers.tasks.split import tasks_of_block


@pytest.mark.parametrize(
    ("ms_of_work", "tasks"),
    [(0, 1), (1, 1), (28, 1), (29, 2), (56, 2), (57, 4), (20 * 32, 32), (20 * 1000, 32), (10**9, 32)],
)
def test_a_task_computes_for_about_as_long_as_it_is_planned(ms_of_work: int, tasks: int) -> None:
    """The nearest power of two, from 1 to the number of chunks."""
    assert tasks_of_block(ms_of_work * ADDITIONS_PER_MS, chunks=32, task_ms=20.0) == tasks


def test_any_length_of_a_task_can_be_planned() -> None:
    """Even the shortest one."""
    assert tasks_of_block(1, chunks=7, task_ms=5e-324) == 7
    assert tasks_of_block(0, chunks=7, task_ms=5e-324) == 1
