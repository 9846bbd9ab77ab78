"""The artifact store in a directory of a file system."""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError, StoreError
from reckoner.shared.store.manifests import MANIFEST_NAME, Manifest, file_sha256, open_error, read_manifest, reason
from reckoner.shared.store.protocol import MOST_HISTORY, QUARANTINED, ArtifactKind, EntryKind, StoreEntry

CURRENT_SNAPSHOT_NAME = "current-snapshot"
SCRATCH_NAME = "scratch"
SCRATCH_TTL_S = 86_400.0
DAMAGED_NAME = "damaged"
DAMAGED_TTL_S = 7 * 86_400.0
# Workers check their open artifacts more often, so they notice a quarantine within this time.
SEEN_WITHIN_S = 0.25
# The file with the reason of a quarantine.
WHY_NAME = "why"
HISTORY_NAME = "history"
PLACES = ("snapshots", "models", "parts", SCRATCH_NAME, DAMAGED_NAME)
ENTRY_ID = re.compile("[A-Za-z0-9_-]{1,64}")
SINGULAR = {"snapshots": "snapshot", "models": "model", "parts": "part"}


class DirectoryStore:
    """A store in a directory that all workers share; see `Store`.

    Objects are put in create mode: written to the scratch directory, flushed to disk, and linked to their name, which
    fails if the name exists.
    """

    def __init__(self, root: Path, *, create: bool = True) -> None:
        self.root = root
        try:
            for name in PLACES if create else ():
                (root / name).mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            why = reason(error) if isinstance(error, OSError) else str(error)
            raise StoreError(f"The store {root} cannot be created: {why}.") from error
        self.check_available()

    def check_available(self) -> None:
        """See `Store.check_available`."""
        try:
            for name in PLACES:
                os.stat(self.root / name)
        except OSError as error:
            raise StoreError(f"The store {self.root} is unavailable: {reason(error)}.") from error
        if not os.access(self.root, os.R_OK | os.W_OK | os.X_OK):
            raise StoreError(f"The store {self.root} cannot be written: {os.strerror(errno.EACCES)}.")

    def publish(self, kind: ArtifactKind, artifact_id: str, directory: Path) -> None:
        """See `Store.publish`."""
        found, manifest = read_manifest(directory)
        if found != artifact_id:
            raise StoreError(f"The {SINGULAR[kind]} to publish is {found}, not {artifact_id}.")
        fingerprint = self.fingerprint(kind, artifact_id)
        try:
            self._publish(kind, artifact_id, directory, manifest)
        except _TakenError:
            # Damaged contents are replaced, intact ones are not.
            try:
                self.verify(kind, artifact_id)
            except (ArtifactMissingError, ArtifactDamagedError) as damage:
                self.quarantine(kind, artifact_id, fingerprint, str(damage))
                self._publish(kind, artifact_id, directory, manifest)
            else:
                raise
        except StoreError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            # A worker has just quarantined the damaged directory.
            self._publish(kind, artifact_id, directory, manifest)

    def _publish(self, kind: ArtifactKind, artifact_id: str, directory: Path, manifest: Manifest) -> None:
        target = self._place(kind, artifact_id)
        with self._writing():
            target.mkdir(exist_ok=True)
            if (target / MANIFEST_NAME).exists():
                # Renew the age first, against deletion; the arrays keep their times, which the fingerprint holds.
                os.utime(target / MANIFEST_NAME)
            for name in sorted(manifest.arrays):
                self._put(directory / f"{name}.npy", target / f"{name}.npy", manifest.arrays[name].sha256)
            _flush(target)
            self._wait_until_seen(self.quarantine_path(kind, artifact_id))
            source = directory / MANIFEST_NAME
            self._put(source, target / MANIFEST_NAME, file_sha256(source))
            _flush(target)
            _flush(target.parent)

    def _wait_until_seen(self, aside: Path) -> None:
        """Wait until all workers have noticed a quarantine, so that none mixes the old bytes with new ones."""
        try:
            set_aside_s = aside.stat().st_ctime
        except FileNotFoundError:
            return
        # The file system's clock: this process's may differ.
        with self._new_file(b"") as now:
            age_s = now.stat().st_ctime - set_aside_s
        time.sleep(min(max(SEEN_WITHIN_S - age_s, 0.0), SEEN_WITHIN_S))

    def fetch(self, kind: ArtifactKind, artifact_id: str) -> Path:
        """See `Store.fetch`."""
        directory = self._place(kind, artifact_id)
        if not (directory / MANIFEST_NAME).is_file():
            if (aside := self.quarantine_path(kind, artifact_id)).exists():
                raise ArtifactDamagedError(
                    f"The {SINGULAR[kind]} {artifact_id} was quarantined as damaged: {_why(aside)}."
                )
            raise ArtifactMissingError(
                f"The store {self.root} holds no {SINGULAR[kind]} {artifact_id}.", artifact=artifact_id
            )
        found, _ = read_manifest(directory)
        if found != artifact_id:
            raise ArtifactDamagedError(f"{MANIFEST_NAME} of {SINGULAR[kind]} {artifact_id} belongs to {found}.")
        return directory

    def manifest(self, kind: ArtifactKind, artifact_id: str) -> Manifest:
        """See `Store.manifest`."""
        return read_manifest(self.fetch(kind, artifact_id))[1]

    def verify(self, kind: ArtifactKind, artifact_id: str, on_progress: Callable[[int], None] | None = None) -> None:
        """See `Store.verify`."""
        directory = self.fetch(kind, artifact_id)
        _, manifest = read_manifest(directory)
        for name, file in manifest.arrays.items():
            path = directory / f"{name}.npy"
            try:
                whole = file_sha256(path, on_progress) == file.sha256
            except OSError as error:
                raise open_error(path, error) from error
            if not whole:
                raise ArtifactDamagedError(f"{name}.npy of {SINGULAR[kind]} {artifact_id} does not match its hash.")

    def fingerprint(self, kind: ArtifactKind, artifact_id: str) -> str:
        """See `Store.fingerprint`."""
        try:
            return _fingerprint(kind, artifact_id, self._place(kind, artifact_id))
        except OSError:
            return QUARANTINED if self.quarantine_path(kind, artifact_id).exists() else ""

    def quarantine(self, kind: ArtifactKind, artifact_id: str, fingerprint: str, why: str) -> Path | None:
        """See `Store.quarantine`."""
        place, aside = self._place(kind, artifact_id), self.quarantine_path(kind, artifact_id)
        with self._writing(), self.scratch() as scratch:
            if fingerprint == QUARANTINED or self.fingerprint(kind, artifact_id) != fingerprint or not place.exists():
                return None
            with contextlib.suppress(FileNotFoundError):
                aside.rename(scratch / artifact_id)
            place.rename(aside)
            with contextlib.suppress(OSError):
                if fingerprint and _fingerprint(kind, artifact_id, aside) != fingerprint:
                    # It was published again just now.
                    aside.rename(place)
                    return None
                (aside / WHY_NAME).write_text(why.rstrip("."), "utf-8")
        return aside

    def quarantined(self) -> Iterator[tuple[str, str]]:
        """See `Store.quarantined`."""
        for path in sorted((self.root / DAMAGED_NAME).iterdir()):
            yield path.name, _why(path)

    def unreplaced(self, kind: ArtifactKind) -> dict[str, int]:
        """See `Store.unreplaced`."""
        start, found = f"{SINGULAR[kind]}-", dict[str, int]()
        for place in (self.root / DAMAGED_NAME).glob(f"{start}*"):
            artifact_id = place.name.removeprefix(start)
            # Another process may remove an old quarantine.
            with contextlib.suppress(FileNotFoundError):
                if ENTRY_ID.fullmatch(artifact_id) and self.fingerprint(kind, artifact_id) == QUARANTINED:
                    found[artifact_id] = place.stat().st_ino
        return found

    def quarantine_path(self, kind: ArtifactKind, artifact_id: str) -> Path:
        """See `Store.quarantine_path`."""
        return self.root / DAMAGED_NAME / f"{SINGULAR[kind]}-{artifact_id}"

    def put_part(self, data: bytes) -> str:
        """See `Store.put_part`."""
        name = hashlib.sha256(data).hexdigest()
        target = self.root / "parts" / name
        with self._writing(), self._new_file(data) as file:
            if target.exists() and file_sha256(target) == name:
                os.utime(target)
            else:
                # The name is the hash of the bytes, so a damaged part can be replaced.
                file.replace(target)
                _flush(target.parent)
        return name

    def get_part(self, name: str) -> bytes:
        """See `Store.get_part`."""
        try:
            data = self._place("parts", name).read_bytes()
        except FileNotFoundError as error:
            raise ArtifactMissingError(f"The store {self.root} holds no part {name}.") from error
        except OSError as error:
            raise StoreError(f"Part {name} of the store {self.root} cannot be read: {reason(error)}.") from error
        if hashlib.sha256(data).hexdigest() != name:
            raise ArtifactDamagedError(f"Part {name} of the store {self.root} does not match its hash.")
        return data

    def current_snapshot(self) -> str | None:
        """See `Store.current_snapshot`."""
        try:
            return (self.root / CURRENT_SNAPSHOT_NAME).read_text("ascii").strip() or None
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"The current snapshot of the store {self.root} cannot be read.") from error

    def set_current_snapshot(self, snapshot_id: str) -> None:
        """See `Store.set_current_snapshot`."""
        self.fetch("snapshots", snapshot_id)
        with self._writing(), self._new_file(snapshot_id.encode() + b"\n") as file:
            file.replace(self.root / CURRENT_SNAPSHOT_NAME)
            _flush(self.root)

    def mark(self, name: str) -> bytes | None:
        """See `Store.mark`."""
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{name} of the store {self.root} cannot be read: {reason(error)}.") from error

    def set_mark(self, name: str, data: bytes, *, replace: bool = False) -> bytes:
        """See `Store.set_mark`."""
        with self._writing(), self._new_file(data) as file:
            if replace:
                file.replace(self.root / name)
            else:
                with contextlib.suppress(FileExistsError):
                    os.link(file, self.root / name)
            _flush(self.root)
        return self.mark(name) or b""

    def remove_mark(self, name: str) -> None:
        """See `Store.remove_mark`."""
        with self._writing():
            (self.root / name).unlink(missing_ok=True)
            _flush(self.root)

    def keep_history(self, name: str, data: bytes) -> None:
        """See `Store.keep_history`."""
        with self._writing(), self._new_file(data) as file:
            target = self.root / HISTORY_NAME / f"{name}.json"
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)
            for old in sorted(target.parent.iterdir())[:-MOST_HISTORY]:
                old.unlink(missing_ok=True)

    def entries(self, kind: EntryKind) -> Iterator[StoreEntry]:
        """See `Store.entries`."""
        for path in sorted((self.root / kind).iterdir()):
            # Another process may delete it now.
            with contextlib.suppress(FileNotFoundError):
                yield StoreEntry(path.name, _age_s(path))

    def renew(self, kind: ArtifactKind, artifact_id: str) -> None:
        """See `Store.renew`."""
        directory = self.fetch(kind, artifact_id)
        with self._writing():
            os.utime(directory / MANIFEST_NAME)

    def delete(self, kind: EntryKind, entry_id: str, *, idle_s: float = 0.0) -> None:
        """See `Store.delete`."""
        place = self._place(kind, entry_id)
        with self._writing(), self.scratch() as scratch, contextlib.suppress(FileNotFoundError):
            if _age_s(place) >= idle_s:
                # One rename, so that nobody sees a part of it.
                place.rename(scratch / entry_id)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """See `Store.scratch`; it is on the store's file system, so that publishing moves no bytes."""
        with self._writing():
            directory = self._fresh_place()
            directory.mkdir()
            # The file system's clock: this process's may differ.
            self._sweep_scratch(directory.stat().st_mtime)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _place(self, kind: EntryKind, entry_id: str) -> Path:
        """The path of an entry; ids come from other processes, so path traversal is refused."""
        require_entry_id(kind, entry_id)
        return self.root / kind / entry_id

    def _put(self, source: Path, target: Path, sha256: str) -> None:
        """Link `source` as `target` in create mode, or renew what is there with the same hash."""
        _flush(source)
        try:
            os.link(source, target)
        except FileExistsError as error:
            if file_sha256(target) != sha256:
                raise _TakenError(
                    f"{target.name} of {target.parent.name} exists in the store {self.root} with other contents."
                ) from error
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with self.scratch() as scratch:
                self._put(Path(shutil.copy(source, scratch)), target, sha256)
        if target.name == MANIFEST_NAME or not (target.parent / MANIFEST_NAME).exists():
            os.utime(target)

    @contextmanager
    def _new_file(self, data: bytes) -> Iterator[Path]:
        """A new file with these bytes, flushed to disk; it is removed afterwards if it was not moved."""
        path = self._fresh_place()
        try:
            path.write_bytes(data)
            _flush(path)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _fresh_place(self) -> Path:
        # tempfile's files are private, but workers may be different users.
        return self.root / SCRATCH_NAME / secrets.token_hex(8)

    def _sweep_scratch(self, now_s: float) -> None:
        """Remove scratch directories of killed processes, and old quarantines."""
        for name, life_s in ((SCRATCH_NAME, SCRATCH_TTL_S), (DAMAGED_NAME, DAMAGED_TTL_S)):
            for path in (self.root / name).iterdir():
                # Another process may sweep too, or another user may own it.
                with contextlib.suppress(OSError):
                    if now_s - path.stat().st_mtime > life_s:
                        shutil.rmtree(path) if path.is_dir() else path.unlink()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"The store {self.root} cannot be written: {reason(error)}.") from error


