"""What the client answers: frozen values."""

from dataclasses import dataclass

from shared.flow_state import Flow
from shared.runs import Run
from shared.wire import Trace


@dataclass(frozen=True)
class Enqueued:
    """What was asked for one user: the job that works for it, None when the cached list is the answer."""

    user: str
    job: str | None


@dataclass(frozen=True)
class JobReport:
    """A job as it is now."""

    flow: Flow
    tasks_done: int
    traces: dict[int, Trace]


@dataclass(frozen=True)
class RunReport:
    """A run as it is now."""

    run: Run
    blocks_done: int

    @property
    def users_done(self) -> int:
        """How many users the blocks that are done have, at least; the last block may be smaller than the others."""
        return min(self.blocks_done * self.run.block_size, self.run.users)
