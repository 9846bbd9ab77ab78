"""Layouts of models in files: each is made once on a host and mapped read-only by all its worker processes.

Locks say who uses a file: each process that maps it holds a shared lock, its maker an exclusive one. The operating
system releases the locks of a dead process. A file that nobody has locked is removed. Each boot has a directory of its
own, since a home may be on a network, where the removal of a mapped file ends the other host's process.
"""

import fcntl
import hashlib
import mmap
import os
import shutil
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Final, NamedTuple

import numpy as np
import structlog

from reckoner.shared.store.verification import VerificationCache, host_id
from reckoner.workers.kernels.compiled import sources_hash
from reckoner.workers.kernels.scoring.candidates import DTYPES, Candidates
from reckoner.workers.runtime.artifact_cache import VersionCheck

log = structlog.get_logger()

# The head of a file: a magic number, the SHA-256 of all that follows, and the length of each array as int64.
MAGIC: Final = b"RCKLAY01"
SIZES_AT, ARRAYS_AT, ALIGNED = 64, 128, 64
NEW = ".new"
# It is touched by `remove_unused`, so that other hosts see that the directory is in use.
MARKER = "in-use"
UNUSED_S = 86_400.0


class Layout(NamedTuple):
    """A range of a model laid out for scoring, with the check of its file; None if it is in this process's memory."""

    candidates: Candidates
    check: VersionCheck | None = None


class LayoutFiles:
    """The files of one host below a directory. Its methods read files, so never call them on the event loop."""

    def __init__(self, directory: Path, verified: VerificationCache) -> None:
        self._root, self._host, self._verified = directory, directory / host_id(), verified

    def name(self, model_id: str, version: str, first: int, last: int) -> str:
        """The name of the file for a range of a model whose files have the fingerprint `version`."""
        # Another release may lay candidates out in another way.
        kind = hashlib.sha256(f"{version} {sources_hash()}".encode()).hexdigest()[:16]
        return f"{model_id}.{kind}.{first}-{last}"

    def open(self, name: str) -> Layout | None:
        """Map a layout; None if there is none. This host verifies each file once, and removes a damaged one."""
        path = self._host / name
        try:
            with path.open("rb") as file:
                # The map keeps a duplicate of the descriptor, and so the lock.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                found = os.fstat(file.fileno())
                if not found.st_nlink:
                    # Another process has just removed it.
                    return None
                # An empty file cannot be mapped.
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if found.st_size else b""
        except OSError:
            return None
        identity = _identity(found)
        candidates = _read(memoryview(mapped), verify=not self._verified.contains(identity))
        if candidates is None:
            log.warning("damaged layout removed", file=str(path))
            with suppress(OSError):
                path.unlink()
            return None
        # A write during the verification changed the identity, so this note cannot cover it.
        self._verified.add(identity)
        return Layout(candidates, VersionCheck(identity, partial(_identity_of, path)))

    def open_or_begin(self, name: str) -> Layout | IO[bytes] | None:
        """Map a layout, or begin it; see `open` and `begin`."""
        if (found := self.open(name)) is not None:
            return found
        file = self.begin(name)
        # Another process may have made it meanwhile.
        if file is not None and (found := self.open(name)) is not None:
            with file:
                (self._host / f"{name}{NEW}").unlink(missing_ok=True)
            return found
        return file

    def begin(self, name: str) -> IO[bytes] | None:
        """Begin a layout: a new file with an exclusive lock; None while another process makes it.

        Raises:
            OSError: the directory cannot be written, or has no locks.
        """
        self._host.mkdir(parents=True, exist_ok=True)
        # A dead process may have left the file: it is overwritten.
        path = self._host / f"{name}{NEW}"
        # Without a buffer: on a full disk, closing the file would fail too.
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another process may have removed it or published it just now.
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except (BlockingIOError, FileNotFoundError):
            pass
        except OSError:
            file.close()
            raise
        file.close()
        return None

    def publish(self, file: IO[bytes], name: str, candidates: Candidates) -> Layout | None:
        """Write a layout into a file that was begun, give it its name, and map it; None if another process removed it.

        Raises:
            OSError: it cannot be written, as on a full disk.
        """
        _write(file, candidates)
        # First the name: turning the lock into a shared one releases it, and another process could begin this file.
        (self._host / f"{name}{NEW}").rename(self._host / name)
        fcntl.flock(file, fcntl.LOCK_SH)
        return self.open(name)

    def remove(self, model_id: str) -> None:
        """Remove all layouts of a model. Processes that map them keep them."""
        for path in self._host.glob(f"{model_id}.*"):
            if path.suffix != NEW:
                path.unlink(missing_ok=True)

    def remove_unused(self, *, but_siblings: bool = False) -> None:
        """Remove the layouts that no process of this host uses, and the directories of earlier boots.

        With `but_siblings`, keep all ranges of a model that is in use: after a restart they are mapped one by one.
        """
        with suppress(OSError):
            marker = self._host / MARKER
            marker.touch()
            paths = [path for path in self._host.iterdir() if path != marker]
            in_use = {_model_of(path) for path in paths if _is_locked(path)} if but_siblings else set()
            for path in paths:
                if _model_of(path) not in in_use:
                    _remove_if_unlocked(path)
            # The file system's clock: this process's may differ.
            now_s = marker.stat().st_mtime
            for other in self._root.iterdir():
                if other != self._host and now_s - _last_use_s(other) > UNUSED_S:
                    shutil.rmtree(other, ignore_errors=True)


