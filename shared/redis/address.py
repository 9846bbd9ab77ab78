"""Where the embedded server of a home is: the lock that it holds, the address that others read, and its socket."""

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

# What fits into the address of a Unix socket beside its closing zero byte.
SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107
SOCKET_NAME = "valkey.sock"
# How long another holder of the lock may take to let go: who looks for a server holds it for an instant.
LOCK_WAIT_S = 2.0
# A server that is being stopped, or whose launcher was killed, needs a moment to end, and longer on a busy machine.
ENDING_WAIT_S = 60.0
POLL_S = 0.005


class Address(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a home says of its server: the URL for redis-py, its process (0 until that is started), the process that it
    ends with, and how far it is.
    """

    url: str
    pid: int
    launcher: int
    state: Literal["starting", "ready"]

    @property
    def socket_path(self) -> Path:
        """The Unix socket that the URL names."""
        return Path(unquote(urlsplit(self.url).path))


def new_socket_path() -> Path:
    """Make a directory that only this user can enter, short enough for a socket's path, and name the socket in it."""
    for place in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"):  # noqa: S108
        size = len(os.fsencode(os.path.join(place, "reckoner-12345678", SOCKET_NAME)))
        # What is not printable may not be UTF-8 and then cannot go through a URL.
        fits = os.path.isabs(place) and place.isprintable() and size <= SOCKET_PATH_BYTES
        if fits and os.access(place, os.W_OK | os.X_OK):
            return Path(tempfile.mkdtemp(prefix="reckoner-", dir=place)) / SOCKET_NAME
    raise EmbeddedServerError("There is no directory short enough for the path of a socket: set XDG_RUNTIME_DIR.")


def remove_socket(socket_path: Path) -> None:
    """Remove a socket and the directory that was made for it, if they are there."""
    if socket_path.name == SOCKET_NAME:
        with contextlib.suppress(OSError):
            socket_path.unlink(missing_ok=True)
            socket_path.parent.rmdir()


def address_path(directory: Path) -> Path:
    """The file that says where the server of `directory` is."""
    return directory / "address.json"


def read_address(directory: Path) -> Address | None:
    """Return what the home says of its server, right or stale; None when it says nothing that can be read."""
    try:
        return msgspec.json.decode(address_path(directory).read_bytes(), type=Address)
    except (OSError, msgspec.DecodeError):
        return None


def sweep_stale(directory: Path) -> None:
    """Remove what a server left behind that ended with its launcher; only for who holds the lock."""
    if (address := read_address(directory)) is not None:
        remove_socket(address.socket_path)
    address_path(directory).unlink(missing_ok=True)


@contextlib.contextmanager
def unlocked(directory: Path) -> Iterator[bool]:
    """Whether nobody runs a server in `directory`; if so, nobody can start one until this is left."""
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
    """Lock `directory` for one server and return the open file that holds the lock."""
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
                        f"The embedded server in {directory} is already run by {who}, and every command finds it "
                        "there: use it, or end that process first."
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
    except PermissionError:  # somebody else's
        return True
    return True
