"""Connections to Redis: one pool of our own, and what its troubles mean in a sentence without secrets."""

import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

from arq import ArqRedis
from arq.constants import default_queue_name
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url

from reckoner.shared.errors import RedisUnavailableError, SettingsError, WireError
from reckoner.shared.redis.pools import TOO_MANY_CLIENTS, BoundedPool, ConnectFailedError
from reckoner.shared.redis.scripts import ask
from reckoner.shared.redis.sentinel import find_primary
from reckoner.shared.redis.tls import tls_trouble
from reckoner.shared.redis.urls import SENTINEL_SHAPE, read_url

OLDEST_REDIS = (7, 0)

# Half a minute of silence, then three probes: a link that a firewall dropped is noticed in about a minute. It is not
# probed while something is under way, for which there is a limit in milliseconds: Linux' own is some 15 minutes.
KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}

# Answers that say "not now" of the server and nothing of the command. redis-py has classes for some of them only.
# Each with what it means to who reads it, where the server's own words do not say it better.
TROUBLE_CODES = {
    "BUSY": "is held up by a script of somebody's",
    "LOADING": "is still loading its data",
    "MASTERDOWN": "is a replica that has lost its primary",
    "MISCONF": "cannot save its data and takes no changes until it can: its log says why",
    "NOREPLICAS": "takes no changes, since too few of its replicas are there",
    "OOM": "is at its memory limit: raise its maxmemory, or remove something, and try again",
    "READONLY": "is a replica, which takes no changes: give the URL of its primary",
    "UNBLOCKED": "has let go of what waited",
}
# Where the server's own words begin: redis-py puts a pipeline's command before them, and EXEC says what it refuses for.
SERVER_WORDS = re.compile(
    r"""(?s)(?:.* of pipeline caused error: \(['"])?(?:Transaction discarded because of: )?(\w*)"""
)


def refuse_jobs(_: Any) -> Any:
    """Take the place of a job serializer and deserializer, for which arq would otherwise use pickle.

    Raises:
        WireError: always.
    """
    raise WireError("This connection carries no jobs.")


def connect(
    url: str,
    *,
    client_name: str = "reckoner",
    queue_name: str = default_queue_name,
    job_serializer: Callable[[dict[str, Any]], bytes] = refuse_jobs,
    job_deserializer: Callable[[bytes], dict[str, Any]] = refuse_jobs,
    socket_timeout_s: float | None = 5.0,
    connect_timeout_s: float = 0.8,
    max_connections: int | None = None,
    kind: type[ArqRedis] = ArqRedis,
) -> ArqRedis:
    """Make a client of that `kind` for `url` (redis://, rediss://, unix:// or redis+sentinel://, percent-encoded), with
    a pool that connects when it is first used.

    A command that takes longer than `socket_timeout_s` fails, as does one that waits as long for one of at most
    `max_connections`; None is for connections that block on purpose. Options in the URL win. Close it with `aclose()`.

    Raises:
        SettingsError: the URL cannot be used; the message does not show it.
    """
    plain, service = read_url(url)
    parts = urlsplit(plain)
    options: dict[str, Any] = {}
    if service is not None:
        options = {"service": service, "find_primary": find_primary}
    if parts.scheme != "unix":
        options["socket_keepalive"] = True
        options["socket_keepalive_options"] = {
            getattr(socket, name): value for name, value in KEEPALIVE.items() if hasattr(socket, name)
        }
    if parts.scheme == "rediss" and parse_qs(parts.query).get("ssl_cert_reqs") != ["none"]:
        options["ssl_check_hostname"] = True
    try:
        pool = BoundedPool.from_url(
            plain,
            patience_s=socket_timeout_s,
            client_name=client_name,
            socket_timeout=socket_timeout_s,
            socket_connect_timeout=connect_timeout_s,
            max_connections=max_connections,
            **options,
        )
        pool.make_connection()  # type: ignore[no-untyped-call] # it is what looks at the options
    except (ValueError, TypeError, exceptions.RedisError):
        # The reason may quote the URL, so neither it nor its traceback goes on from here.
        raise SettingsError("The Redis URL has an option with a value that it cannot have.") from None
    redis = kind(pool, job_serializer=job_serializer, job_deserializer=job_deserializer, default_queue_name=queue_name)
    redis.auto_close_connection_pool = True
    return redis


