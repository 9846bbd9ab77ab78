"""Healing: scrubs all artifacts in use once a day, and rebuilds damaged models before jobs need them."""

import asyncio
import math
import threading
import time
from functools import partial
from typing import NamedTuple

import structlog

from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError, ForeignFormatError, WireError
from reckoner.shared.periodic import renewing, run_periodically
from reckoner.shared.redis.scripts import ask
from reckoner.shared.store.model_config import fit_spec, model_id
from reckoner.shared.store.models import describe
from reckoner.shared.store.protocol import QUARANTINED, ArtifactKind
from reckoner.workers.maintenance.retention import live_references, referenced_artifacts
from reckoner.workers.runtime.runtime import Runtime

HEAL_EACH_S = 2.0
SCRUB_POLL_S = 600.0
# Slow enough to delay no job.
SCRUB_BYTES_PER_S = 8_000_000
SCRUB_EACH_MS = 86_400_000
# As long as a damaged model stays in quarantine.
HEAL_TTL_MS = 7 * 86_400_000
# The lease of a scrub; its worker renews it.
SCRUB_LEASE_MS = 600_000
# Searching the references takes seconds among a million flows: spend at most a hundredth of the time on it.
PAUSES_PER_SEARCH = 100
KINDS: tuple[ArtifactKind, ...] = ("snapshots", "models")

log = structlog.get_logger()


class _StoppedError(Exception):
    """This worker stops, so it stops scrubbing."""


class _Asked(NamedTuple):
    """A damaged model that was handled: its fit was enqueued or is impossible."""

    damage: int
    """The number of the damage; see `Store.unreplaced`."""
    snapshot: str
    """The fingerprint of its snapshot."""


class Healing:
    """Scrubs artifacts and rebuilds models from one worker process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._asked = dict[str, _Asked]()
        self._search_at = -math.inf

    async def run(self) -> None:
        """Heal for ever."""
        await run_periodically("healing", HEAL_EACH_S, self.heal)

    async def run_scrub(self) -> None:
        """Scrub for ever."""
        await run_periodically("scrub", SCRUB_POLL_S, self.scrub)

    async def heal(self) -> None:
        """Enqueue a fit of each damaged model that a pointer or an unfinished flow or run names.

        The fit moves no pointer. It is enqueued once per damage, and again after its snapshot was republished: a failed
        fit would only fail again.
        """
        runtime = self._runtime
        if runtime.store_watch.trouble:
            return
        unreplaced = await runtime.in_store(partial(runtime.store.unreplaced, "models"))
        self._asked = {model: asked for model, asked in self._asked.items() if unreplaced.get(model) == asked.damage}
        if unreplaced:
            for model in sorted(self._asked.keys() | await self._named(unreplaced.keys() - self._asked.keys())):
                await self._build_again(model, unreplaced[model])

    async def _named(self, unreplaced: set[str]) -> set[str]:
        """The unreplaced models that a pointer or an unfinished flow or run names."""
        results, keys = self._runtime.results, self._runtime.keys
        records = [(await results.generations.follow(pointer)).record for pointer in keys.pointers]
        named = {record.model for record in records if record} & unreplaced
        began = time.monotonic()
        if unreplaced == named or began < self._search_at:
            return named
        try:
            generations, artifacts = await live_references(self._runtime)
        except WireError:
            # The sweeper will end the unreadable flow or run.
            return named
        records = [await results.generations.record(generation) for generation in sorted(generations)]
        now = time.monotonic()
        self._search_at = now + PAUSES_PER_SEARCH * (now - began)
        return named | unreplaced & (artifacts | {record.model for record in records if record})

    async def _build_again(self, model: str, damage: int) -> None:
        store, in_store = self._runtime.store, self._runtime.in_store
        redis, key = self._runtime.redis, self._runtime.keys.heal(model)
        try:
            snapshot, config = await in_store(partial(describe, store.quarantine_path("models", model)))
        except ArtifactMissingError:
            # It was republished just now.
            return
        except ArtifactDamagedError as error:
            # Without its manifest the configuration is unknown.
            self._give_up(model, _Asked(damage, ""), str(error))
            return
        asked = _Asked(damage, await in_store(partial(store.fingerprint, "snapshots", snapshot)))
        if self._asked.get(model) == asked:
            return
        if model_id(snapshot, config) != model:
            self._give_up(model, asked, "it was built by another release")
        elif asked.snapshot in ("", QUARANTINED):
            # Its fit is worth another try when the snapshot is back.
            await ask(redis, "DEL", key)
            self._give_up(model, asked, f"its snapshot {snapshot} is {'damaged too' if asked.snapshot else 'gone'}")
        elif await ask(redis, "GET", key) == b"%d" % damage:
            # Another worker, or this one before it was restarted, has enqueued it: a failed fit is not revived.
            self._asked[model] = asked
        else:
            spec = fit_spec(snapshot, config, self._runtime.settings.list_length, only_model=True)
            join = self._runtime.keys.join_model(model)
            [job] = await self._runtime.flows.create([spec], [join], "batch")
            await ask(redis, "SET", key, damage, "PX", HEAL_TTL_MS)
            self._asked[model] = asked
            log.info("damaged model fit enqueued", model=model, job=job)

    def _give_up(self, model: str, asked: _Asked, reason: str) -> None:
        """Log once why a model cannot be rebuilt."""
        if self._asked.get(model) != asked:
            self._asked[model] = asked
            log.error("damaged model not rebuilt", model=model, reason=reason)

    async def scrub(self) -> None:
        """Verify all artifacts in use, unless a worker did so today. Damaged ones are quarantined."""
        redis, key, worker = self._runtime.redis, self._runtime.keys.scrub, self._runtime.worker_id
        if not await ask(redis, "SET", key, worker, "NX", "PX", SCRUB_LEASE_MS):
            return
        async with renewing(redis, key, worker, SCRUB_LEASE_MS):
            referenced = await referenced_artifacts(self._runtime)
            entries = await self._runtime.in_store(
                lambda: [(kind, entry.id) for kind in KINDS for entry in self._runtime.store.entries(kind)]
            )
            used = [(kind, name) for kind, name in entries if name in referenced]
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
            fingerprint = runtime.store.fingerprint(kind, name)
            try:
                runtime.store.verify(kind, name, pace)
            except (ArtifactMissingError, ForeignFormatError, _StoppedError):
                return
            except ArtifactDamagedError as damage:
                runtime.artifact_opener.quarantine(kind, name, fingerprint, str(damage))

        try:
            await runtime.threads.scrub(read)
        except asyncio.CancelledError:
            stop.set()
            raise
