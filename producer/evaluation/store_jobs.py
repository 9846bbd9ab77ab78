"""Jobs of the workers whose results are parts in the store: waits for them, and deletes what they leave behind."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reckoner.producer.client.asking import job_error
from reckoner.shared.cancelling import run_to_its_end
from reckoner.shared.errors import FlowUnknownError, UsageError, WireError
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.ids import fresh_id
from reckoner.shared.periodic import renewing
from reckoner.shared.redis.scripts import call
from reckoner.shared.store.evaluation_parts import put_users
from reckoner.shared.store.protocol import Store
from reckoner.shared.wire.shapes import PARTIAL, EvaluationSpec, Part, digest_context

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner

LOCK_MS = 60_000

Progress = Callable[[str, str, int, int | None], None]
"""What is done, in which unit, how many are done, and of how many."""


@dataclass
class StoreJobs:
    """Fits and evaluations, and the parts that they put into the store."""

    _reckoner: "OpenReckoner"
    _store: Store
    _parts: set[str] = field(default_factory=set)
    _jobs: set[str] = field(default_factory=set)

    async def put_users(self, owner: str, users: NDArray[np.uint32]) -> str:
        """Store the indices of users, uint32, or renew the part; returns its name, no other owner's."""

        async def put() -> str:
            name = await asyncio.to_thread(put_users, self._store, owner, users)
            self._parts.add(name)
            return name

        return await run_to_its_end(put())

    async def done(self, creating: Coroutine[Any, Any, str], what: str, progress: Progress) -> Flow:
        """Create a job, and wait until it has succeeded.

        Raises:
            FlowFailedError: it failed or was cancelled.
            RedisUnavailableError: Redis was away for longer than a minute.
        """

        async def create() -> str:
            job = await creating
            self._jobs.add(job)
            return job

        job = await run_to_its_end(create())
        try:
            async for report in self._reckoner.follow(job):
                progress(what, "chunk tasks", report.tasks_done, report.flow.tasks or None)
        except FlowUnknownError:
            raise job_error(what, None) from None
        self._note_answer(report.flow)
        self._jobs.discard(job)
        if report.flow.state != "done":
            raise job_error(what, report.flow)
        return report.flow

    def _note_answer(self, flow: Flow) -> None:
        if flow.state == "done" and isinstance(flow.spec, EvaluationSpec):
            self._parts.add(flow.answer.decode())

    async def clean_up(self) -> None:
        """Cancel unfinished jobs, and delete all parts from the store."""
        try:
            await self._cancel()
        finally:
            await asyncio.to_thread(self._delete)

    async def _cancel(self) -> None:
        """Cancel unfinished jobs, and note the parts that they have stored."""
        flows, jobs, dropped = self._reckoner.flows, sorted(self._jobs), dict[str, dict[bytes, bytes]]()
        for job, flow in zip(jobs, await flows.load_many(jobs), strict=True):
            if isinstance(flow, Flow):
                dropped[job] = await flows.cancel_with_partials(flow)
            elif flow is not None:
                await flows.cancel(flow)
        # As they ended: planned or done since they were loaded.
        for flow in await flows.load_many(jobs):
            if isinstance(flow, Flow):
                self._note_answer(flow)
                self._parts |= _stored_parts(flow, dropped.get(flow.id, {}))

    def _delete(self) -> None:
        for part in self._parts:
            self._store.delete("parts", part)


def _stored_parts(flow: Flow, partials: Mapping[bytes, bytes]) -> set[str]:
    """The parts in the store that a flow's tasks have put there."""
    found, bounds = set[str](), flow.plan.bounds if flow.plan else []
    for index, data in partials.items():
        with suppress(WireError, ValueError, IndexError):
            partial = PARTIAL.decode(data, digest_context(flow.id, int(index), bounds))
            found |= {partial.name} if isinstance(partial, Part) else set()
    return found


@asynccontextmanager
async def locked(reckoner: "OpenReckoner", artifact: str, under_way: str) -> AsyncIterator[None]:
    """Hold the lock of a snapshot or model that is deleted at the end.

    Raises:
        UsageError: another one holds it, which the sentence `under_way` says.
    """
    lock, token = reckoner.keys.evaluation(artifact), fresh_id()
    if not await call(reckoner.redis, "lock", [lock], [token, LOCK_MS]):
        raise UsageError(f"{under_way} Wait for its end.")
    async with renewing(reckoner.redis, lock, token, LOCK_MS):
        try:
            yield
        finally:
            await call(reckoner.redis, "unlock", [lock], [token])
