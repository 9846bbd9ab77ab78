"""The sweeper: one worker at a time, under a lock, recreates lost jobs of unfinished flows and runs."""

import asyncio
import os
import time
from collections.abc import Awaitable, Iterator, Sequence
from typing import NamedTuple

import structlog

from reckoner.shared.flows.flow_state import DamagedFlowError, Flow
from reckoner.shared.flows.flows import LONGEST_LOOK_MS
from reckoner.shared.flows.run_state import DamagedRunError
from reckoner.shared.periodic import run_periodically
from reckoner.shared.redis.connections import is_transient_redis_error
from reckoner.shared.redis.refusals import is_wrong_type
from reckoner.shared.redis.scripts import ask, call
from reckoner.shared.wire.jobs import Finish
from reckoner.workers.runtime.runtime import Runtime

log = structlog.get_logger()

# Flows and jobs that are checked together. More would block the event loop for more than about 5 ms.
AT_ONCE = 50
JOBS_AT_ONCE = 200
LOCK_MS = 5_000
# Our names are shorter.
LONGEST_NAME = 200


class _Due(NamedTuple):
    """A due member of a live set."""

    live: str
    member: bytes
    kind: str
    """`flow` or `run`, empty for an invalid member."""
    name: str


_Loaded = tuple[_Due, Flow | DamagedFlowError | None]


class Sweeper:
    """The sweeper of one worker process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._period_s = min(1.0, runtime.settings.first_look_s / 2)
        self._token = f"{runtime.worker_id}-{os.urandom(4).hex()}"

    async def run(self) -> None:
        """Sweep for ever."""
        await run_periodically("sweep", self._period_s, self.sweep)

    async def sweep(self) -> int:
        """Check due flows and runs, unless another worker does, for at most twice the sweep period.

        Returns:
            The number of recreated jobs.
        """
        redis, keys = self._runtime.redis, self._runtime.keys
        if not await call(redis, "lock", [keys.sweeper], [self._token, LOCK_MS]):
            return 0
        until, made = time.monotonic() + self._period_s * 2, 0
        try:
            # First set keys of another type aside.
            await self._runtime.flows.refusals.wrong_types(keys.types)
            now_ms = await self._runtime.now_ms()
            while due := await self._find_due(now_ms):
                made += await self._sweep_due(due, now_ms + self._runtime.flows.first_look_ms)
                if time.monotonic() >= until:
                    break
        finally:
            await call(redis, "unlock", [keys.sweeper], [self._token])
        if made:
            log.info("lost jobs recreated", jobs=made)
        return made

    async def _find_due(self, now_ms: int) -> list[_Due]:
        """Some due members. Clicks come first, since clients wait for them."""
        redis, all_live = self._runtime.redis, self._runtime.keys.all_live
        # A score beyond the longest pause is invalid, and due now.
        far = f"({now_ms + LONGEST_LOOK_MS + self._runtime.flows.first_look_ms}"
        ranges = [(live, *bounds) for live in all_live for bounds in (("-inf", now_ms), (far, "+inf"))]
        pages = await asyncio.gather(
            *(ask(redis, "ZRANGEBYSCORE", live, low, high, "LIMIT", 0, AT_ONCE) for live, low, high in ranges)
        )
        found = [_read(live, member) for (live, *_), page in zip(ranges, pages, strict=True) for member in page]
        return found[:AT_ONCE]

    async def _sweep_due(self, due: Sequence[_Due], later_ms: int) -> int:
        """Sweep due members. They are postponed first: one that fails cannot block those behind it."""
        flows, made = [it for it in due if it.kind == "flow"], 0
        loaded, *_ = await asyncio.gather(
            self._runtime.flows.load_many([it.name for it in flows]),
            *(ask(self._runtime.redis, "ZADD", it.live, "XX", later_ms, it.member) for it in due),
        )
        for group in _in_groups(list(zip(flows, loaded, strict=True))):
            made += sum(await asyncio.gather(*(self._guard(it, self._sweep_flow(it, flow)) for it, flow in group)))
        for it in due:
            if it.kind == "run":
                made += await self._guard(it, self._sweep_run(it))
            elif not it.kind:
                # Enough invalid members would hide all others.
                await self._runtime.flows.refusals.member(it.live, it.member, "a live member was neither flow nor run")
        return made

    async def _guard(self, it: _Due, sweeping: Awaitable[int]) -> int:
        """Sweep one member. Its failure must not stop the others."""
        try:
            return await sweeping
        except Exception as error:
            if is_transient_redis_error(error):
                raise
            fields = {"member": it.member.decode(), "error": type(error).__name__}
            log.error("sweep failed", **fields, exc_info=not is_wrong_type(error))
            if is_wrong_type(error):
                await self._runtime.flows.refusals.wrong_types(await self._types(it))
            return 0

    async def _types(self, it: _Due) -> dict[str, str]:
        """The expected types of all keys of a flow or run."""
        keys = self._runtime.keys
        if it.kind == "run":
            return await self._types_of_run(it.name)
        types = keys.types_of_flow(it.name)
        flow = (await self._runtime.flows.load_many([it.name]))[0]
        if flow and flow.run:
            types |= await self._types_of_run(flow.run)
        if flow and flow.join:
            types |= {flow.join: "string"}
        return types

    async def _types_of_run(self, run_id: str) -> dict[str, str]:
        finish = Finish(run_id, await self._runtime.flows.run_round(run_id))
        return self._runtime.keys.types_of_run(run_id, [finish.job_id])

    async def _forget(self, it: _Due) -> None:
        await ask(self._runtime.redis, "ZREM", it.live, it.member)

    async def _sweep_flow(self, it: _Due, flow: Flow | DamagedFlowError | None) -> int:
        if isinstance(flow, DamagedFlowError):
            await self._runtime.flows.fail_damaged(flow, lease=None)
        elif flow is None or flow.ended:
            await self._forget(it)
        else:
            return max(0, await self._runtime.flows.mend(flow))
        return 0

    async def _sweep_run(self, it: _Due) -> int:
        runs = self._runtime.runs
        try:
            run = await runs.load(it.name)
        except DamagedRunError as damage:
            log.error("damaged run failed", run=it.name, reason=str(damage))
            await runs.fail_damaged(damage, lease=None)
            return 0
        if run is None:
            await self._forget(it)
            return 0
        return max(0, await runs.tend(run))


def _read(live: str, member: bytes) -> _Due:
    kind, _, name = member[:LONGEST_NAME].decode(errors="replace").partition(":")
    # A name with a colon would name another key of a flow, and the sweep would overwrite it.
    known = kind in ("flow", "run") and name and not {":", "\ufffd"} & set(name) and len(member) <= LONGEST_NAME
    return _Due(live, member, kind if known else "", name)


def _in_groups(flows: Sequence[_Loaded]) -> Iterator[list[_Loaded]]:
    """Group flows so that each group has about `JOBS_AT_ONCE` jobs."""
    group, jobs = list[_Loaded](), 0
    for it, flow in flows:
        jobs += max(flow.tasks, 1) if isinstance(flow, Flow) else 1
        group.append((it, flow))
        if jobs >= JOBS_AT_ONCE:
            yield group
            group, jobs = [], 0
    yield group
