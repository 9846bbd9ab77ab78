"""Who may what: tokens and their roles; without tokens, who is on this machine."""

import hmac
import os
import stat
from collections.abc import Mapping, Sequence
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from time import monotonic, time
from typing import Literal, get_args
from urllib.parse import urlsplit

import msgspec
import structlog

from reckoner.producer.http.problems import ProblemError
from reckoner.shared.errors import SettingsError

log = structlog.get_logger()

# Each may do what those before it may.
Role = Literal["read", "write", "admin"]
RANKS: Mapping[str, int] = {role: rank for rank, role in enumerate(get_args(Role))}

# The cookie of a visitor of the page who has signed in with a token, and how long it is valid.
COOKIE = "reckoner-session"
SESSION_S = 12 * 3600
SHORTEST_TOKEN = 16
MOST_TOKENS = 100
# How often the file is looked at.
LOOK_S = 1.0
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SHAPE = f"ROLE NAME TOKEN, where ROLE is {', '.join(RANKS)} and TOKEN has at least {SHORTEST_TOKEN} characters"


class Identity(msgspec.Struct, frozen=True):
    """Who sends a request: the name of the token, and its role."""

    name: str
    role: Role
    by_cookie: bool = False

    def may(self, role: Role) -> bool:
        """Whether this role is enough where `role` is needed."""
        return RANKS[self.role] >= RANKS[role]


# Without tokens: a program on this machine.
LOCAL = Identity("local", "admin")
Entry = tuple[bytes, Identity]


def read_tokens(file: Path) -> list[Entry]:
    """The digest of each token of a file, with its identity; a line is `ROLE NAME TOKEN`, and `#` begins a comment.

    Raises:
        SettingsError: it cannot be read, has an invalid line or none; the message shows no token.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"The file of tokens {file} cannot be read: {reason}.") from None
    found = list[Entry]()
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 3 or words[0] not in RANKS or len(words[2]) < SHORTEST_TOKEN:
            raise SettingsError(f"Line {number} of the file of tokens {file} is not {SHAPE}.")
        if not words[2].isascii():
            raise SettingsError(f"The token in line {number} of the file of tokens {file} is not ASCII.")
        if _digest(words[2]) in {digest for digest, _ in found}:
            raise SettingsError(f"The token in line {number} of the file of tokens {file} is there twice.")
        found.append((_digest(words[2]), Identity(words[1], msgspec.convert(words[0], Role))))
    if not found or len(found) > MOST_TOKENS:
        raise SettingsError(f"The file of tokens {file} has {len(found):,} tokens. Give 1 to {MOST_TOKENS}.")
    return found


def _digest(token: str) -> bytes:
    return sha256(token.encode(errors="surrogateescape")).digest()


def _signed(digest: bytes, until: str) -> str:
    return hmac.new(digest, f"session until {until}".encode(), sha256).hexdigest()


class Access:
    """Tells who sends a request, by the tokens of a file; without one, everybody on this machine may do everything."""

    def __init__(self, file: Path | None = None) -> None:
        """A file that is no regular one, such as a pipe, is read only now.

        Raises:
            SettingsError: the file is invalid.
        """
        self._file = file
        # A change while it is read is one to read again.
        self._seen = self._state()
        self._entries: Sequence[Entry] = () if file is None else read_tokens(file)
        self._looked = monotonic()
        # This machine's name in the last request: to read one takes as long as to read a list.
        self._host: bytes | None = None

    def identify(self, method: str, headers: Mapping[bytes, bytes]) -> Identity | None:
        """Who sends a request with these headers; None without a valid token.

        Raises:
            ProblemError: another site asks for a change, or the host name is not this machine's.
        """
        if self._file is None:
            if (host := headers.get(b"host", b"")) != self._host:
                _require_local_host(host)
                self._host = host
            require_same_origin(method, headers)
            return LOCAL
        if (given := headers.get(b"authorization")) is not None:
            scheme, _, token = given.decode("latin-1").partition(" ")
            return self.of_token(token.strip()) if scheme.lower() == "bearer" else None
        session = cookie(headers, COOKIE)
        found = self.of_session(session) if session else None
        if found is None:
            return None
        require_same_origin(method, headers)
        return msgspec.structs.replace(found, by_cookie=True)

    def of_token(self, token: str) -> Identity | None:
        """Whose token this is, in a time that tells nothing of other tokens."""
        self.reload()
        digest, found = _digest(token), None
        for known, identity in self._entries:
            if hmac.compare_digest(known, digest):
                found = identity
        return found

    def session_of(self, token: str) -> str:
        """The value of the cookie for a valid token: when it ends, signed with the token's digest.

        So any process can check it, it tells nothing of the token, and it ends when the token leaves the file.
        """
        until = f"{int(time()) + SESSION_S}"
        return f"{until}.{_signed(_digest(token), until)}"

    def of_session(self, session: str) -> Identity | None:
        """Whose cookie this is; None if it is invalid or has ended, or its token is gone."""
        self.reload()
        until, _, signature = session.partition(".")
        found = None
        for known, identity in self._entries:
            if hmac.compare_digest(_signed(known, until).encode(), signature.encode()):
                found = identity
        return found if found and int(until) > time() else None

    def __len__(self) -> int:
        """The number of tokens."""
        return len(self._entries)

    @property
    def is_local(self) -> bool:
        """Whether there are no tokens."""
        return self._file is None

    def _state(self) -> tuple[int, ...]:
        try:
            found = os.stat(self._file) if self._file else None
        except OSError:
            return ()
        return (found.st_mtime_ns, found.st_size, found.st_ino) if found and stat.S_ISREG(found.st_mode) else ()

    def reload(self) -> None:
        """Read the file again if it has changed; an invalid one leaves the tokens as they are."""
        now = monotonic()
        if self._file is None or now < self._looked + LOOK_S:
            return
        self._looked, state = now, self._state()
        if state == self._seen:
            return
        self._seen = state
        try:
            self._entries = read_tokens(self._file)
        except SettingsError as error:
            log.error("tokens not reloaded", error=str(error))
        else:
            log.info("tokens reloaded", tokens=len(self._entries))


def cookie(headers: Mapping[bytes, bytes], name: str) -> str:
    """The value of a cookie, empty without one."""
    for part in headers.get(b"cookie", b"").decode("latin-1").split(";"):
        found, _, value = part.strip().partition("=")
        if found == name:
            return value
    return ""


def is_loopback(host: str) -> bool:
    """Whether a host name or an address, maybe in brackets, is this machine's own."""
    name = host.strip("[]").lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _require_local_host(host: bytes) -> None:
    """Refuse names that lead here by DNS only: a page elsewhere could read answers through them."""
    name = host.decode("latin-1")
    before, _, port = name.rpartition(":")
    if not is_loopback(before if before and port.isdigit() else name):
        raise ProblemError(
            "foreign-host", "Without tokens, the Host header must be a name of this machine, such as localhost."
        )


def _host_of(origin: bytes) -> bytes | None:
    """The host and port of an origin, None if it is none."""
    try:
        return urlsplit(origin.decode("latin-1")).netloc.encode("latin-1")
    except ValueError:
        return None


def require_same_origin(method: str, headers: Mapping[bytes, bytes]) -> None:
    """Refuse changes by pages of other sites: browsers name the site."""
    if method in SAFE_METHODS:
        return
    origin = headers.get(b"origin")
    if origin is None and headers.get(b"sec-fetch-site", b"none") in (b"none", b"same-origin"):
        return
    if origin is None or _host_of(origin) != headers.get(b"host"):
        raise ProblemError("foreign-origin", "A page of another site asks for a change. Send it with a token instead.")
