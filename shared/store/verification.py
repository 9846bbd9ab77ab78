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

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
STAMP_TTL_S = 30 * 86_400.0
# A process that verifies may stand still, and holds up no other one for longer.
PATIENCE_S = 30.0
PAUSE_S = 0.05


class VerificationCache:
    """The stamps of one host, below a directory; where that cannot be written, those of one process."""

    def __init__(self, directory: Path) -> None:
        self._host = directory / _host_id()
        self._own = dict[str, float]()

    def contains(self, fingerprint: str) -> bool:
        """Whether the artifact whose files have this fingerprint was verified; never where no files were seen."""
        return bool(fingerprint) and (fingerprint in self._own or (self._host / fingerprint).exists())

    def age_s(self, fingerprint: str) -> float:
        """How long ago it was verified, in seconds by the clock of the files; infinite where it was not."""
        if fingerprint in self._own:
            return time.monotonic() - self._own[fingerprint]
        try:
            now = self._host / "now"
            now.touch()
            return now.stat().st_mtime - (self._host / fingerprint).stat().st_mtime
        except OSError:
            return math.inf

    def add(self, fingerprint: str) -> None:
        """Put down that it was."""
        if not fingerprint:
            return
        try:
            self._host.mkdir(parents=True, exist_ok=True)
            (self._host / fingerprint).touch()
            # By the clock of the files: that of a process may be wrong.
            now_s = (self._host / fingerprint).stat().st_mtime
        except OSError:
            self._own[fingerprint] = time.monotonic()
            return
        self._sweep(now_s)

    def discard(self, fingerprint: str) -> None:
        """Take that back: every process of the host verifies it anew before it goes on."""
        self._own.pop(fingerprint, None)
        with suppress(OSError):
            (self._host / fingerprint).unlink()

    @contextmanager
    def lock(self, name: str, patience_s: float = PATIENCE_S) -> Iterator[None]:
        """Wait until no other process of this host verifies the artifact of that name, but not for ever."""
        try:
            self._host.mkdir(parents=True, exist_ok=True)
            file: IO[bytes] | None = (self._host / f"{name}.lock").open("wb")
        except OSError:
            file = None
        if file is None:
            yield
            return
        with file:
            until = time.monotonic() + patience_s
            while _is_locked(file) and time.monotonic() < until:
                time.sleep(PAUSE_S)
            yield

    def mark_open(self, name: str) -> "UsageLock | None":
        """Put down that this process has the artifact of that name open, for as long as it lives."""
        use = self._host / f"{name}.{secrets.token_hex(8)}.use"
        try:
            self._host.mkdir(parents=True, exist_ok=True)
            # Locked before it has its name, so that nobody takes it for that of a process that has died.
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
        """Whether a process has died that had it open: it may have died of it. That is told once."""
        died = False
        for use in self._host.glob(f"{name}.*.use"):
            with suppress(OSError), use.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                use.unlink()
                died = True
        return died

    def _sweep(self, now_s: float) -> None:
        """Remove what was noted long ago, also of boots and hosts that are no more."""
        for path in self._host.parent.glob("*/*"):
            with suppress(OSError):
                in_use = path.suffix == ".use" and path.parent == self._host
                if not in_use and now_s - path.stat().st_mtime > STAMP_TTL_S:
                    path.unlink()


@dataclass(frozen=True)
class UsageLock:
    """The sign that a process has an artifact open: a file that is locked while the process lives."""

    path: Path
    descriptor: int

    def end(self) -> None:
        """Let go of the artifact in good order."""
        with suppress(OSError):
            self.path.unlink()
        os.close(self.descriptor)


def _is_locked(file: IO[bytes]) -> bool:
    """Whether another process has the file locked; if not it is locked from now on, where the file system has locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _host_id() -> str:
    try:
        return BOOT_ID.read_text("ascii").strip()
    except OSError:
        return socket.gethostname()
