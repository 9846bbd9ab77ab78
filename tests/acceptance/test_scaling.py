"""A second worker process takes half of the work."""

from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from reckoner.shared.redis.scripts import ask
from reckoner.shared.wire.shapes import TRACE, Trace
from tests.commands import CommandLine
from tests.system import System

# Small blocks, each in as many chunk tasks.
CHUNKS = 4


async def traces_by_flow(system: System) -> dict[str, list[Trace]]:
    """The workers and times of each remembered flow's chunk tasks."""
    start, end = system.keys.flow(""), ":tasks"
    async with system.reckoner() as reckoner:
        keys = [key.decode() async for key in reckoner.redis.scan_iter(match=f"{start}*{end}", count=1000)]
        return {
            key.removeprefix(start).removesuffix(end): list(map(TRACE.decode, await ask(reckoner.redis, "HVALS", key)))
            for key in keys
        }


def overlap(one: Trace, other: Trace) -> bool:
    """Whether two chunk tasks ran at the same time."""
    return one.started_ms < other.ended_ms and other.started_ms < one.ended_ms


@pytest.mark.long
async def test_each_of_two_workers_does_a_fair_share_and_one_job_runs_on_both(tmp_path: Path) -> None:
    """All MovieLens users in blocks of two: each worker does 30 to 70 % of the chunk tasks, with exact bytes.

    The many blocks make it irrelevant which worker first has the model laid out.
    """
    async with System(tmp_path / "a home") as system:
        system.import_movielens()
        system.start_workers(2, chunks=CHUNKS, batch_task_ms=1e-6)
        await system.ready(2)
        generation = await system.fit()
        fit_flows = set(await traces_by_flow(system))
        run = await system.run(block_size=2, window=8)
        assert run.outcome == "passed"
        assert await system.lists(generation) == system.reference_lists(generation)
        (shown,) = CommandLine(home=system.home).run("job", run.id, "--json").objects
        traces = {flow: tasks for flow, tasks in (await traces_by_flow(system)).items() if flow not in fit_flows}
    assert len(traces) == run.blocks == 336
    assert all(len(tasks) == CHUNKS for tasks in traces.values())
    done = Counter(task.worker for tasks in traces.values() for task in tasks)
    assert shown["manifest"]["tasks"] == done
    assert len(done) == 2
    assert all(0.3 <= count / done.total() <= 0.7 for count in done.values()), done
    pairs = [pair for tasks in traces.values() for pair in combinations(tasks, 2) if overlap(*pair)]
    assert pairs, "no two chunk tasks of one flow ran at the same time"
    assert any(one.worker != other.worker for one, other in pairs)
