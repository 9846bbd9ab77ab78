"""Redis URLs: parsing and validation, with messages that show no secrets."""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from reckoner.shared.errors import SettingsError

SENTINEL = "redis+sentinel"
SENTINEL_PORT = 26379
SENTINEL_SHAPE = "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DATABASE"
SCHEMES = ("redis", "rediss", "unix", SENTINEL)

# The supported options: others are typing errors or, like decode_responses, would break arq.
TEXT_OPTIONS = frozenset({"password", "ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_keyfile", "username"})
NUMBER_OPTIONS = frozenset({
    "db", "health_check_interval", "max_connections", "socket_connect_timeout", "socket_timeout", "ssl_check_hostname"
})  # fmt: skip
URL_OPTIONS = TEXT_OPTIONS | NUMBER_OPTIONS
SENTINEL_OPTIONS = frozenset({"sentinel_password", "sentinel_username"})


class Service(NamedTuple):
    """A service with its Sentinels, and their credentials."""

    hosts: tuple[tuple[str, int], ...]
    name: str
    username: str | None
    password: str | None

    def __repr__(self) -> str:
        """The URL, without secrets."""
        hosts = ",".join(f"{f'[{host}]' if ':' in host else host}:{port}" for host, port in self.hosts)
        return f"{SENTINEL}://{hosts}/{quote(self.name)}"


def split_url(url: str) -> SplitResult:
    """Split a Redis URL and validate it.

    Raises:
        SettingsError: it is invalid; the message does not show it.
    """
    place = re.split("[/?#]", url.partition("://")[2])[0]
    if url != url.strip() or " " in place or re.search(r"[\x00-\x1f\x7f]", url):
        raise SettingsError("The Redis URL has a blank or a control character. Write a blank as %20.")
    try:
        parts = urlsplit(url)
        if parts.scheme != "unix" and "@" in parts.path + parts.query + parts.fragment:
            raise ValueError
        hosts = parts.netloc.rpartition("@")[2].split(",")
        places = [urlsplit(f"//{host}") for host in hosts]
    except ValueError:
        raise SettingsError(
            "The Redis URL is invalid. In a user name or password, write @ : / ? # % as %40 %3A %2F %3F %23 %25."
        ) from None
    if not all(map(_has_port, places)):
        raise SettingsError(
            "The Redis URL has an invalid port. Write HOST:PORT with a port from 1 to 65535, and IPv6 in brackets."
        )
    if parts.scheme == f"rediss+{SENTINEL.partition('+')[2]}":
        raise SettingsError(
            "The Redis URL asks for TLS to Sentinels, which is not supported. Use the primary's URL, with rediss://."
        )
    if parts.scheme not in SCHEMES:
        starts = " or ".join([f"{', '.join(f'{scheme}://' for scheme in SCHEMES[:-1])}", f"{SCHEMES[-1]}://"])
        raise SettingsError(f"The Redis URL must start with {starts}.")
    if len(hosts) > 1 and parts.scheme != SENTINEL:
        raise SettingsError(f"The Redis URL has several hosts. Give one, or for Sentinel {SENTINEL_SHAPE}.")
    _check_options(parts)
    _check_path(parts)
    return parts


def _has_port(place: SplitResult) -> bool:
    """Whether a host's port is valid or omitted."""
    try:
        return place.port != 0
    except ValueError:
        return False


def _check_options(parts: SplitResult) -> None:
    query = parse_qs(parts.query, keep_blank_values=True)
    known = URL_OPTIONS | SENTINEL_OPTIONS if parts.scheme == SENTINEL else URL_OPTIONS
    if not query.keys() <= known:
        # The unknown option may be a part of a password.
        raise SettingsError(f"The Redis URL has an unknown option. The options are: {', '.join(sorted(known))}.")
    if parts.scheme != "rediss" and (of_tls := sorted(option for option in query if option.startswith("ssl_"))):
        raise SettingsError(f"The Redis URL has {of_tls[0]}, which requires TLS. Start the URL with rediss://.")
    if not all(re.fullmatch("[0-9]+", database) for database in query.get("db", ())):
        raise SettingsError("The Redis URL has an invalid db. Write a number, as in db=3.")


def _check_path(parts: SplitResult) -> None:
    if parts.scheme == SENTINEL and not re.fullmatch("/[^/]+(/[0-9]*)?", parts.path):
        raise SettingsError(f"The Redis URL for Sentinel needs a service, and may have a database: {SENTINEL_SHAPE}.")
    if parts.scheme in {"redis", "rediss"} and not re.fullmatch("/?|/[0-9]+/?", parts.path):
        raise SettingsError(
            "The Redis URL has an invalid database. Write a number, as in redis://HOST:PORT/3, or omit it."
        )


class PlainUrl(NamedTuple):
    """A Redis URL as redis-py takes it: with the texts among its options beside it.

    Releases of redis-py differ in how often they decode them.
    """

    url: str
    texts: Mapping[str, str]
    service: Service | None
    """The Sentinel service whose primary is the host, if any."""


def read_url(url: str) -> PlainUrl:
    """Convert a Redis URL into one for redis-py.

    Raises:
        SettingsError: it is invalid; the message does not show it.
    """
    parts = split_url(url)
    query = {name: unquote(value) for name, _, value in (pair.partition("=") for pair in parts.query.split("&"))}
    texts = {name: query[name] for name in query if name in TEXT_OPTIONS and query[name]}
    written = "&".join(f"{name}={quote(query[name], safe='')}" for name in query if name in NUMBER_OPTIONS)
    if parts.scheme != SENTINEL:
        return PlainUrl(parts._replace(query=written).geturl(), texts, None)
    secret, at, places = parts.netloc.rpartition("@")
    _, name, *database = parts.path.split("/")
    username, password = query.get("sentinel_username"), query.get("sentinel_password")
    hosts = [(place.hostname or "localhost", place.port or SENTINEL_PORT) for place in map(_place, places.split(","))]
    plain = f"redis://{secret}{at}primary/{''.join(database)}?{written}"
    return PlainUrl(plain, texts, Service(tuple(hosts), unquote(name), username, password))


def _place(host: str) -> SplitResult:
    return urlsplit(f"//{host}")
