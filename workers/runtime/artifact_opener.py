"""Opens artifacts: each host verifies an artifact once before use, and sets damaged ones aside."""

import math
from collections.abc import Container
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from reckoner.shared.errors import ArtifactDamagedError, ForeignFormatError, StoreError
from reckoner.shared.store.protocol import SET_ASIDE, ArtifactKind, Store
from reckoner.shared.store.verified import Use, Verified
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

    def __init__(self, store: Store, verified: VerificationCache) -> None:
        self._store, self._verified = store, verified
        self._uses = dict[tuple[ArtifactKind, str], Use]()
        # Reasons by seal, for damaged artifacts that could not be set aside.
        self._damaged = dict[str, str]()

    def open(self, kind: ArtifactKind, artifact_id: str, opener: OpenFunction[T]) -> tuple[T, VersionCheck]:
        """Open a verified artifact. Returns it with its version check.

        Raises:
            ArtifactMissingError: the store does not have it.
            ArtifactDamagedError: it is damaged and was set aside.
            StoreError: it cannot be read now.
        """
        seal = partial(self._verified_seal, kind, artifact_id)
        self._invalidate_after_death(kind, artifact_id)
        for _ in range(MAX_ATTEMPTS):
            verified = self._verify(kind, artifact_id, opener)
            opened = opener(self._store.fetch(kind, artifact_id))
            if seal() == verified:
                self._register_use(kind, artifact_id)
                return opened, VersionCheck(verified, seal)
        raise StoreError(f"Artifact {artifact_id} keeps changing while it is being opened.")

    def verify(self, kind: ArtifactKind, artifact_id: str, opener: OpenFunction[object], since_s: float) -> None:
        """Verify an artifact unless this host verified it in the last `since_s` seconds. Raises as `open` does."""
        self._verify(kind, artifact_id, opener, since_s)

    def invalidate(self, kind: ArtifactKind, artifact_id: str, since_s: float = 0.0) -> bool:
        """Require a new verification on this host. False if it was verified in the last `since_s` seconds."""
        seal = self._store.seal(kind, artifact_id)
        if self._verified.age_s(seal) < since_s:
            return False
        self._verified.discard(fingerprint)
        return True

    def set_aside(self, kind: ArtifactKind, artifact_id: str, seal: str, why: str) -> None:
        """Set a damaged artifact aside if its files still have this seal, and log it."""
        self._verified.forget(seal)
        try:
            aside = self._store.quarantine(kind, artifact_id, fingerprint, why)
        except StoreError as error:
            self._damaged[seal] = why
            log.error("damaged artifact not set aside", kind=kind, id=artifact_id, why=why, reason=str(error))
            return
        if aside is not None:
            log.error("damaged artifact set aside", kind=kind, id=artifact_id, why=why, directory=str(aside))

    def release(self, kind: ArtifactKind | None = None, but: Container[str] = ()) -> None:
        """Record that this process closed its artifacts of a kind (or all), `but` some."""
        for key in [key for key in self._uses if kind in (key[0], None) and key[1] not in but]:
            self._uses.pop(key).end()

    def _verified_fingerprint(self, kind: ArtifactKind, artifact_id: str) -> str:
        found = self._store.fingerprint(kind, artifact_id)
        return found if found in ("", QUARANTINED) or self._verified.contains(found) else NOT_VERIFIED

    def _invalidate_after_death(self, kind: ArtifactKind, artifact_id: str) -> None:
        if self._verified.was_open_at_a_death(f"{kind}.{artifact_id}"):
            log.warning("artifact invalidated", kind=kind, id=artifact_id, reason="a worker died with it open")
            self.invalidate(kind, artifact_id)

    def _is_verified(self, seal: str, since_s: float) -> bool:
        return self._verified.remembers(seal) if since_s == math.inf else self._verified.age_s(seal) < since_s

    def _verify(
        self, kind: ArtifactKind, artifact_id: str, opener: OpenFunction[object], since_s: float = math.inf
    ) -> str:
        """Do what `verify` says. Returns the seal."""
        seal = self._store.seal(kind, artifact_id)
        if self._is_verified(seal, since_s):
            return seal
        with self._verified.alone(f"{kind}.{artifact_id}"):
            seal = self._store.seal(kind, artifact_id)
            # Another process may have verified it while this one waited for the lock.
            if self._is_verified(seal, since_s):
                return seal
            if seal in self._damaged:
                raise ArtifactDamagedError(self._damaged[seal])
            try:
                opener(self._store.fetch(kind, artifact_id), verify=True)
            except ForeignFormatError:
                # Another release may still use it, so it is not set aside.
                raise
            except ArtifactDamagedError as damage:
                self.quarantine(kind, artifact_id, fingerprint, str(damage))
                raise
            # A write during the verification changed the seal, so this note cannot cover it.
            self._verified.note(seal)
        return seal

    def _register_use(self, kind: ArtifactKind, artifact_id: str) -> None:
        if (kind, artifact_id) not in self._uses:
            use = self._verified.mark_open(f"{kind}.{artifact_id}")
            if use is not None:
                self._uses[kind, artifact_id] = use
