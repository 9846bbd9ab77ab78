"""Opens artifacts: each host verifies an artifact once before use, and quarantines damaged ones."""

import math
from collections.abc import Callable, Container
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from reckoner.shared.errors import ArtifactDamagedError, ForeignFormatError, StoreError
from reckoner.shared.store.protocol import NOT_FETCHED, QUARANTINED, ArtifactKind, Store
from reckoner.shared.store.verification import UsageLock, VerificationCache
from reckoner.workers.runtime.artifact_cache import VersionCheck

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

# How often to start over when an artifact is published again while it is being opened.
MAX_ATTEMPTS = 5
NOT_VERIFIED = "not verified"

log = structlog.get_logger()


class OpenFunction(Protocol[T_co]):
    """Opens the artifact in a directory, and verifies it on request."""

    def __call__(self, directory: Path, *, verify: bool = False) -> T_co:
        """See `open_model` for an example."""


class ArtifactOpener:
    """Opens and verifies artifacts for one worker process. It reads files, so never call it on the event loop."""

    def __init__(
        self, store: Store, cache: VerificationCache, on_invalidate: Callable[[str], None] = lambda _artifact_id: None
    ) -> None:
        self._store, self._cache = store, cache
        self._on_invalidate = on_invalidate
        self._uses = dict[tuple[ArtifactKind, str], UsageLock]()
        # Reasons by fingerprint, for damaged artifacts that could not be quarantined.
        self._damaged = dict[str, str]()

    def open(self, kind: ArtifactKind, artifact_id: str, opener: OpenFunction[T]) -> tuple[T, VersionCheck]:
        """Open a verified artifact. Returns it with its version check.

        Raises:
            ArtifactMissingError: the store does not have it.
            ArtifactDamagedError: it is damaged and was quarantined.
            StoreError: it cannot be read now.
        """
        fingerprint = partial(self._verified_fingerprint, kind, artifact_id)
        self.invalidate_after_crash(kind, artifact_id)
        for _ in range(MAX_ATTEMPTS):
            verified = self._verify(kind, artifact_id, opener)
            opened = opener(self._store.fetch(kind, artifact_id))
            if fingerprint() == verified:
                self._register_use(kind, artifact_id)
                return opened, VersionCheck(verified, fingerprint)
        raise StoreError(f"Artifact {artifact_id} keeps changing while it is being opened.")

    def verify(self, kind: ArtifactKind, artifact_id: str, opener: OpenFunction[object], since_s: float) -> None:
        """Verify an artifact unless this host verified it in the last `since_s` seconds. Raises as `open` does."""
        self._verify(kind, artifact_id, opener, since_s)

    def invalidate_after_crash(self, kind: ArtifactKind, artifact_id: str) -> None:
        """Require a new verification if a process of this host crashed with the artifact open."""
        if self._cache.was_open_in_crash(f"{kind}.{artifact_id}"):
            log.warning("artifact invalidated", kind=kind, id=artifact_id, reason="a worker died with it open")
            self.invalidate(kind, artifact_id)

    def invalidate(self, kind: ArtifactKind, artifact_id: str) -> None:
        """Require a new verification on this host, and remove the files that it made of the artifact."""
        self._on_invalidate(artifact_id)
        self._cache.discard(self._store.fingerprint(kind, artifact_id))

    def quarantine(self, kind: ArtifactKind, artifact_id: str, fingerprint: str, why: str) -> None:
        """Quarantine a damaged artifact if its files still have this fingerprint, and log it."""
        self._cache.discard(fingerprint)
        try:
            moved_to = self._store.quarantine(kind, artifact_id, fingerprint, why)
        except StoreError as error:
            self._damaged[fingerprint] = why
            log.error("damaged artifact not quarantined", kind=kind, id=artifact_id, why=why, reason=str(error))
            return
        if moved_to is not None:
            log.error("damaged artifact quarantined", kind=kind, id=artifact_id, why=why, directory=str(moved_to))

    def release(self, kind: ArtifactKind | None = None, but: Container[str] = ()) -> None:
        """Record that this process closed its artifacts of a kind (or all), `but` some."""
        for key in [key for key in self._uses if kind in (key[0], None) and key[1] not in but]:
            self._uses.pop(key).end()

    def _verified_fingerprint(self, kind: ArtifactKind, artifact_id: str) -> str:
        found = self._store.fingerprint(kind, artifact_id)
        return found if found in ("", QUARANTINED) or self._cache.contains(found) else NOT_VERIFIED

    def _is_verified(self, fingerprint: str, since_s: float) -> bool:
        if since_s == math.inf:
            return self._cache.contains(fingerprint)
        return self._cache.age_s(fingerprint) < since_s

    def _verify(
        self, kind: ArtifactKind, artifact_id: str, opener: OpenFunction[object], since_s: float = math.inf
    ) -> str:
        """Do what `verify` says. Returns the fingerprint."""
        fingerprint = self._store.fingerprint(kind, artifact_id)
        if self._is_verified(fingerprint, since_s):
            return fingerprint
        if fingerprint == NOT_FETCHED:
            # Other processes wait for it longer than for the lock.
            self._store.fetch(kind, artifact_id)
        with self._cache.lock(f"{kind}.{artifact_id}"):
            fingerprint = self._store.fingerprint(kind, artifact_id)
            # Another process may have verified it while this one waited for the lock.
            if self._is_verified(fingerprint, since_s):
                return fingerprint
            if fingerprint in self._damaged:
                raise ArtifactDamagedError(self._damaged[fingerprint])
            try:
                opener(self._store.fetch(kind, artifact_id), verify=True)
            except ForeignFormatError:
                # Another release may still use it, so it is not quarantined.
                raise
            except ArtifactDamagedError as damage:
                self.quarantine(kind, artifact_id, fingerprint, str(damage))
                raise
            # A write during the verification changed the fingerprint, so this note cannot cover it.
            self._cache.add(fingerprint)
        return fingerprint

    def _register_use(self, kind: ArtifactKind, artifact_id: str) -> None:
        if (kind, artifact_id) not in self._uses:
            use = self._cache.mark_open(f"{kind}.{artifact_id}")
            if use is not None:
                self._uses[kind, artifact_id] = use
