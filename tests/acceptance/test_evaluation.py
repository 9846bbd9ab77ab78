"""An evaluation on real workers: equal bytes for any number of them, also if they are killed all the time."""

import asyncio
import json
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from tests.patience import PATIENCE_S
from tests.system import System, synthetic_pairs

QUICK: dict[str, Any] = {"task_deadline_s": 2, "first_look_s": 0.2, "lease_s": 1.0, "tasks_per_job": 12}
MODELS = ("--model", "cosine neighbours=20", "--model", "slim recency=0")
KILLS = 4
T = TypeVar("T")


async def evaluate(system: System) -> tuple[dict[str, Any], list[str]]:
    """Run the command; returns its report without the seconds, and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(system.python, "-m", "reckoner.producer", "evaluate", "--split", "random", "--json", *MODELS),
        env=system.environ(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    report: dict[str, Any] = json.loads(out)
    del report["took"]
    return report, err.decode().splitlines()


def artifacts(system: System) -> dict[str, list[str]]:
    """What the store holds."""
    kinds = ("snapshots", "models", "parts")
    return {kind: [entry.id for entry in system.store.entries(kind)] for kind in kinds}  # type: ignore[arg-type]


async def storm(system: System, command: Coroutine[Any, Any, T]) -> T:
    """What a command answers while three workers are killed, each time that there is a job."""
    many, kills = system.start_workers(3), 0
    await system.ready(3)
    running = asyncio.create_task(command)
    async with system.reckoner() as reckoner:
        while not running.done() and kills < KILLS:
            if await reckoner.redis.exists(system.keys.live_of("batch")):
                many.send(signal.SIGKILL)
                kills += 1
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.01)
    answer = await running
    assert kills
    await system.idle()
    return answer


async def test_an_evaluation_is_the_same_whoever_dies(tmp_path: Path) -> None:
    """Its workers are killed while it fits and scores; it leaves nothing behind but its memory."""
    async with System(tmp_path / "home", **QUICK) as system:
        system.import_pairs(synthetic_pairs())
        before = artifacts(system)
        one = system.start_workers()
        await system.ready(1)
        calm, _ = await evaluate(system)
        assert [model["name"] for model in calm["models"]] == ["cosine neighbours=20", "slim", "popularity"]
        await one.stop()
        report, _ = await storm(system, evaluate(system))
        assert report == calm
        # One that was killed just after the end of a flow leaves its parts to the garbage collection.
        assert artifacts(system) | {"parts": before["parts"]} == before
        assert await system.keys_for_ever() <= await system.keys_that_may_stay()
