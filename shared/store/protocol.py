"""What an artifact store does: it keeps snapshots, models and the parts of a fit."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

ArtifactKind: TypeAlias = Literal["snapshots", "models"]
EntryKind: TypeAlias = Literal["snapshots", "models", "parts"]

# The fingerprint of an artifact that was set aside.
QUARANTINED = "set aside"


@dataclass(frozen=True, slots=True)
class StoreEntry:
    """An artifact or part in the store, and how long ago it was published or last published again, in seconds."""

    id: str
    age_s: float


class Store(Protocol):
    """What a store can do; every method may be called from several threads and processes at once."""

    def publish(self, kind: ArtifactKind, artifact_id: str, directory: Path) -> None:
        """Put the artifact in `directory` into the store, its manifest last; `directory` is given up to the store.

        An object that is there already with the same hash is success, and renews its age. What lies there damaged is
        set aside. What was set aside a moment ago is published anew when each worker of the host has seen that.

        Raises:
            StoreError: the store cannot be written, or holds another object under that name.
        """

    def fetch(self, kind: ArtifactKind, artifact_id: str) -> Path:
        """A local directory from which the artifact can be opened.

        Raises:
            ArtifactMissingError: the store does not hold it.
            ArtifactDamagedError: its manifest is not the one it was published with, or it was set aside as damaged.
        """

    def verify(self, kind: ArtifactKind, artifact_id: str, tell: Callable[[int], None] | None = None) -> None:
        """Read all files of an artifact and compare them with its manifest; `tell` hears the bytes of each.

        Raises:
            ArtifactMissingError: the store does not hold it.
            ArtifactDamagedError: one of them is gone, or is not what it was when it was published.
        """

    def fingerprint(self, kind: ArtifactKind, artifact_id: str) -> str:
        """What an artifact's files are: another text once one of them was replaced or written to.

        It is `QUARANTINED` for one that was, and empty where none can be seen. A renewal does not change it.
        """

    def quarantine(self, kind: ArtifactKind, artifact_id: str, fingerprint: str, why: str) -> Path | None:
        """Move a damaged artifact away: it is not opened any more, and can be published anew. For a week it is kept.

        Returns where its files are then; None if they were not those of that fingerprint any more.

        Raises:
            StoreError: the store cannot be written.
        """

    def quarantine_path(self, kind: ArtifactKind, artifact_id: str) -> Path:
        """Where the files of an artifact are that was set aside."""

    def quarantined(self) -> Iterator[tuple[str, str]]:
        """What was set aside, and why."""

    def unreplaced(self, kind: ArtifactKind) -> dict[str, int]:
        """The artifacts of a kind that were set aside and not published again since, by their ids; each has a number,
        which is another one when it was published again and set aside again.
        """

    def put_part(self, data: bytes) -> str:
        """Keep `data` and return its name, the SHA-256 in hexadecimal digits; one that is there renews its age.

        Raises:
            StoreError: the store cannot be written.
        """

    def get_part(self, name: str) -> bytes:
        """The bytes of a part, checked against its hash.

        Raises:
            ArtifactMissingError: the store does not hold it.
            ArtifactDamagedError: its bytes do not match its name.
        """

    def current_snapshot(self) -> str | None:
        """The id of the current snapshot; None when there is none yet."""

    def set_current_snapshot(self, snapshot_id: str) -> None:
        """Make a published snapshot the current one, in one atomic step.

        Raises:
            ArtifactMissingError: the store does not hold it.
            StoreError: the store cannot be written; the current snapshot stays.
        """

    def entries(self, kind: EntryKind) -> Iterator[StoreEntry]:
        """Everything of one kind, in the order of the ids, with what was published in part only."""

    def renew(self, kind: ArtifactKind, artifact_id: str) -> None:
        """Make an artifact as young as if it had been published again.

        Raises:
            ArtifactMissingError: the store does not hold it.
            StoreError: the store cannot be written.
        """

    def delete(self, kind: EntryKind, entry_id: str, *, idle_s: float = 0.0) -> None:
        """Delete an entry, unless it became younger than `idle_s`; what is not there is deleted already.

        Whoever has it open reads on.
        """

    def mark(self, name: str) -> bytes | None:
        """What is marked in the store under a name; None when nothing is.

        Raises:
            StoreError: it cannot be read.
        """

    def set_mark(self, name: str, data: bytes, *, replace: bool = False) -> bytes:
        """Mark something unless there is a mark of that name, or in its place; returns what is marked then.

        Raises:
            StoreError: the store cannot be written.
        """

    def remove_mark(self, name: str) -> None:
        """Remove a mark that may be there.

        Raises:
            StoreError: the store cannot be written.
        """

    def scratch(self) -> AbstractContextManager[Path]:
        """A directory to write an artifact in before it is published; gone afterwards."""

    def check_available(self) -> None:
        """Make sure that the store is there, whole as a place, and can be read and written.

        Raises:
            StoreError: it is not, as where its mount is missing.
        """
