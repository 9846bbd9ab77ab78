"""A stage of a night at work, and what its stages have in common."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from reckoner.shared.errors import ReckonerError
from reckoner.shared.flows.nights import Night, Stage, StageOutcome
from reckoner.workers.runtime.runtime import Runtime

LOOK_S = 0.2
# Tries after the first. The pause doubles, so an outage of a minute fails no night.
MORE_TRIES = 4
FIRST_PAUSE_S = 5.0


class StageFailedError(ReckonerError):
    """A stage of the night failed."""


@dataclass
class Work:
    """A stage at work, and what came before it."""

    runtime: Runtime
    night: Night
    stage: Stage
    save: Callable[[Stage], Awaitable[None]]
    """Notes the stage in the night's state."""
    first_pause_s: float = FIRST_PAUSE_S

    async def note(self, **changes: Any) -> None:
        """Note changes of the stage."""
        self.stage = msgspec.structs.replace(self.stage, **changes)
        await self.save(self.stage)

    async def end(self, outcome: StageOutcome, message: str, **changes: Any) -> None:
        """Note how the stage ended, by default now."""
        ended = {"ended_ms": await self.runtime.now_ms()} | changes
        await self.note(outcome=outcome, message=message, **ended)

    async def pause(self, tries: int) -> None:
        """Pause before another try."""
        await asyncio.sleep(self.first_pause_s * 2**tries)
