"""Redis URLs: what they may say, where they lead, and what is said of those that cannot be used, without secrets."""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from reckoner.shared.errors import SettingsError

SENTINEL = "redis+sentinel"
SENTINEL_PORT = 26379
SENTINEL_SHAPE = "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DATABASE"
SCHEMES = ("redis", "rediss", "unix", SENTINEL)

# What a Redis URL may ask for. Anything else is a slip, or (decode_responses) would break arq.
URL_OPTIONS = frozenset({
    "db",
    "health_check_interval",
    "max_connections",
    "password",
    "socket_connect_timeout",
    "socket_timeout",
    "ssl_ca_certs",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_keyfile",
    "username",
})  # fmt: skip
SENTINEL_OPTIONS = frozenset({"sentinel_password", "sentinel_username"})


class Service(NamedTuple):
    """A service that Sentinels watch, and how they are asked for its primary."""

    hosts: tuple[tuple[str, int], ...]
    name: str
    username: str | None
    password: str | None

    def __repr__(self) -> str:
        """Where it is, as in a URL, without secrets."""
        hosts = ",".join(f"{f'[{host}]' if ':' in host else host}:{port}" for host, port in self.hosts)
        return f"{SENTINEL}://{hosts}/{quote(self.name)}"


def split_url(url: str) -> SplitResult:
    """Split a Redis URL, and look whether it can be used.

    Raises:
        SettingsError: it cannot; the message does not show it.
    """
    place = re.split("[/?#]", url.partition("://")[2])[0]
    if url != url.strip() or " " in place or re.search(r"[\x00-\x1f\x7f]", url):
        raise SettingsError(
            "The Redis URL has a blank or a line break in its host, user or password, or at its end: write %20 for one."
        )
    try:
        parts = urlsplit(url)
        if parts.scheme != "unix" and "@" in parts.path + parts.query + parts.fragment:
            raise ValueError
        hosts = parts.netloc.rpartition("@")[2].split(",")
        places = [urlsplit(f"//{host}") for host in hosts]
    except ValueError:
        raise SettingsError(
            "The Redis URL cannot be read; in a user name or password, write @ : / ? # % as %40 %3A %2F %3F %23 %25."
        ) from None
    if not all(map(_has_port, places)):
        raise SettingsError(
            "The Redis URL has a port that is no number from 1 to 65535: write HOST:PORT, an IPv6 address in brackets."
        )
    if parts.scheme == f"rediss+{SENTINEL.partition('+')[2]}":
        raise SettingsError(
            "The Redis URL asks for TLS to Sentinels, which is not supported: give the primary's own, with rediss://."
        )
    if parts.scheme not in SCHEMES:
        starts = " or ".join([f"{', '.join(f'{scheme}://' for scheme in SCHEMES[:-1])}", f"{SCHEMES[-1]}://"])
        raise SettingsError(f"The Redis URL has to start with {starts}.")
    if len(hosts) > 1 and parts.scheme != SENTINEL:
        raise SettingsError(f"The Redis URL names several hosts: give one, or for Sentinel {SENTINEL_SHAPE}.")
    _check_options(parts)
    _check_path(parts)
    return parts


def _has_port(place: SplitResult) -> bool:
    """Whether a host's port is one, or left out."""
    try:
        return place.port != 0
    except ValueError:
        return False


def _check_options(parts: SplitResult) -> None:
    query = parse_qs(parts.query, keep_blank_values=True)
    known = URL_OPTIONS | SENTINEL_OPTIONS if parts.scheme == SENTINEL else URL_OPTIONS
    if not query.keys() <= known:
        # The unknown one may be a part of a password.
        raise SettingsError(f"The Redis URL has an unknown option; those that there are: {', '.join(sorted(known))}.")
    if parts.scheme != "rediss" and (of_tls := sorted(option for option in query if option.startswith("ssl_"))):
        raise SettingsError(f"The Redis URL has {of_tls[0]}, which is for TLS: a URL for TLS starts with rediss://.")
    if not all(re.fullmatch("[0-9]+", database) for database in query.get("db", ())):
        raise SettingsError("The Redis URL has a db that is no number: a database is given as db=3.")


def _check_path(parts: SplitResult) -> None:
    if parts.scheme == SENTINEL and not re.fullmatch("/[^/]+(/[0-9]*)?", parts.path):
        raise SettingsError(
            f"The Redis URL for Sentinel has to name a service, and may name a database: {SENTINEL_SHAPE}."
        )
    if parts.scheme in {"redis", "rediss"} and not re.fullmatch("/?|/[0-9]+/?", parts.path):
        raise SettingsError(
            "The Redis URL has a database that is no number: it ends with one, as in redis://HOST:PORT/3, or without."
        )


def read_url(url: str) -> tuple[str, Service | None]:
    """Where a Redis URL leads: a URL that redis-py reads, and the service whose primary is to be its host, if any.

    Raises:
        SettingsError: it cannot be used; the message does not show it.
    """
    parts = split_url(url)
    query = {name: unquote(value) for name, _, value in (pair.partition("=") for pair in parts.query.split("&"))}
    if parts.scheme != SENTINEL:
        return parts._replace(query=_written(query)).geturl(), None
    secret, at, places = parts.netloc.rpartition("@")
    _, name, *database = parts.path.split("/")
    username, password = query.pop("sentinel_username", None), query.pop("sentinel_password", None)
    hosts = [(place.hostname or "localhost", place.port or SENTINEL_PORT) for place in map(_place, places.split(","))]
    plain = f"redis://{secret}{at}primary/{''.join(database)}?{_written(query)}"
    return plain, Service(tuple(hosts), unquote(name), username, password)


def _written(query: Mapping[str, str]) -> str:
    """Options as redis-py reads them, which decodes them twice and would take a plus for a blank."""
    return "&".join(f"{name}={quote(quote(value, safe=''), safe='')}" for name, value in query.items() if name)


def _place(host: str) -> SplitResult:
    return urlsplit(f"//{host}")
