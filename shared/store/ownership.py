"""The owner of an artifact store: one prefix of one Redis, by two marks in the store and a token in Redis.

The first mark names the prefix, which an import knows without a Redis; the second holds the token of the Redis. The
first caller sets a mark, and only `take_store` replaces it. With two owners, each would delete the other's artifacts.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, TypeVar

import msgspec
from msgspec import Meta

from reckoner.shared.errors import ForeignStoreError, NoRedisError, ReckonerError, RedisUnavailableError
from reckoner.shared.redis.connections import check, connect, describe, is_transient_redis_error, unavailable
from reckoner.shared.redis.embedded import find_redis
from reckoner.shared.redis.keys import Keys
from reckoner.shared.redis.scripts import ask
from reckoner.shared.settings import Settings, variable_of
from reckoner.shared.store.bucket import is_bucket
from reckoner.shared.store.location import describe_store, store_directory
from reckoner.shared.store.protocol import Store

if TYPE_CHECKING:
    from redis.asyncio import Redis

OWNER_MARK = "owner.json"
SERVER_MARK = "owner-server.json"

M = TypeVar("M", "Owner", "Server")
R = TypeVar("R")


class StoreRunner(Protocol):
    """Runs blocking calls of a store outside the event loop."""

    def __call__(self, work: Callable[[], R], /) -> Awaitable[R]:
        """Run `work` and return its result."""


class Owner(msgspec.Struct, frozen=True):
    """The first mark: the prefix that owns a store."""

    format: Literal[1]
    prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}\Z")]


class Server(msgspec.Struct, frozen=True):
    """The second mark: the Redis that owns a store."""

    format: Literal[1]
    token: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    embedded: bool
    """Whether it is the embedded one of the store's home: it stays the owner even if it was emptied."""


def require_prefix(settings: Settings, store: Store) -> bool:
    """Check that the prefix owns a store; False if nobody does.

    Raises:
        ForeignStoreError: another prefix owns it.
    """
    owner = _read(settings, store.mark(OWNER_MARK), Owner)
    if owner is not None and owner.prefix != settings.prefix:
        raise _foreign(settings, f"prefix {owner.prefix}", f"prefix {settings.prefix}")
    return owner is not None


def claim_prefix(settings: Settings, store: Store) -> None:
    """Claim an unowned store for the prefix; see `require_prefix`."""
    if store.mark(OWNER_MARK) is None:
        store.set_mark(OWNER_MARK, msgspec.json.encode(Owner(1, settings.prefix)))
    require_prefix(settings, store)


def server_of(settings: Settings, store: Store) -> Server | None:
    """The Redis that owns a store of the prefix, None if none does yet.

    Raises:
        ForeignStoreError: the mark is damaged.
    """
    return _read(settings, store.mark(SERVER_MARK), Server)


def require_server(settings: Settings, server: Server, token: bytes | None) -> None:
    """Check that the Redis with `token`, or the emptied embedded one, owns a store.

    Raises:
        ForeignStoreError: another Redis owns it, or this one did before it was emptied.
    """
    _require_token(settings, server, token, _is_embedded(settings))


def _require_token(settings: Settings, server: Server, token: bytes | None, embedded: bool) -> None:
    emptied = token is None and server.embedded and embedded
    if not emptied and token != server.token.encode():
        where = describe(settings.redis_url) if settings.redis_url else "the embedded Redis"
        owner = f"prefix {settings.prefix} of another Redis, or of this one before it was emptied"
        raise _foreign(settings, owner, where)