def require_entry_id(kind: EntryKind, entry_id: str) -> None:
    """Check an id, which comes from another process.

    Raises:
        ArtifactMissingError: no entry can have it.
    """
    if not ENTRY_ID.fullmatch(entry_id):
        raise ArtifactMissingError(f"No {SINGULAR[kind]} has the id {entry_id!r}.")


class _TakenError(StoreError):
    """The name of an object to publish exists with other contents."""


def _fingerprint(kind: ArtifactKind, artifact_id: str, directory: Path) -> str:
    """The fingerprint of the files in a directory; see `Store.fingerprint`."""
    digest = hashlib.sha256(f"{kind} {artifact_id}".encode())
    digest.update((directory / MANIFEST_NAME).read_bytes())
    with os.scandir(directory) as files:
        for file in sorted(files, key=lambda file: file.name):
            found = file.stat()
            # A renewal changes the manifest's times.
            times = () if file.name == MANIFEST_NAME else (found.st_mtime_ns, found.st_ctime_ns)
            identity = (file.name, found.st_dev, found.st_ino, found.st_size, *times)
            digest.update(repr(identity).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _why(aside: Path) -> str:
    try:
        return (aside / WHY_NAME).read_text("utf-8", "replace")
    except OSError:
        return "the reason was not recorded"


def _age_s(path: Path) -> float:
    """Seconds since an entry, or the newest of its objects, was written or renewed."""
    objects = list(path.iterdir()) if path.is_dir() else []
    return max(0.0, time.time() - max(place.stat().st_mtime for place in objects or [path]))


def _flush(path: Path) -> None:
    """Flush a file or directory to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
