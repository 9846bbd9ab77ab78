"""Many workers whose kernels wait instead of computing, so that two cores show whether more workers do more work."""

import time
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.frame import Figures
from tests.benchmarks.night_data import DataSet
from tests.benchmarks.night_site import Night

PROGRAM = (str(Path(__file__).absolute().parent), "waiting_worker")
# A wait is so many times the CPU of a block without its kernel: 64 workers need one core then.
TIMES = 63
BLOCK_USERS = 10
MILLISECONDS = 1e3


@dataclass(frozen=True)
class Waits:
    """The lists of all users by so many workers. Those of `kept` tell how long a kernel waits."""

    home: Path
    data: DataSet
    workers: int
    kept: dict[str, float]

    async def __call__(self) -> Figures:
        """The share of the workers' time that went into waits, all blocks together.

        It is 1 when each worker always has a kernel that waits. The kernels of a single worker do not wait: it shows
        what a block costs.
        """
        wait_ms = self.kept["wait ms"] if self.workers > 1 else 0.0
        async with Night(self.home / f"waits-{time.monotonic_ns()}", self.data) as night:
            await night.start(self.workers, (*PROGRAM, "--wait-ms", str(wait_ms)))
            generation = await night.fit()
            async with night.reckoner() as reckoner:
                await night.warm_up(reckoner, generation)
            before = night.cpu_s()
            manifest = await night.batch(BLOCK_USERS)
            after = night.cpu_s()
        took_s, blocks = manifest["duration_s"], manifest["blocks"]
        cpu_ms = (after.workers_s - before.workers_s) / blocks * MILLISECONDS
        if not wait_ms:
            self.kept["wait ms"] = TIMES * cpu_ms
        return {
            "s": took_s,
            "CPU ms a block": cpu_ms,
            "wait ms": wait_ms,
            "efficiency": blocks * wait_ms / MILLISECONDS / (self.workers * took_s),
            "server's share of a core": (after.server_s - before.server_s) / took_s,
        }
