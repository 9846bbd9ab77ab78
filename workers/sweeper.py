"""The sweeper: any worker, under a lock, mends what unfinished flows and runs miss."""

import asyncio
import os
from collections.abc import Awaitable, Sequence

import structlog

from shared.flow_state import DamagedFlowError, Flow
from shared.jobs import Finish
from shared.redis.connections import is_server_trouble
from shared.redis.refusals import is_wrong_type
from shared.redis.scripts import ask, call
from shared.runs import DamagedRunError
from workers.runtime import Runtime
from workers.upkeep import again_and_again

log = structlog.get_logger()

AT_ONCE = 500
LOCK_MS = 5_000


class Sweeper:
    """The sweeper of one worker process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._period_s = min(1.0, runtime.settings.first_look_s / 2)
        self._token = f"{runtime.worker_id}-{os.urandom(4).hex()}"

    async def run(self) -> None:
        """Sweep for ever."""
        await again_and_again("a sweep", self._period_s, self.sweep)

    async def sweep(self) -> int:
        """Look at all that is due, if nobody else is; returns how many lost jobs were created again."""
        redis, keys = self._runtime.redis, self._runtime.keys
        if not await call(redis, "lock", [keys.sweeper], [self._token, LOCK_MS]):
            return 0
        try:
            # In one round trip and in this order: what is no sorted set is set aside before the live are read.
            _, now_ms, live = await asyncio.gather(
                self._runtime.flows.refusals.wrong_types(keys.types),
                self._runtime.now_ms(),
                ask(redis, "ZRANGE", keys.live, 0, AT_ONCE - 1, "WITHSCORES"),
            )
            places = zip(live[::2], live[1::2], strict=True)
            made = await self._look_at([member for member, due in places if float(due) <= now_ms])
        finally:
            await call(redis, "unlock", [keys.sweeper], [self._token])
        if made:
            log.info("lost jobs were created again", jobs=made)
        return made

    async def _look_at(self, due: Sequence[bytes]) -> int:
        flows, runs = dict[str, bytes](), dict[str, bytes]()
        for member in due:
            kind, _, name = member.decode(errors="replace").partition(":")
            if kind in ("flow", "run") and "\ufffd" not in name:
                (flows if kind == "flow" else runs)[name] = member
            else:
                # Nobody else would take it away, and enough of them would hide all others.
                await self._forget(member)
        made = 0
        loaded = zip(flows.values(), await self._runtime.flows.load_many(list(flows)), strict=True) if flows else ()
        # Clicks first: somebody waits for them.
        for member, flow in sorted(loaded, key=lambda pair: not _is_click(pair[1])):
            made += await self._guard(member, self._sweep_flow(member, flow))
        for name, member in runs.items():
            made += await self._guard(member, self._sweep_run(member, name))
        return made

    async def _guard(self, member: bytes, look: Awaitable[int]) -> int:
        """One look; what goes wrong with one flow or run must not keep the others waiting."""
        try:
            return await look
        except Exception as error:
            if is_server_trouble(error):
                raise
            told = {"member": member.decode(), "error": type(error).__name__}
            log.error("a look failed", **told, exc_info=not is_wrong_type(error))
            redis, keys = self._runtime.redis, self._runtime.keys
            later = await self._runtime.now_ms() + 2 * self._runtime.flows.first_look_ms
            await ask(redis, "ZADD", keys.live, "XX", later, member)
            if is_wrong_type(error):
                await self._runtime.flows.refusals.wrong_types(await self._types(member))
            return 0

    async def _types(self, member: bytes) -> dict[str, str]:
        """The types of all keys that a look at a flow or run meets."""
        keys = self._runtime.keys
        kind, _, name = member.decode().partition(":")
        if kind == "run":
            return await self._types_of_run(name)
        types = keys.types_of_flow(name)
        flow = (await self._runtime.flows.load_many([name]))[0]
        if flow and flow.run:
            types |= await self._types_of_run(flow.run)
        if flow and flow.join:
            types |= {flow.join: "string"}
        return types

    async def _types_of_run(self, run_id: str) -> dict[str, str]:
        finish = Finish(run_id, await self._runtime.flows.run_round(run_id))
        return self._runtime.keys.types_of_run(run_id, [finish.job_id])

    async def _forget(self, member: bytes) -> None:
        await ask(self._runtime.redis, "ZREM", self._runtime.keys.live, member)

    async def _sweep_flow(self, member: bytes, flow: Flow | DamagedFlowError | None) -> int:
        if isinstance(flow, DamagedFlowError):
            await self._runtime.flows.fail_damaged(flow)
        elif flow is None or flow.ended:
            await self._forget(member)
        else:
            return max(0, await self._runtime.flows.mend(flow))
        return 0

    async def _sweep_run(self, member: bytes, run_id: str) -> int:
        runs = self._runtime.runs
        try:
            run = await runs.load(run_id)
        except DamagedRunError as damage:
            log.error("a run cannot be read and ends as failed", run=run_id, reason=str(damage))
            await runs.fail_damaged(damage)
            return 0
        if run is None:
            await self._forget(member)
            return 0
        return max(0, await runs.tend(run))


def _is_click(flow: Flow | DamagedFlowError | None) -> bool:
    return isinstance(flow, Flow) and flow.lane == "click"
