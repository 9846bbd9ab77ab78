"""Connections to Redis: clients, checks of the server, and messages for its errors without secrets."""

import os
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypedDict, Unpack
from urllib.parse import quote, urlsplit

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url

from reckoner.shared.errors import RedisUnavailableError, SettingsError
from reckoner.shared.redis.pools import TOO_MANY_CLIENTS, BoundedPool, ConnectFailedError
from reckoner.shared.redis.scripts import ask
from reckoner.shared.redis.sentinel import find_primary
from reckoner.shared.redis.tls import tls_trouble
from reckoner.shared.redis.urls import SENTINEL_SHAPE, read_url

OLDEST_REDIS = (7, 0)

# A link that a firewall dropped is detected after a minute, also while data are unacknowledged (in milliseconds).
KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}

# Transient errors of the server, which are not the command's fault, and their messages.
TROUBLE_CODES = {
    "BUSY": "is blocked by a long script",
    "LOADING": "is still loading its data",
    "MASTERDOWN": "is a replica that has lost its primary",
    "MISCONF": "cannot save its data and refuses writes: see its log",
    "NOREPLICAS": "refuses writes, since too few replicas are connected",
    "OOM": "is at its memory limit: raise its maxmemory or delete keys, then retry",
    "READONLY": "is a read-only replica: use the URL of its primary",
    "UNBLOCKED": "has unblocked a waiting command",
}
# Skips the prefixes of pipelines and EXEC before the server's own message.
SERVER_WORDS = re.compile(
    r"""(?s)(?:.* of pipeline caused error: \(['"])?(?:Transaction discarded because of: )?(\w*)"""
)


class PoolOptions(TypedDict, total=False):
    """The options of `open_pool`."""

    client_name: str
    socket_timeout_s: float | None
    connect_timeout_s: float
    max_connections: int | None


def connect(url: str, **options: Unpack[PoolOptions]) -> Redis:
    """Make a client for `url`; see `open_pool`. Close it with `aclose()`."""
    return Redis.from_pool(open_pool(url, **options))


def open_pool(
    url: str,
    *,
    client_name: str = "reckoner",
    socket_timeout_s: float | None = 5.0,
    connect_timeout_s: float = 0.8,
    max_connections: int | None = None,
) -> BoundedPool:
    """Make a pool for `url` (redis://, rediss://, unix:// or redis+sentinel://, percent-encoded); it connects lazily.

    A command fails after `socket_timeout_s`, and so does waiting for one of `max_connections`; None is for blocking
    connections. Options in the URL override the arguments.

    Raises:
        SettingsError: the URL is invalid; the message does not show it.
    """
    plain, texts, service = read_url(url)
    scheme, options = urlsplit(plain).scheme, dict[str, Any](texts)
    if service is not None:
        options |= {"service": service, "find_primary": find_primary}
    if scheme != "unix":
        options["socket_keepalive"] = True
        options["socket_keepalive_options"] = {
            getattr(socket, name): value for name, value in KEEPALIVE.items() if hasattr(socket, name)
        }
    if scheme == "rediss" and texts.get("ssl_cert_reqs") != "none":
        options["ssl_check_hostname"] = True
    try:
        pool: BoundedPool = BoundedPool.from_url(
            plain,
            acquire_timeout_s=socket_timeout_s,
            client_name=client_name,
            socket_timeout=socket_timeout_s,
            socket_connect_timeout=connect_timeout_s,
            max_connections=max_connections,
            **options,
        )
        pool.make_connection()  # type: ignore[no-untyped-call] # it checks the options
    except (ValueError, TypeError, exceptions.RedisError):
        # The error may quote the URL: drop its message and traceback.
        raise SettingsError("The Redis URL has an option with an invalid value.") from None
    return pool


def describe(url: str) -> str:
    """Return `url` without user, password and options, for messages; an invalid one is not shown."""
    try:
        plain, _, service = read_url(url)
        options: dict[str, Any] = {**parse_url(plain), "service": service}
    except (SettingsError, ValueError):
        return "an invalid URL"
    return _name(options.get("connection_class", Connection), options)


class Server(NamedTuple):
    """A server's own description; unknown fields are empty."""

    name: str
    """`redis`, `valkey`, or another."""
    version: str
    mode: str
    """`standalone`, `cluster` or `sentinel`."""


async def server_info(redis: Redis) -> Server:
    """Ask the server for its description by HELLO, or else by INFO, which fewer users may call.

    Raises:
        redis.exceptions.RedisError: it does not answer.
    """
    try:
        answer = await ask(redis, "HELLO")
        pairs = zip(answer[::2], answer[1::2], strict=True) if isinstance(answer, list) else ()
        fields = {key: value.decode() for key, value in pairs if isinstance(value, bytes)}
        return Server(*(fields.get(key, "") for key in (b"server", b"version", b"mode")))
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
    # Other servers give the Redis version that they are compatible with as redis_version.
    version = info.get(f"{name}_version", info["redis_version"])
    return Server(name, str(version), str(info.get("redis_mode", info.get("server_mode", ""))))


