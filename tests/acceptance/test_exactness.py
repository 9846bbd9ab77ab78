"""The cached bytes do not depend on how the work is divided."""

from itertools import product
from pathlib import Path

import pytest

from reckoner.shared.store.model_config import ModelConfig
from tests.system import System, synthetic_pairs

SLIM = ModelConfig("slim", 3, l1=0.25, l2=2.0, l2_share=0.1)
CHUNK_TASKS = (1, 2, 5, 32)
BLOCKS = (1, 7, 671)
WORKERS = (1, 2, 4)
# All pairs of chunk tasks (one, several, and all), block sizes and workers.
PAIRS = [
    (tasks, block, WORKERS[(i + j) % len(WORKERS)])
    for i, tasks in enumerate((1, 5, 32))
    for j, block in enumerate(BLOCKS)
]
# One chunk task per chunk, even for a block of one user.
ANY_WORK_IS_MORE = 1e-6
CROSS = list(product(CHUNK_TASKS, BLOCKS, WORKERS))


async def assert_bytes_are_the_reference(
    system: System, divisions: list[tuple[int, int, int]], config: ModelConfig | None = None, *, recency: float = 0.0
) -> None:
    """Compute all lists for each (chunk tasks, block size, workers), from an empty cache."""
    system.start_workers(2)
    generation = await system.fit(recency=recency, config=config)
    await system.stop_workers()
    expected = system.truth(recency=recency, config=config).lists(generation)
    running = (0, 0)
    for tasks, block, workers in sorted(divisions, key=lambda division: (division[0], division[2])):
        if running[0] != tasks:
            await system.stop_workers()
            running = (tasks, 0)
        system.start_workers(workers - running[1], chunks=tasks, batch_task_ms=ANY_WORK_IS_MORE)
        running = (tasks, workers)
        await system.ready(workers)
        await system.forget_lists(generation)
        run = await system.run(block, window=8)
        assert run.outcome == "passed", (tasks, block, workers, run.manifest)
        assert await system.lists(generation) == expected, (tasks, block, workers)


async def test_bytes_are_the_same_for_pairs_of_chunk_tasks_blocks_and_workers(tmp_path: Path) -> None:
    """One in seven MovieLens users, so a block of 671 holds them all; recent items of a history count more."""
    async with System(tmp_path / "a home") as system:
        system.import_movielens(one_in=7)
        await assert_bytes_are_the_reference(system, PAIRS, recency=0.25)


async def test_bytes_are_the_reference_with_slim(tmp_path: Path) -> None:
    """The fit by ranges of targets, and everybody's lists, with rows that are longer than K."""
    async with System(tmp_path / "a home") as system:
        system.import_pairs(synthetic_pairs(items=40))
        await assert_bytes_are_the_reference(system, [(1, 7, 2), (5, 671, 1)], SLIM)


@pytest.mark.matrix
async def test_bytes_are_the_same_for_all_chunk_tasks_blocks_and_workers(tmp_path: Path) -> None:
    """All MovieLens users, in all 36 combinations."""
    async with System(tmp_path / "a home") as system:
        system.import_movielens()
        await assert_bytes_are_the_reference(system, CROSS)


async def test_one_chunk_an_item_gives_the_same_bytes(tmp_path: Path) -> None:
    """Forty items in forty similarity chunks, one task each."""
    async with System(tmp_path / "a home") as system:
        system.import_pairs(synthetic_pairs(items=40))
        system.start_workers(2, chunks=40, batch_task_ms=ANY_WORK_IS_MORE)
        generation = await system.fit()
        run = await system.run(block_size=7)
        assert run.outcome == "passed"
        assert await system.lists(generation) == system.reference_lists(generation)
