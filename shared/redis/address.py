"""The address of a home's embedded server: its lock, its address file, and its socket."""

import contextlib
import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import msgspec

from reckoner.shared.errors import EmbeddedServerError

# The maximum length of a Unix socket's path, without the closing zero byte.
SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107
SOCKET_NAME = "valkey.sock"
# `find_embedded` holds the lock for an instant.
LOCK_WAIT_S = 2.0
# A stopping server, or one whose launcher was killed, may take long on a busy machine.
ENDING_WAIT_S = 60.0
POLL_S = 0.005


class Address(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The address file: redis-py's URL, the server's process id (0 before its start), the launcher's, the state."""

    url: str
    pid: int
    launcher: int
    state: Literal["starting", "ready"]

    @property
    def socket_path(self) -> Path:
        """The path of the Unix socket."""
        return Path(unquote(urlsplit(self.url).path))


def new_socket_path() -> Path:
    """Make a private directory with a short path, and return the path of a socket in it."""
    for place in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"):  # noqa: S108
        size = len(os.fsencode(os.path.join(place, "reckoner-12345678", SOCKET_NAME)))
        # A path that is not UTF-8 does not fit into a URL.
        fits = os.path.isabs(place) and place.isprintable() and size <= SOCKET_PATH_BYTES
        if fits and os.access(place, os.W_OK | os.X_OK):
            return Path(tempfile.mkdtemp(prefix="reckoner-", dir=place)) / SOCKET_NAME
    raise EmbeddedServerError(
        "All directories are too long for the path of a socket. Set XDG_RUNTIME_DIR to a shorter one."
    )


def remove_socket(socket_path: Path) -> None:
    """Remove a socket and its directory, if they exist."""
    if socket_path.name == SOCKET_NAME:
        with contextlib.suppress(OSError):
            socket_path.unlink(missing_ok=True)
            socket_path.parent.rmdir()


def address_path(directory: Path) -> Path:
    """The path of the address file in `directory`."""
    return directory / "address.json"


def read_address(directory: Path) -> Address | None:
    """Read the address file, which may be stale; None if there is none, or it is unreadable."""
    try:
        return msgspec.json.decode(address_path(directory).read_bytes(), type=Address)
    except (OSError, msgspec.DecodeError):
        return None


def sweep_stale(directory: Path) -> None:
    """Remove the files of a dead server; the caller holds the lock."""
    if (address := read_address(directory)) is not None:
        remove_socket(address.socket_path)
    address_path(directory).unlink(missing_ok=True)


@contextlib.contextmanager
def unlocked(directory: Path) -> Iterator[bool]:
    """Yield whether no server runs in `directory`; if so, none can start while the context is open."""
    lock = os.open(directory / "lock", os.O_RDONLY | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)


def take_lock(directory: Path) -> int:
    """Lock `directory` for one server, and return the locked file's descriptor."""
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    since = time.monotonic()
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            except BlockingIOError:
                address = read_address(directory)
                runs = address is not None and _is_there(address.launcher)
                if time.monotonic() - since > (LOCK_WAIT_S if runs else ENDING_WAIT_S):
                    who = f"process {address.launcher}" if address else "another process"
                    raise EmbeddedServerError(
                        f"The embedded server in {directory} is already run by {who}. Every command finds it there: "
                        "use it, or stop that process first."
                    ) from None
                time.sleep(POLL_S)
    except BaseException:
        os.close(lock)
        raise


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it belongs to another user
        return True
    return True
