"""The artifacts of a bucket that this host holds: a directory store below the home, of a bounded size.

One process of the host fills it at a time, under a lock that ends with the process; the next one goes on from the bytes
that are there.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, get_args

from reckoner.shared.errors import StoreError
from reckoner.shared.store.directory import SCRATCH_NAME, DirectoryStore
from reckoner.shared.store.manifests import MANIFEST_NAME, READ_BYTES, ArrayFile, reason
from reckoner.shared.store.protocol import QUARANTINED, ArtifactKind

# What was used within this time is not removed to make space; what was not used within the other one always is.
IN_USE_S: Final = 600.0
UNUSED_S: Final = 2 * 86_400.0
TOUCH_EACH_S: Final = 60.0
# A download that came damaged starts over.
DOWNLOADS: Final = 2


class Cache:
    """The artifacts of one bucket in a directory of this host, of about `most_bytes`."""

    def __init__(self, directory: Path, most_bytes: int) -> None:
        self.files = DirectoryStore(directory)
        self._most_bytes = most_bytes

    def holds(self, kind: ArtifactKind, artifact_id: str) -> bool:
        """Whether an artifact is there."""
        return (self.files.root / kind / artifact_id / MANIFEST_NAME).is_file()

    def fingerprint(self, kind: ArtifactKind, artifact_id: str) -> str:
        """The fingerprint of an artifact's files, empty without them; it notes that they are in use."""
        found = self.files.fingerprint(kind, artifact_id)
        if found in ("", QUARANTINED):
            return ""
        manifest = self.files.root / kind / artifact_id / MANIFEST_NAME
        with contextlib.suppress(OSError):
            if time.time() - manifest.stat().st_mtime > TOUCH_EACH_S:
                os.utime(manifest)
        return found

    @contextmanager
    def filling(self, kind: ArtifactKind, artifact_id: str) -> Iterator[Path]:
        """Lock an artifact, and give the directory for its files; what is there after an error or a kill stays."""
        room = self.files.root / SCRATCH_NAME / f"filling-{kind}-{artifact_id}"
        with self._writing():
            lock = room.with_suffix(".lock").open("wb")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with self._writing():
                room.with_suffix(".lock").touch()
                room.mkdir(exist_ok=True)
            yield room
            shutil.rmtree(room, ignore_errors=True)

    def adopt(self, kind: ArtifactKind, artifact_id: str, directory: Path, manifest: bytes) -> None:
        """Take over the files of a published artifact."""
        with self._writing():
            (directory / MANIFEST_NAME).write_bytes(manifest)
        self.files.publish(kind, artifact_id, directory)

    def keep_manifest(self, name: str, manifest: bytes | None) -> Path:
        """A directory for a day with the manifest of a quarantined artifact, if there is one."""
        directory = self.files.root / SCRATCH_NAME / f"damaged-{name}"
        if manifest is not None:
            with self._writing(), self.files.scratch() as scratch:
                directory.mkdir(exist_ok=True)
                (scratch / MANIFEST_NAME).write_bytes(manifest)
                (scratch / MANIFEST_NAME).replace(directory / MANIFEST_NAME)
        return directory

    def make_space(self, size: int) -> None:
        """Remove artifacts, those first that were used longest ago, until so many bytes more fit in."""
        entries = [
            (entry.age_s, kind, entry.id) for kind in get_args(ArtifactKind) for entry in self.files.entries(kind)
        ]
        sizes = {(kind, name): _size(self.files.root / kind / name) for _, kind, name in entries}
        total = size + sum(sizes.values())
        for age_s, kind, name in sorted(entries, reverse=True):
            if age_s > UNUSED_S or (age_s > IN_USE_S and total > self._most_bytes):
                self.files.delete(kind, name)
                total -= sizes[kind, name]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"The cache {self.files.root} cannot be written: {reason(error)}.") from error


def download(read: Callable[[int], Iterator[bytes]], path: Path, file: ArrayFile) -> bool:
    """Write a file with what `read` gives from an offset on; the bytes that are there are kept.

    Returns:
        Whether it matches its hash; otherwise there is no file.

    Raises:
        StoreError: the file cannot be written, or `read` raised it.
    """
    try:
        for _ in range(DOWNLOADS):
            if _download(read, path, file) == file.sha256:
                return True
            path.unlink()
    except OSError as error:
        raise StoreError(f"The cache {path.parent} cannot be written: {reason(error)}.") from error
    return False


def _download(read: Callable[[int], Iterator[bytes]], path: Path, file: ArrayFile) -> str:
    digest = hashlib.sha256()
    with path.open("a+b") as target:
        target.seek(0)
        while some := target.read(READ_BYTES):
            digest.update(some)
        for data in read(target.tell()):
            digest.update(data)
            target.write(data)
    return digest.hexdigest()


def _size(directory: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(path.stat().st_size for path in directory.iterdir())
    return 0