def _write(file: IO[bytes], candidates: Candidates) -> None:
    """Write the head and the arrays of a layout."""
    sizes = np.array([array.size for array in candidates], np.int64).tobytes()
    parts = [memoryview(sizes.ljust(ARRAYS_AT - SIZES_AT, b"\0"))]
    for array in candidates:
        parts += [array.view(np.uint8).data, memoryview(bytes(-array.nbytes % ALIGNED))]
    digest = hashlib.sha256()
    file.truncate(0)
    file.seek(SIZES_AT)
    for part in parts:
        digest.update(part)
        _write_all(file, part)
    file.seek(0)
    _write_all(file, memoryview(MAGIC + digest.digest()))


def _write_all(file: IO[bytes], data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]


def _read(data: memoryview, *, verify: bool) -> Candidates | None:
    """The arrays of a layout; None if they do not fill the file, or, with `verify`, do not match the hash."""
    if len(data) < ARRAYS_AT or bytes(data[: len(MAGIC)]) != MAGIC:
        return None
    if verify and hashlib.sha256(data[SIZES_AT:]).digest() != bytes(data[len(MAGIC) : len(MAGIC) + 32]):
        return None
    at, arrays = ARRAYS_AT, []
    for dtype, size in zip(DTYPES, np.frombuffer(data, np.int64, len(DTYPES), SIZES_AT).tolist(), strict=True):
        length = size * np.dtype(dtype).itemsize
        if size < 0 or at + length > len(data):
            return None
        arrays.append(np.frombuffer(data[at : at + length], dtype))
        at += length + -length % ALIGNED
    return Candidates(*arrays) if at == len(data) else None


def _identity(found: os.stat_result) -> str:
    """What changes when a file is replaced or written to."""
    identity = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    return hashlib.sha256(repr(identity).encode()).hexdigest()


def _identity_of(path: Path) -> str:
    """The identity of a file; empty for a removed one, whose mapped bytes stay valid."""
    try:
        return _identity(path.stat())
    except OSError:
        return ""


def _model_of(path: Path) -> str:
    """The part of a file's name for its model and version."""
    return path.name.removesuffix(NEW).rpartition(".")[0]


def _is_locked(path: Path) -> bool:
    try:
        # Opened for writing, since NFS has no other exclusive locks.
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def _remove_if_unlocked(path: Path) -> None:
    with suppress(OSError), path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


def _last_use_s(directory: Path) -> float:
    for path in (directory / MARKER, directory):
        with suppress(OSError):
            return path.stat().st_mtime
    return time.time()
