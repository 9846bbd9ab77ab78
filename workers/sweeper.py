"""The sweeper: any worker, under a lock, looks at unfinished flows and runs and mends what it finds missing."""

import asyncio
import os

import structlog

from shared.errors import WireError
from shared.flows import DamagedFlowError, Flow
from shared.redis.connections import is_server_trouble
from shared.redis.scripts import ask
from shared.wire import UserSpec
from workers.runtime import Runtime

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
        while True:
            await asyncio.sleep(self._period_s)
            try:
                await self.sweep()
            except Exception as error:
                if not is_server_trouble(error):
                    log.exception("a sweep failed")

    async def sweep(self) -> int:
        """Look at all that is due, if nobody else is; returns how many lost jobs were created again."""
        redis, keys = self._runtime.redis, self._runtime.keys
        if not await ask(redis, "SET", keys.sweeper, self._token, "NX", "PX", LOCK_MS):
            return 0
        try:
            due = await ask(
                redis, "ZRANGEBYSCORE", keys.live, "-inf", await self._runtime.now_ms(), "LIMIT", 0, AT_ONCE
            )
            members = [member.decode(errors="replace").partition(":") for member in due]
            made = await self._sweep_flows([what for kind, _, what in members if kind == "flow"])
            for kind, _, what in members:
                if kind == "run":
                    made += await self._sweep_run(what)
        finally:
            if await ask(redis, "GET", keys.sweeper) == self._token.encode():
                await ask(redis, "DEL", keys.sweeper)
        if made:
            log.info("lost jobs were created again", jobs=made)
        return made

    async def _sweep_flows(self, flow_ids: list[str]) -> int:
        runtime, made = self._runtime, 0
        loaded = list(zip(flow_ids, await runtime.flows.load_many(flow_ids), strict=True)) if flow_ids else []
        # Clicks first: somebody waits for them.
        loaded.sort(key=lambda pair: not (isinstance(pair[1], Flow) and isinstance(pair[1].spec, UserSpec)))
        for flow_id, flow in loaded:
            if isinstance(flow, DamagedFlowError):
                await runtime.flows.fail_damaged(flow)
            elif flow is None or flow.ended:
                await ask(runtime.redis, "ZREM", runtime.keys.live, f"flow:{flow_id}")
            else:
                made += max(0, await runtime.flows.mend(flow))
        return made

    async def _sweep_run(self, run_id: str) -> int:
        runtime = self._runtime
        try:
            run = await runtime.runs.load(run_id)
        except WireError as error:
            log.error("a run cannot be read and is left to expire", run=run_id, reason=str(error))
            run = None
        made = await runtime.runs.tend(run) if run else -1
        if made < 0:
            await ask(runtime.redis, "ZREM", runtime.keys.live, f"run:{run_id}")
        return max(0, made)
