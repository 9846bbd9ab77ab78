"""The memory of workers that have seen several generations."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from reckoner.shared.store.models import KIND
from reckoner.workers.runtime.layouts import FIT_KEPT_S
from tests.benchmarks.frame import Figures
from tests.benchmarks.night_data import DataSet
from tests.benchmarks.night_site import Night

WORKERS = 2
# Each makes another model, and so another generation.
NEIGHBOURS = (101, 102, 103)


@dataclass(frozen=True)
class Generations:
    """Workers that fit three models, one after the other, and compute the lists of all users with each."""

    home: Path
    data: DataSet

    async def __call__(self) -> Figures:
        """The larger private memory of two workers."""
        async with Night(self.home / f"memory-{time.monotonic_ns()}", self.data) as night:
            await night.start(WORKERS)
            figures: dict[str, float] = {}
            models = []
            for number, neighbours in enumerate(NEIGHBOURS, start=1):
                models.append((await night.fitted(neighbours))["model"])
                await night.batch()
                # A night is shorter than a worker keeps what only fits need.
                await asyncio.sleep(FIT_KEPT_S + 1.0)
                figures[f"MB after {number}"] = max(night.private_mb())
        for model in models:
            self.data.store.delete(KIND, model)
        return {**figures, "MB": figures[f"MB after {len(NEIGHBOURS)}"]}
