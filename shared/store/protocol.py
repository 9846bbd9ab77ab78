"""The protocol of artifact stores, which keep snapshots, models and the parts of a fit."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from reckoner.shared.store.manifests import Manifest

ArtifactKind: TypeAlias = Literal["snapshots", "models"]
EntryKind: TypeAlias = Literal["snapshots", "models", "parts"]

MOST_HISTORY = 400
# The fingerprint of a quarantined artifact.
QUARANTINED = "quarantined"
# The fingerprint of an artifact in a bucket that this host has not fetched.
NOT_FETCHED = "not fetched"
# The age at which an unreferenced artifact is deleted.
GRACE_S = 86_400.0


@dataclass(frozen=True, slots=True)
class StoreEntry:
    """An artifact or part in the store, and the seconds since its last publication."""

    id: str
    age_s: float


class Store(Protocol):
    """A store; all methods are safe to call from several threads and processes at once."""

    def publish(self, kind: ArtifactKind, artifact_id: str, directory: Path) -> None:
        """Publish the artifact in `directory`, its manifest last; `directory` belongs to the store then.

        An existing object with the same hash is success, and renews its age. A damaged one is quarantined. After a
        quarantine, publishing waits until all workers of the host have noticed it.

        Raises:
            StoreError: the store is not writable, or holds another object under that name.
        """

    def fetch(self, kind: ArtifactKind, artifact_id: str) -> Path:
        """Return a local directory with the artifact.

        Raises:
            ArtifactMissingError: the store does not hold it.
            ArtifactDamagedError: its manifest is not the published one, or it was quarantined.
        """

    def manifest(self, kind: ArtifactKind, artifact_id: str) -> Manifest:
        """Return the manifest of an artifact without its files. Raises as `fetch` does."""

    def verify(self, kind: ArtifactKind, artifact_id: str, on_progress: Callable[[int], None] | None = None) -> None:
        """Check the hashes of all files of an artifact; `on_progress` gets the number of bytes of each read.

        Raises:
            ArtifactMissingError: the store does not hold it.
            ArtifactDamagedError: a file is missing or has changed.
        """

    def fingerprint(self, kind: ArtifactKind, artifact_id: str) -> str:
        """The fingerprint of an artifact's files, which changes when one is replaced or written to, not on a renewal.

        It is `QUARANTINED` for a quarantined artifact, `NOT_FETCHED` for one that `fetch` would bring to this host, and
        empty without files.
        """

    def quarantine(self, kind: ArtifactKind, artifact_id: str, fingerprint: str, why: str) -> Path | None:
        """Quarantine a damaged artifact for a week: it is not opened any more, and can be published again.

        Returns the path of its files; None if the fingerprint has changed.

        Raises:
            StoreError: the store is not writable.
        """

    def quarantine_path(self, kind: ArtifactKind, artifact_id: str) -> Path:
        """The path of a quarantined artifact's files."""

    def quarantined(self) -> Iterator[tuple[str, str]]:
        """Yield all quarantined artifacts with their reasons."""

    def unreplaced(self, kind: ArtifactKind) -> dict[str, int]:
        """The ids of quarantined artifacts that were not published again, with a number for each quarantine."""

    def put_part(self, data: bytes) -> str:
        """Store `data` and return its name, the SHA-256 in hexadecimal digits; an existing part is renewed.

        Raises:
            StoreError: the store is not writable.
        """

    def get_part(self, name: str) -> bytes:
        """Return the bytes of a part, checked against its hash.

        Raises:
            ArtifactMissingError: the store does not hold it.
            ArtifactDamagedError: its bytes do not match its name.
        """

    def current_snapshot(self) -> str | None:
        """The id of the current snapshot, None if there is none yet."""

    def set_current_snapshot(self, snapshot_id: str) -> None:
        """Make a published snapshot the current one, in one atomic step.

        Raises:
            ArtifactMissingError: the store does not hold it.
            StoreError: the store is not writable; the current snapshot stays.
        """

    def entries(self, kind: EntryKind) -> Iterator[StoreEntry]:
        """Yield all entries of one kind by id, even partly published ones."""

    def renew(self, kind: ArtifactKind, artifact_id: str) -> None:
        """Renew the age of an artifact.

        Raises:
            ArtifactMissingError: the store does not hold it.
            StoreError: the store is not writable.
        """

    def delete(self, kind: EntryKind, entry_id: str, *, idle_s: float = 0.0) -> None:
        """Delete an entry, unless it is younger than `idle_s` or missing; processes that have it open keep it."""

    def mark(self, name: str) -> bytes | None:
        """Return the mark of a name, None if there is none.

        Raises:
            StoreError: it is unreadable.
        """

    def set_mark(self, name: str, data: bytes, *, replace: bool = False) -> bytes:
        """Set a mark, unless one exists and `replace` is False; return the present mark.

        Raises:
            StoreError: the store is not writable.
        """

    def remove_mark(self, name: str) -> None:
        """Remove a mark, if it exists.

        Raises:
            StoreError: the store is not writable.
        """

    def keep_history(self, name: str, data: bytes) -> None:
        """Keep the JSON of a history entry, as in `imports/NAME`; of more than `MOST_HISTORY` the first are dropped.

        Raises:
            StoreError: the store is not writable.
        """

    def scratch(self) -> AbstractContextManager[Path]:
        """A temporary directory for writing an artifact before it is published."""

    def check_available(self) -> None:
        """Check that the store is complete, readable and writable.

        Raises:
            StoreError: it is not, for example since its mount is missing.
        """
