"""Opens artifacts so that nobody computes with a damaged one: verified once by each host, set aside when damaged."""

import math
from collections.abc import Container
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from reckoner.shared.errors import ArtifactDamagedError, ForeignFormatError, StoreError
from reckoner.shared.store.protocol import QUARANTINED, ArtifactKind, Store
from reckoner.shared.store.verification import UsageLock, VerificationCache
from reckoner.workers.runtime.artifact_cache import Watch

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

# An artifact that is published anew again and again while it is opened is given up.
MAX_LOOKS = 5
NOT_VERIFIED = "not verified"

log = structlog.get_logger()


class Opener(Protocol[T_co]):
    """Opens the artifact in a directory, and verifies it where that is asked for."""

    def __call__(self, directory: Path, *, verify: bool = False) -> T_co:
        """See `open_model`, for example."""


class Opening:
    """How one worker process opens the artifacts of a store. It reads files: not on the event loop."""

    def __init__(self, store: Store, verified: VerificationCache) -> None:
        self._store, self._verified = store, verified
        self._uses = dict[tuple[ArtifactKind, str], UsageLock]()
        # Seals of what is damaged and could not be set aside, and why.
        self._damaged = dict[str, str]()

    def open(self, kind: ArtifactKind, artifact_id: str, opener: Opener[T]) -> tuple[T, Watch]:
        """An artifact that this host has verified, and what tells whether it is still the one in the store.

        Raises:
            ArtifactMissingError: the store does not hold it.
            ArtifactDamagedError: it is damaged, and was set aside.
            StoreError: it cannot be read for now.
        """
        fingerprint = partial(self._verified_fingerprint, kind, artifact_id)
        self._suspect(kind, artifact_id)
        for _ in range(MAX_LOOKS):
            verified = self._verify(kind, artifact_id, opener)
            opened = opener(self._store.fetch(kind, artifact_id))
            if fingerprint() == verified:
                self._note_use(kind, artifact_id)
                return opened, Watch(verified, fingerprint)
        raise StoreError(f"Artifact {artifact_id} changes while it is opened.")

    def verify(self, kind: ArtifactKind, artifact_id: str, opener: Opener[object], since_s: float) -> None:
        """Verify an artifact unless this host has done so within the last `since_s` seconds; whoever has it open goes
        on meanwhile. See `open` for what it raises.
        """
        self._verify(kind, artifact_id, opener, since_s)

    def distrust(self, kind: ArtifactKind, artifact_id: str, since_s: float = 0.0) -> bool:
        """Have every process of this host verify an artifact anew before it goes on with it; False when one of them has
        done so within the last `since_s` seconds.
        """
        fingerprint = self._store.fingerprint(kind, artifact_id)
        if self._verified.age_s(fingerprint) < since_s:
            return False
        self._verified.discard(fingerprint)
        return True

    def quarantine(self, kind: ArtifactKind, artifact_id: str, fingerprint: str, why: str) -> None:
        """Set a damaged artifact aside whose files had this fingerprint, and tell of it."""
        self._verified.discard(fingerprint)
        try:
            aside = self._store.quarantine(kind, artifact_id, fingerprint, why)
        except StoreError as error:
            self._damaged[fingerprint] = why
            log.error("artifact damaged and not set aside", kind=kind, id=artifact_id, why=why, reason=str(error))
            return
        if aside is not None:
            log.error("artifact damaged and set aside", kind=kind, id=artifact_id, why=why, directory=str(aside))

    def let_go(self, kind: ArtifactKind | None = None, but: Container[str] = ()) -> None:
        """Put down that this process has let go in good order of the artifacts of a kind, or of all, `but` some."""
        for key in [key for key in self._uses if kind in (key[0], None) and key[1] not in but]:
            self._uses.pop(key).end()

    def _verified_fingerprint(self, kind: ArtifactKind, artifact_id: str) -> str:
        found = self._store.fingerprint(kind, artifact_id)
        return found if found in ("", QUARANTINED) or self._verified.contains(found) else NOT_VERIFIED

    def _suspect(self, kind: ArtifactKind, artifact_id: str) -> None:
        if self._verified.was_open_in_crash(f"{kind}.{artifact_id}"):
            log.warning("artifact verified anew after a worker that had it open has died", kind=kind, id=artifact_id)
            self.distrust(kind, artifact_id)

    def _knows(self, fingerprint: str, since_s: float) -> bool:
        return (
            self._verified.contains(fingerprint) if since_s == math.inf else self._verified.age_s(fingerprint) < since_s
        )

    def _verify(self, kind: ArtifactKind, artifact_id: str, opener: Opener[object], since_s: float = math.inf) -> str:
        """Verify an artifact unless this host has within the last `since_s` seconds; return its fingerprint."""
        fingerprint = self._store.fingerprint(kind, artifact_id)
        if self._knows(fingerprint, since_s):
            return fingerprint
        with self._verified.lock(f"{kind}.{artifact_id}"):
            fingerprint = self._store.fingerprint(kind, artifact_id)
            # Another process may have done it meanwhile.
            if self._knows(fingerprint, since_s):
                return fingerprint
            if fingerprint in self._damaged:
                raise ArtifactDamagedError(self._damaged[fingerprint])
            try:
                opener(self._store.fetch(kind, artifact_id), verify=True)
            except ForeignFormatError:
                # Another release may have made it, and use it.
                raise
            except ArtifactDamagedError as damage:
                self.quarantine(kind, artifact_id, fingerprint, str(damage))
                raise
            # What was written to meanwhile has another fingerprint.
            self._verified.add(fingerprint)
        return fingerprint

    def _note_use(self, kind: ArtifactKind, artifact_id: str) -> None:
        if (kind, artifact_id) not in self._uses:
            use = self._verified.mark_open(f"{kind}.{artifact_id}")
            if use is not None:
                self._uses[kind, artifact_id] = use