async def eviction_policy(redis: Redis) -> str | None:
    """The eviction policy of a full server; None if it evicts nothing, or does not tell.

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
    """Whether this user may not call a command, or a hosted server does not offer it."""
    return isinstance(error, exceptions.NoPermissionError) or (
        isinstance(error, exceptions.ResponseError) and str(error).lower().startswith("unknown command")
    )


def is_forbidden(error: BaseException) -> bool:
    """Whether this user's ACL forbids a command, directly or in a script."""
    return isinstance(error, exceptions.NoPermissionError) or (
        isinstance(error, exceptions.ResponseError) and "ACL failure" in str(error)
    )


async def check(redis: Redis) -> None:
    """Check that `redis` answers and is supported, as far as this user may ask.

    Raises:
        RedisUnavailableError: it cannot be reached, refuses the password, is loading, or refuses commands.
        SettingsError: it is older than 7.0, or a Redis Cluster.
    """
    where = _whereabouts(redis)
    try:
        await _answers(redis)
        server = await server_info(redis)
    except exceptions.RedisError as error:
        raise unavailable(redis, error) from error
    if server.version and tuple(int(part) for part in re.findall(r"\d+", server.version)[:2]) < OLDEST_REDIS:
        raise SettingsError(
            f"Redis at {where} is version {server.version}. Version 7.0 or newer is required.", redis=where
        )
    if server.mode == "sentinel":
        raise SettingsError(f"Redis at {where} is a Sentinel. Write {SENTINEL_SHAPE}.", redis=where)
    if server.mode == "cluster":
        raise SettingsError(
            f"Redis at {where} is a Redis Cluster, which is not supported. Use a single server.", redis=where
        )


async def _answers(redis: Redis) -> None:
    try:
        await redis.ping()
    except exceptions.ResponseError as error:
        # A server that cannot save refuses PING, but answers reads.
        if _code(error) != "MISCONF":
            raise


def unavailable(redis: Redis, error: exceptions.RedisError) -> RedisUnavailableError:
    """Convert an error of a command on `redis` for users."""
    where = _whereabouts(redis)
    return RedisUnavailableError(f"Redis at {where} {trouble(error)}.", redis=where)


def is_transient_redis_error(error: BaseException) -> bool:
    """Whether Redis failed (lost, late, full, read-only, loading, busy): a retry may succeed and is no failed try."""
    if isinstance(
        error,
        (
            exceptions.ConnectionError,
            exceptions.TimeoutError,
            exceptions.MasterDownError,
            exceptions.OutOfMemoryError,
            exceptions.ReadOnlyError,
        ),
    ):
        return True
    return isinstance(error, exceptions.ResponseError) and _code(error) in TROUBLE_CODES


def _code(error: exceptions.ResponseError) -> str:
    """The first word of the server's message, often an error code."""
    words = SERVER_WORDS.match(str(error))
    return words[1] if words else ""


def _whereabouts(redis: Redis) -> str:
    pool = redis.connection_pool
    return _name(pool.connection_class, pool.connection_kwargs)


def _name(kind: type, options: Mapping[str, Any]) -> str:
    """The URL of connections with `options`, without secrets."""
    database = options.get("db") or 0
    if service := options.get("service"):
        return f"{service!r}/{database}"
    if issubclass(kind, UnixDomainSocketConnection):
        return f"unix://{quote(options.get('path', ''))}" + (f"?db={database}" if database else "")
    scheme = "rediss" if issubclass(kind, SSLConnection) else "redis"
    host = options.get("host", "localhost")
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{options.get('port', 6379)}/{database}"


def trouble(error: BaseException) -> str:
    """The predicate of a sentence about an `error` of redis-py, which may wrap another one."""
    causes = list(_causes(error))
    if words := next(filter(None, map(_own_message, causes)), ""):
        return words
    messages = [
        (exceptions.AuthenticationError, "refuses the user name or password"),
        (exceptions.BusyLoadingError, TROUBLE_CODES["LOADING"]),
        (exceptions.MasterDownError, TROUBLE_CODES["MASTERDOWN"]),
        (exceptions.OutOfMemoryError, TROUBLE_CODES["OOM"]),
        (exceptions.ReadOnlyError, TROUBLE_CODES["READONLY"]),
        (exceptions.TimeoutError, "does not answer in time"),
        (exceptions.InvalidResponse, "does not speak the Redis protocol"),
    ]
    for kind, words in messages:
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


def _own_message(cause: BaseException) -> str:
    """The message of a cause that explains the error best; empty for most."""
    if isinstance(cause, ConnectFailedError):
        return str(cause)
    if isinstance(cause, SettingsError):
        # A certificate file became invalid after the start.
        return f"cannot be reached ({str(cause).rstrip('.')})"
    if isinstance(cause, exceptions.ConnectionError) and str(cause) == TOO_MANY_CLIENTS:
        return "has too many clients: raise its maxclients"
    return ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