def describe(url: str) -> str:
    """Return `url` without user, password and options, for messages; one that cannot be used is not shown at all."""
    try:
        plain, service = read_url(url)
        options: dict[str, Any] = {**parse_url(plain), "service": service}
    except (SettingsError, ValueError):
        return "a URL that cannot be used"
    return _name(options.get("connection_class", Connection), options)


class Server(NamedTuple):
    """What a server says of itself; the texts are empty where it says nothing."""

    name: str
    """`redis` or `valkey`, or what else it calls itself."""
    version: str
    mode: str
    """`standalone`, `cluster` or `sentinel`."""


async def server_info(redis: Redis) -> Server:
    """What the server says of itself: to HELLO, which every user may ask, or to INFO, which many may not.

    Raises:
        redis.exceptions.RedisError: it does not answer.
    """
    try:
        said = await ask(redis, "HELLO")
        pairs = zip(said[::2], said[1::2], strict=True) if isinstance(said, list) else ()
        told = {key: value.decode() for key, value in pairs if isinstance(value, bytes)}
        return Server(*(told.get(key, "") for key in (b"server", b"version", b"mode")))
    except exceptions.ResponseError as error:
        if not is_command_unavailable(error):
            raise
    try:
        info = await redis.info("server")
    except exceptions.ResponseError as error:
        if not is_command_unavailable(error):
            raise
        return Server("", "", "")
    name = str(info.get("server_name", "redis"))
    # What others answer under Redis' name is the version that they are compatible with.
    version = info.get(f"{name}_version", info["redis_version"])
    return Server(name, str(version), str(info.get("redis_mode", info.get("server_mode", ""))))


async def eviction_policy(redis: Redis) -> str | None:
    """The policy by which a full server throws keys away; None where it throws none away, or does not say.

    Raises:
        redis.exceptions.RedisError: it does not answer.
    """
    try:
        memory = await redis.info("memory")
    except exceptions.ResponseError as error:
        if not is_command_unavailable(error):
            raise
        return None
    policy = str(memory.get("maxmemory_policy", "noeviction"))
    return policy if memory.get("maxmemory") and policy != "noeviction" else None


def is_command_unavailable(error: BaseException) -> bool:
    """Whether the server does not let this user give a command, or does not know it, as a hosted one may not."""
    return isinstance(error, exceptions.NoPermissionError) or (
        isinstance(error, exceptions.ResponseError) and str(error).lower().startswith("unknown command")
    )


def is_forbidden(error: BaseException) -> bool:
    """Whether this user may not do what was asked, by a command or in a script."""
    return isinstance(error, exceptions.NoPermissionError) or (
        isinstance(error, exceptions.ResponseError) and "ACL failure" in str(error)
    )


async def check(redis: ArqRedis) -> None:
    """Make sure that `redis` answers and is one to work with, as far as it lets this user know.

    Raises:
        RedisUnavailableError: it cannot be reached, refuses the password, is still loading, or refuses commands.
        SettingsError: it is older than 7.0, or a Redis Cluster.
    """
    where = _whereabouts(redis)
    try:
        await _answers(redis)
        server = await server_info(redis)
    except exceptions.RedisError as error:
        raise unavailable(redis, error) from error
    if server.version and tuple(int(part) for part in re.findall(r"\d+", server.version)[:2]) < OLDEST_REDIS:
        raise SettingsError(f"Redis at {where} is version {server.version}, and 7.0 or newer is needed.", redis=where)
    if server.mode == "sentinel":
        raise SettingsError(f"Redis at {where} is a Sentinel: give {SENTINEL_SHAPE}.", redis=where)
    if server.mode == "cluster":
        raise SettingsError(
            f"Redis at {where} is a Redis Cluster, and only a Redis that is none can be used.", redis=where
        )