async def claim_store(
    redis: "Redis", settings: Settings, store: Store, in_store: StoreRunner = asyncio.to_thread
) -> None:
    """Check that the prefix and the Redis own a store, and claim an unowned one.

    Raises:
        ForeignStoreError: another prefix or another Redis owns it.
        RedisUnavailableError: Redis is unavailable.
    """
    key = Keys(settings.prefix).store
    try:
        marked, embedded = await in_store(lambda: (require_prefix(settings, store), _is_embedded(settings)))
        token = await ask(redis, "GET", key)
        # Another process may have set mark and token since.
        if token is not None and not (marked or embedded or await in_store(lambda: require_prefix(settings, store))):
            raise _unmarked(settings)
        server = await in_store(lambda: _claim_prefix_and_read_server(settings, store))
        if server is None:
            # Redis first, so that concurrent claims with this Redis set the same mark.
            token = token or await _set_token(redis, key, secrets.token_hex(16))
            mark = msgspec.json.encode(Server(1, token.decode(errors="replace"), embedded))
            server = _read(settings, await in_store(lambda: store.set_mark(SERVER_MARK, mark)), Server)
            assert server is not None
        elif token is None:
            # Another process may have set token and mark since.
            token = await ask(redis, "GET", key)
        _require_token(settings, server, token, embedded)
        if token is None:
            _require_token(settings, server, await _set_token(redis, key, server.token), embedded)
    except Exception as error:
        from redis.exceptions import RedisError

        if isinstance(error, RedisError) and is_transient_redis_error(error):
            raise unavailable(redis, error) from error
        raise


async def claim_store_or_prefix(settings: Settings, store: Store) -> None:
    """Check or claim a store for the prefix and, if it is reachable, the Redis; see `claim_store`."""
    require_prefix(settings, store)
    try:
        async with connect(find_redis(settings), client_name="reckoner-owner") as redis:
            await check(redis)
            await claim_store(redis, settings, store)
    except ForeignStoreError:
        raise
    except ReckonerError:
        # The next caller with a Redis checks that part.
        claim_prefix(settings, store)


async def take_store(settings: Settings, store: Store) -> bool:
    """Take a store over for the prefix and the Redis, whoever owns it.

    Returns:
        Whether there is a Redis; without one, the first Redis of the prefix becomes the owner.

    Raises:
        RedisUnavailableError: the Redis is unavailable; the store is unchanged.
    """
    owner = msgspec.json.encode(Owner(1, settings.prefix))
    try:
        url = find_redis(settings)
    except NoRedisError:
        store.remove_mark(SERVER_MARK)
        store.set_mark(OWNER_MARK, owner, replace=True)
        return False
    mark = Server(1, secrets.token_hex(16), _is_embedded(settings))
    try:
        async with connect(url, client_name="reckoner-owner") as redis:
            await check(redis)
            await ask(redis, "SET", Keys(settings.prefix).store, mark.token)
    except Exception as error:
        from redis.exceptions import RedisError

        trouble = unavailable(redis, error) if isinstance(error, RedisError) else error
        if not isinstance(trouble, RedisUnavailableError):
            raise
        raise RedisUnavailableError(f"{str(trouble).rstrip('.')}. The store is unchanged.") from error
    store.set_mark(SERVER_MARK, msgspec.json.encode(mark), replace=True)
    store.set_mark(OWNER_MARK, owner, replace=True)
    return True


def _claim_prefix_and_read_server(settings: Settings, store: Store) -> Server | None:
    claim_prefix(settings, store)
    return server_of(settings, store)


async def _set_token(redis: "Redis", key: str, token: str) -> bytes:
    """Set the token in Redis unless it has one, and return the present one."""
    await ask(redis, "SET", key, token, "NX")
    held: bytes = await ask(redis, "GET", key)
    return held


def _is_embedded(settings: Settings) -> bool:
    """Whether Redis and store belong to the same home."""
    if settings.redis_url or is_bucket(settings.store_location):
        return False
    return store_directory(settings.store_location).resolve().is_relative_to(settings.home_path.resolve())


def _read(settings: Settings, data: bytes | None, kind: type[M]) -> M | None:
    try:
        return None if data is None else msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _foreign(settings, "an unknown owner, since its marks are damaged", "this one") from error


def _unmarked(settings: Settings) -> ForeignStoreError:
    where = describe(settings.redis_url) if settings.redis_url else "the embedded Redis"
    return ForeignStoreError(
        f"The store {describe_store(settings.store_location)} is empty, but {where} has another one. Mount that store "
        f"there, or set {variable_of('store_url')} to it. To start with this one, run `reckoner store take`."
    )


def _foreign(settings: Settings, owner: str, ours: str) -> ForeignStoreError:
    return ForeignStoreError(
        f"The store {describe_store(settings.store_location)} belongs to {owner}. Set {variable_of('store_url')} to "
        f"another store for {ours}. If nobody else needs this one, take it over with `reckoner store take`."
    )
