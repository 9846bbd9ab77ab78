"""Clicks on the night's data: with nothing else to do, and while the lists of all users are computed."""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.redis.scripts import ask
from tests.benchmarks.frame import Figures, WrongAnswerError, latencies
from tests.benchmarks.night_data import DataSet
from tests.benchmarks.night_site import Night
from tests.benchmarks.whole_system import TASKS, click
from tests.system import eventually

WORKERS = 2
IDLE = 200
# As many clicks are needed for a 99th percentile, in at most so many runs.
BUSY, MAX_RUNS = 300, 8
# Clicks visit users with this stride.
STRIDE = 101


@dataclass(frozen=True)
class Clicks:
    """Clicks, one after the other, on two idle workers, and then beside runs if `beside`."""

    home: Path
    data: DataSet
    beside: bool = False

    async def __call__(self) -> Figures:
        """Median and 99th percentile in milliseconds, idle and `busy`."""
        async with Night(self.home / f"clicks-{time.monotonic_ns()}", self.data, tasks_per_job=TASKS) as night:
            await night.start(WORKERS)
            generation = await night.fit()
            users = cycle([str(1 + number) for number in range(0, self.data.users, STRIDE)])
            async with night.reckoner() as reckoner:
                await night.warm_up(reckoner, generation)
                figures = latencies([await click(reckoner, next(users)) for _ in range(IDLE)])
                if self.beside:
                    waited: list[float] = []
                    for _ in range(MAX_RUNS):
                        waited += await _beside_a_run(night, reckoner, users)
                        if len(waited) >= BUSY:
                            break
                    busy = latencies(waited)
                    figures = {**figures, **{f"busy: {name}": value for name, value in busy.items()}}
        return {**figures, "clicks": len(waited) if self.beside else IDLE}


async def _beside_a_run(night: Night, reckoner: OpenReckoner, users: "cycle[str]") -> list[float]:
    """The latencies of all clicks of one run."""
    running = asyncio.create_task(night.batch())
    waited: list[float] = []
    try:
        await eventually(lambda: _begun(running, night, reckoner))
        while not running.done():
            waited.append(await click(reckoner, next(users)))
        await running
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError, WrongAnswerError):
            await running
    # The last click may have come after the run's end.
    return waited[:-1]


async def _begun(running: "asyncio.Task[dict[str, Any]]", night: Night, reckoner: OpenReckoner) -> bool:
    """Whether the run is under way, or over."""
    return running.done() or bool(await ask(reckoner.redis, "EXISTS", *night.keys.all_live))