async def _answers(redis: ArqRedis) -> None:
    try:
        await redis.ping()
    except exceptions.ResponseError as error:
        # One that cannot save refuses even this, and can be read all the same.
        if _code(error) != "MISCONF":
            raise


def unavailable(redis: ArqRedis, error: exceptions.RedisError) -> RedisUnavailableError:
    """What `error` of a command on `redis` is told as."""
    where = _whereabouts(redis)
    return RedisUnavailableError(f"Redis at {where} {trouble(error)}.", redis=where)


def is_transient_redis_error(error: BaseException) -> bool:
    """Whether Redis itself ended what was under way (lost, late, full, read-only, loading, busy), so it may be tried
    again and counts against nobody.
    """
    if isinstance(
        error,
        (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.OutOfMemoryError, exceptions.ReadOnlyError),
    ):
        return True
    return isinstance(error, exceptions.ResponseError) and _code(error) in TROUBLE_CODES


def _code(error: exceptions.ResponseError) -> str:
    """The first of the server's words, which for many troubles is a code."""
    words = SERVER_WORDS.match(str(error))
    return words[1] if words else ""


def _whereabouts(redis: ArqRedis) -> str:
    pool = redis.connection_pool
    return _name(pool.connection_class, pool.connection_kwargs)


def _name(kind: type, options: Mapping[str, Any]) -> str:
    """Write as a URL where connections with `options` go."""
    database = options.get("db") or 0
    if service := options.get("service"):
        return f"{service!r}/{database}"
    if issubclass(kind, UnixDomainSocketConnection):
        return f"unix://{quote(options.get('path', ''))}" + (f"?db={database}" if database else "")
    scheme = "rediss" if issubclass(kind, SSLConnection) else "redis"
    host = options.get("host", "localhost")
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{options.get('port', 6379)}/{database}"


def trouble(error: BaseException) -> str:
    """Say in half a sentence what `error` of redis-py means; redis-py wraps some errors in others."""
    causes = list(_causes(error))
    if words := next(filter(None, map(_first_words, causes)), ""):
        return words
    told = [
        (exceptions.AuthenticationError, "refuses the user name or password"),
        (exceptions.BusyLoadingError, TROUBLE_CODES["LOADING"]),
        (exceptions.OutOfMemoryError, TROUBLE_CODES["OOM"]),
        (exceptions.ReadOnlyError, TROUBLE_CODES["READONLY"]),
        (exceptions.TimeoutError, "does not answer in time"),
        (exceptions.InvalidResponse, "does not talk as Redis does"),
    ]
    for kind, words in told:
        if any(isinstance(cause, kind) for cause in causes):
            return words
    for cause in causes:
        if isinstance(cause, exceptions.ResponseError):
            if (code := _code(cause)) in TROUBLE_CODES:
                return TROUBLE_CODES[code]
            said = SERVER_WORDS.match(str(cause))
            return f"refuses commands ({str(cause)[said.start(1) if said else 0 :].rstrip('.')})"
        if isinstance(cause, ssl.SSLError):
            return tls_trouble(cause)
        if isinstance(cause, socket.gaierror):
            return f"cannot be reached ({cause.strerror})"
        if isinstance(cause, OSError) and cause.errno:
            return f"cannot be reached ({os.strerror(cause.errno)})"
    return "cannot be reached"


def _first_words(cause: BaseException) -> str:
    """What a cause says better than whatever else is in its chain; nothing for most."""
    if isinstance(cause, ConnectFailedError):
        return str(cause)
    if isinstance(cause, SettingsError):
        # The file of a certificate, which was good when the pool was made.
        return f"cannot be reached ({str(cause).rstrip('.')})"
    if isinstance(cause, exceptions.ConnectionError) and str(cause) == TOO_MANY_CLIENTS:
        return "has as many clients as it takes: raise its maxclients"
    return ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
