"""Healing: reads each artifact in use once a day, and has a damaged model built again before many jobs need it."""

import asyncio
import threading
from functools import partial

import structlog

from shared.errors import ArtifactDamagedError, ArtifactMissingError, ForeignFormatError, ReckonerError
from shared.model_config import fit_spec
from shared.models import describe
from shared.redis.scripts import ask
from shared.store import SET_ASIDE, ArtifactKind
from workers.retention import referred_to
from workers.runtime import Runtime
from workers.upkeep import again_and_again, renewing

LOOK_S = 2.0
SCRUB_LOOK_S = 600.0
# So slowly that no job is held up by it.
SCRUB_BYTES_PER_S = 8_000_000
SCRUB_EACH_MS = 86_400_000
# A worker that scrubs says so again and again, and another one begins when it has not for so long.
CLAIM_MS = 600_000
KINDS: tuple[ArtifactKind, ...] = ("snapshots", "models")

log = structlog.get_logger()


class _StoppedError(Exception):
    """This worker ends, and reads no further."""


class Healing:
    """What one worker process does against damage beside its jobs."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._asked = set[str]()

    async def run(self) -> None:
        """Heal for ever."""
        await again_and_again("healing", LOOK_S, self.heal)

    async def run_scrub(self) -> None:
        """Scrub for ever."""
        await again_and_again("a scrub", SCRUB_LOOK_S, self.scrub)

    async def heal(self) -> None:
        """Ask for the fit of the newest generation's model if that is set aside, once until it is whole: it may fail.

        A fit of another one would make that the newest.
        """
        runtime = self._runtime
        if runtime.store_watch.trouble:
            return
        if not await runtime.in_thread(lambda: any(True for _ in runtime.store.damaged())):
            self._asked.clear()
            return
        newest = await runtime.results.newest()
        if newest is None:
            return
        if await runtime.in_thread(partial(runtime.store.seal, "models", newest.model)) != SET_ASIDE:
            self._asked.discard(newest.model)
            return
        if newest.model in self._asked:
            return
        aside = runtime.store.aside("models", newest.model)
        try:
            snapshot_id, config = await runtime.in_thread(partial(describe, aside))
        except ReckonerError:
            # Its manifest is what was damaged: whoever fits it knows how.
            return
        spec = fit_spec(snapshot_id, config, newest.options.list_length)
        [job] = await runtime.flows.create([spec], [runtime.keys.join_fit(newest.generation)], "batch")
        self._asked.add(newest.model)
        log.info("fit of a damaged model enqueued", model=newest.model, job=job)

    async def scrub(self) -> None:
        """Read all artifacts in use if nobody does or has done so today; what is damaged is set aside."""
        redis, key, worker = self._runtime.redis, self._runtime.keys.scrub, self._runtime.worker_id
        if not await ask(redis, "SET", key, worker, "NX", "PX", CLAIM_MS):
            return
        async with renewing(redis, key, CLAIM_MS):
            referred = await referred_to(self._runtime)
            entries = await self._runtime.in_thread(
                lambda: [(kind, entry.id) for kind in KINDS for entry in self._runtime.store.entries(kind)]
            )
            used = [(kind, name) for kind, name in entries if name in referred]
            for kind, name in used:
                await self._read(kind, name)
        await ask(redis, "SET", key, worker, "PX", SCRUB_EACH_MS)
        log.info("artifacts scrubbed", count=len(used))

    async def _read(self, kind: ArtifactKind, name: str) -> None:
        stop, runtime = threading.Event(), self._runtime

        def pace(size: int) -> None:
            if stop.wait(size / SCRUB_BYTES_PER_S):
                raise _StoppedError

        def read() -> None:
            seal = runtime.store.seal(kind, name)
            try:
                runtime.store.verify(kind, name, pace)
            except (ArtifactMissingError, ForeignFormatError, _StoppedError):
                return
            except ArtifactDamagedError as damage:
                runtime.opening.set_aside(kind, name, seal, str(damage))

        try:
            # Not in one of the threads for work that waits: it takes minutes.
            await asyncio.to_thread(read)
        except asyncio.CancelledError:
            stop.set()
            raise
