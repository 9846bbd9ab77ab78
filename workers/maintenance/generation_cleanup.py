"""Deletes the lists of old generations, in slices.

The generation's snapshot names the users, and Redis keeps the progress, so that any worker can continue. An unfinished
flow or run of the generation delays the deletion. A list that a late job still writes expires.
"""

import asyncio
import os
import time

import structlog

from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError, WireError
from reckoner.shared.periodic import renewing, run_periodically
from reckoner.shared.redis.scripts import ask, call
from reckoner.shared.redis.scripts.constants import SLICE
from reckoner.shared.serving.generations import GenerationLists, decode_generation_lists
from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.maintenance.retention import live_references
from reckoner.workers.runtime.runtime import Runtime

log = structlog.get_logger()

PERIOD_S = 5.0
# The pause between two searches for references, which take half a minute among a million flows.
PAUSE_MS = 10_000


class GenerationCleanup:
    """Deletes old generations from one worker process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._live: bytes | None = None
        """The live generation at the last look."""

    async def run(self) -> None:
        """Delete old generations, for ever."""
        await run_periodically("deletion of old generations", PERIOD_S, self.delete_old)

    async def delete_old(self) -> None:
        """Delete the lists of all old generations that no unfinished flow or run uses."""
        redis, keys, results = self._runtime.redis, self._runtime.keys, self._runtime.results
        held, pointers = await asyncio.gather(results.generations.lists(), ask(redis, "MGET", *keys.pointers))
        self._note_live(pointers[0])
        named = {pointer for pointer in pointers if pointer}
        if unknown := named - held.keys():
            for generation in unknown:
                await self._note(generation)
            return
        if pointers[0] is None:
            # The current pointer was lost and may be restored.
            return
        old = {generation: decode_generation_lists(held[generation]) for generation in sorted(held.keys() - named)}
        whole = {generation for generation, holding in old.items() if holding.gone is None}
        if whole and (refused := await self._refused({name.decode(errors="replace") for name in whole})):
            whole.discard(refused.encode())
            del old[refused.encode()]
        kept = await self._in_use(whole) if whole else whole
        for generation in sorted(old.keys() - kept):
            await self._delete(generation, held[generation], old[generation])

    async def _refused(self, old: set[str]) -> str | None:
        """The generation whose run ended last and did not go live: it may be promoted until the next run begins."""
        runtime, generations = self._runtime, self._runtime.results.generations
        live, newest = (await generations.follow(runtime.keys.current)).record, await generations.newest()
        held = await generations.holdings()
        since = held[live.generation].until_ms if live and live.generation in held else 0
        # Its lists expire after those of the live one.
        later = {name: held[name].until_ms for name in old & held.keys() if held[name].until_ms > since}
        if not later or newest is None:
            return None
        last = max(sorted(later), key=later.__getitem__)
        record = await generations.record(last)
        if record is None or record.model != newest.model or await self._runs():
            return None
        return last

    async def _runs(self) -> bool:
        """Whether a run is unfinished."""
        runs = self._runtime.runs
        try:
            found = [await runs.load(run) for run in await runs.under_way()]
        except WireError:
            # The sweeper will end it.
            return True
        return any(run is not None and run.state != "ended" for run in found)

    def _note_live(self, current: bytes | None) -> None:
        """Log which lists readers have from now on, by a run, a promotion or a rollback."""
        if current is not None and self._live not in (None, current):
            log.info("live generation changed", now=_name(current), before=_name(self._live))
        self._live = current or self._live

    async def _note(self, generation: bytes) -> None:
        """Add a lost entry of a generation that a pointer names. Nothing is deleted until all of these have entries."""
        record = await self._runtime.results.generations.record(generation.decode(errors="replace"))
        if record is not None:
            key = self._runtime.keys.generations
            await ask(self._runtime.redis, "HSET", key, generation, GenerationLists(record.snapshot).encode())

    async def _in_use(self, old: set[bytes]) -> set[bytes]:
        """The old generations that an unfinished flow or run names; all of them while another worker searches."""
        redis, lock, token = self._runtime.redis, self._runtime.keys.cleanup, os.urandom(8).hex()
        if not await call(redis, "lock", [lock], [token, PAUSE_MS]):
            return old
        try:
            async with renewing(redis, lock, token, PAUSE_MS):
                named, _ = await live_references(self._runtime)
        except WireError:
            # The sweeper will end the unreadable flow or run.
            return old
        kept = {generation for generation in old if generation.decode(errors="replace") in named}
        if not kept:
            await call(redis, "unlock", [lock], [token])
        return kept

    async def _delete(self, generation: bytes, seen: bytes | str, holding: GenerationLists) -> None:
        runtime, name = self._runtime, generation.decode(errors="replace")
        try:
            snapshot = await runtime.snapshot(holding.snapshot)
        except (ArtifactMissingError, ArtifactDamagedError) as error:
            log.warning("old generation left to expire", generation=name, reason=str(error))
            await runtime.results.generations.forget(generation, seen)
            return
        except NotNowError:
            # It is still being verified.
            return
        gone = holding.gone or 0
        pages = snapshot.users.pages(gone)
        while page := await runtime.in_store(lambda: next(pages, None)):
            users = [user.decode(errors="replace") for user in page]
            for start in range(0, len(users), SLICE):
                began, some = time.monotonic(), users[start : start + SLICE]
                gone += len(some)
                left = GenerationLists(holding.snapshot, gone)
                if not await runtime.results.generations.forget(generation, seen, left, some):
                    return
                seen = left.encode()
                # Leave half of the server's time to others.
                await asyncio.sleep(time.monotonic() - began)
        if await runtime.results.generations.forget(generation, seen):
            log.info("old generation deleted", generation=name, users=gone)


def _name(generation: bytes | None) -> str:
    return (generation or b"").decode(errors="replace")
