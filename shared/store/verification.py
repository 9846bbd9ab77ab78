"""The artifacts that this host has verified, by the fingerprints of their files, so that each is verified once.

A stamp is an empty file in the home, named by the fingerprint, in a directory for each boot of each host. A stamp of
another host or an earlier boot proves nothing about the bytes that are in this host's page cache now.
"""

import fcntl
import math
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from reckoner.shared.store.protocol import NOT_FETCHED, QUARANTINED

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
STAMP_TTL_S = 30 * 86_400.0
# A stalled process blocks others no longer.
LOCK_TIMEOUT_S = 30.0
PAUSE_S = 0.05


class VerificationCache:
    """The stamps of one host in a directory, or of this process if the directory is not writable."""

    def __init__(self, directory: Path) -> None:
        self._host = directory / host_id()
        self._own = dict[str, float]()

    def contains(self, fingerprint: str) -> bool:
        """Whether the artifact of this fingerprint was verified; False for an empty fingerprint."""
        return bool(fingerprint) and (fingerprint in self._own or (self._host / fingerprint).exists())

    def age_s(self, fingerprint: str) -> float:
        """Seconds since the verification by the file system's clock; infinite without one."""
        if fingerprint in self._own:
            return time.monotonic() - self._own[fingerprint]
        try:
            now = self._host / "now"
            now.touch()
            return now.stat().st_mtime - (self._host / fingerprint).stat().st_mtime
        except OSError:
            return math.inf

    def add(self, fingerprint: str) -> None:
        """Note that an artifact was verified, if this host has its files."""
        if fingerprint in ("", NOT_FETCHED, QUARANTINED):
            return
        try:
            self._host.mkdir(parents=True, exist_ok=True)
            (self._host / fingerprint).touch()
            # The file system's clock: this process's may differ.
            now_s = (self._host / fingerprint).stat().st_mtime
        except OSError:
            self._own[fingerprint] = time.monotonic()
            return
        self._sweep(now_s)

    def discard(self, fingerprint: str) -> None:
        """Remove a stamp: all processes of this host verify the artifact again."""
        self._own.pop(fingerprint, None)
        with suppress(OSError):
            (self._host / fingerprint).unlink()

    @contextmanager
    def lock(self, name: str, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
        """Lock the verification of an artifact on this host, without the lock after a timeout."""
        try:
            self._host.mkdir(parents=True, exist_ok=True)
            file: IO[bytes] | None = (self._host / f"{name}.lock").open("wb")
        except OSError:
            file = None
        if file is None:
            yield
            return
        with file:
            until = time.monotonic() + timeout_s
            while _is_locked(file) and time.monotonic() < until:
                time.sleep(PAUSE_S)
            yield

    def mark_open(self, name: str) -> "UsageLock | None":
        """Mark an artifact as open in this process."""
        use = self._host / f"{name}.{os.getpid()}.{secrets.token_hex(8)}.use"
        try:
            self._host.mkdir(parents=True, exist_ok=True)
            # Lock the file before it gets its name: an unlocked one belongs to a dead process.
            new = use.with_suffix(".new")
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            new.rename(use)
        except OSError:
            UsageLock(new, descriptor).end()
            return None
        return UsageLock(use, descriptor)

    def was_open_in_crash(self, name: str) -> bool:
        """Whether a process died with the artifact open, perhaps because of it; True only once for each death."""
        return self._remove_dead_marks(f"{name}.*.use")

    def excuse_death(self, pid: int) -> None:
        """Require no verification after the death of a process: no artifact was the cause."""
        self._remove_dead_marks(f"*.{pid}.*.use")

    def _remove_dead_marks(self, pattern: str) -> bool:
        """Remove the marks of dead processes. Returns whether there were any."""
        found = False
        for use in self._host.glob(pattern):
            with suppress(OSError), use.open("r+b") as file:
                # Opened for writing, since NFS has no other exclusive locks.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                use.unlink()
                found = True
        return found

    def _sweep(self, now_s: float) -> None:
        """Remove old stamps of all boots and hosts."""
        for path in self._host.parent.glob("*/*"):
            with suppress(OSError):
                in_use = path.suffix == ".use" and path.parent == self._host
                if not in_use and now_s - path.stat().st_mtime > STAMP_TTL_S:
                    path.unlink()


@dataclass(frozen=True)
class UsageLock:
    """Marks an artifact as open: a file that is locked while the process lives."""

    path: Path
    descriptor: int

    def end(self) -> None:
        """Remove the mark."""
        with suppress(OSError):
            self.path.unlink()
        os.close(self.descriptor)


def _is_locked(file: IO[bytes]) -> bool:
    """Whether another process holds the lock; otherwise take it, if the file system has locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def verification_cache(home: Path) -> VerificationCache:
    """The stamps of this host in a home."""
    return VerificationCache(home / "verified")


def host_id() -> str:
    """A name for this boot of this host."""
    try:
        return BOOT_ID.read_text("ascii").strip()
    except OSError:
        return socket.gethostname()
