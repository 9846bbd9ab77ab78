"""Fits on whole worker processes: `python -m reckoner.workers` builds a model of a snapshot, as `reckoner fit` asks.

How long that takes and how much memory it needs is measured here; the kernels alone are measured by `kernel_calls`.
"""

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import numpy as np

from reckoner.producer.client.reckoner import Reckoner
from reckoner.shared.errors import ReckonerError
from reckoner.shared.redis.embedded import EmbeddedServer
from reckoner.shared.store.location import open_store
from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.store.models import KIND, open_model
from reckoner.shared.store.ownership import take_store
from tests.benchmarks.frame import Figures, WrongAnswerError
from tests.benchmarks.kernel_data import Data
from tests.benchmarks.memory import PeakMemory
from tests.benchmarks.timed_call import NEIGHBOURS, Lists
from tests.system import System

WITHIN_S = 300.0


@dataclass(frozen=True)
class Fit:
    """A fit of the data by so many worker processes with settings; `memory` measures their memory too."""

    server: EmbeddedServer
    home: Path
    data: Data
    processes: int
    memory: bool = False
    settings: dict[str, object] = field(default_factory=dict)

    async def __call__(self) -> Figures:
        """The seconds from enqueue to the published model, and the GB of all processes together at their peak.

        Raises:
            WrongAnswerError: it failed, or the model is not true.
        """
        # A fresh prefix each time: a second fit would find the first one's model.
        name = f"fit-{uuid4().hex}"
        try:
            system = System(
                self.home / name,
                redis_url=self.server.url,
                store_url=self.data.store_url,
                prefix=name,
                log_level="ERROR",
                **self.settings,
            )
            # The store belonged to the last prefix.
            await take_store(system.settings, open_store(self.data.store_url))
            return await self._measured(system)
        except ReckonerError as error:
            raise WrongAnswerError(str(error)) from error

    async def _measured(self, system: System) -> Figures:
        system.server = self.server
        # Workers end with this process.
        workers = system.start_workers(self.processes, ("-m", "reckoner.workers", "--parent", str(os.getpid())))
        try:
            await system.ready(self.processes)
            async with system.reckoner() as reckoner:
                if not self.memory:
                    return {"s": await self._fit(reckoner, system.settings.list_length)}
                with PeakMemory(workers.pid) as peak:
                    took_s = await self._fit(reckoner, system.settings.list_length)
                return {"s": took_s, "GB": peak.gb}
        finally:
            await system.stop_workers()

    async def _fit(self, reckoner: Reckoner, length: int) -> float:
        job, model_id = await reckoner.operator.fit(self.data.snapshot_id, ModelConfig(neighbours=NEIGHBOURS), length)
        async with asyncio.timeout(WITHIN_S):
            async for report in reckoner.follow(job):
                flow = report.flow
        if flow.state != "done" or flow.ended_ms is None:
            raise WrongAnswerError(f"the fit is {flow.state}: {flow.reason}")
        if not flow.tasks:
            raise WrongAnswerError("the model was there already")
        self._judge(model_id)
        return (flow.ended_ms - flow.created_ms) / 1000

    def _judge(self, model_id: str) -> None:
        """Compare the model with the correct one, and delete it from the store."""
        store, truth = open_store(self.data.store_url), self.data.truth("cosine")
        model = open_model(store.fetch(KIND, model_id))
        truth.judge(Lists(np.asarray(model.row_ptr), model.row_items, model.row_values).of(truth.rows))
        store.delete(KIND, model_id)
