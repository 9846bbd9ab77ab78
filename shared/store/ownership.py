"""Whose an artifact store is: it belongs to one prefix of one Redis, as two marks in it and a token in Redis say.

Each mark is made once, whoever is first, and only `take_store` puts another in its place: the first one names the
prefix, which an import knows without a Redis, and the second holds the token of the Redis. Of two prefixes on one store
either would delete what the other one serves, and each would make its own snapshot current.
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
from reckoner.shared.store.location import store_directory
from reckoner.shared.store.protocol import Store

if TYPE_CHECKING:
    from arq import ArqRedis

OWNER_MARK = "owner.json"
SERVER_MARK = "owner-server.json"

M = TypeVar("M", "Owner", "Server")
R = TypeVar("R")


class Aside(Protocol):
    """Runs what reads or writes a store beside the event loop, which a store that hangs would block."""

    def __call__(self, work: Callable[[], R], /) -> Awaitable[R]:
        """What the work returns."""


class Owner(msgspec.Struct, frozen=True):
    """The first mark: the prefix that a store belongs to."""

    format: Literal[1]
    prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}\Z")]


class Server(msgspec.Struct, frozen=True):
    """The second mark: which Redis it belongs to."""

    format: Literal[1]
    token: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    embedded: bool
    """Whether that is the embedded one of the home in which the store lies: there is no other, emptied or not."""


def require_prefix(settings: Settings, store: Store) -> bool:
    """Make sure that a store is that of the prefix, or nobody's; False when it is nobody's.

    Raises:
        ForeignStoreError: it belongs to another prefix.
    """
    owner = _read(settings, store.mark(OWNER_MARK), Owner)
    if owner is not None and owner.prefix != settings.prefix:
        raise _foreign(settings, f"prefix {owner.prefix}", f"prefix {settings.prefix}")
    return owner is not None


def claim_prefix(settings: Settings, store: Store) -> None:
    """Make a store that is nobody's that of the prefix; see `require_prefix`."""
    if store.mark(OWNER_MARK) is None:
        # Another one may be first.
        store.set_mark(OWNER_MARK, msgspec.json.encode(Owner(1, settings.prefix)))
    require_prefix(settings, store)


def server_of(settings: Settings, store: Store) -> Server | None:
    """The Redis that a store of the prefix belongs to; None when that is still open.

    Raises:
        ForeignStoreError: the mark cannot be read.
    """
    return _read(settings, store.mark(SERVER_MARK), Server)


def require_server(settings: Settings, server: Server, token: bytes | None) -> None:
    """Make sure that a store belongs to the Redis that holds `token`, or to the embedded one that was emptied.

    Raises:
        ForeignStoreError: it belongs to another one, or to this one before it was emptied.
    """
    _require_token(settings, server, token, _is_embedded(settings))


def _require_token(settings: Settings, server: Server, token: bytes | None, embedded: bool) -> None:
    emptied = token is None and server.embedded and embedded
    if not emptied and token != server.token.encode():
        where = describe(settings.redis_url) if settings.redis_url else "the embedded Redis"
        owner = f"prefix {settings.prefix} of another Redis, or of this one before it was emptied"
        raise _foreign(settings, owner, where)


async def claim_store(redis: "ArqRedis", settings: Settings, store: Store, aside: Aside = asyncio.to_thread) -> None:
    """Make sure that a store is that of the prefix and the Redis; one that is nobody's is from now on.

    Raises:
        ForeignStoreError: it belongs to another prefix or another Redis.
        RedisUnavailableError: Redis is in trouble.
    """
    key = Keys(settings.prefix).store
    try:
        marked, embedded = await aside(lambda: (require_prefix(settings, store), _is_embedded(settings)))
        token = await ask(redis, "GET", key)
        # Another one may just have marked it, and then have written the token.
        if token is not None and not (marked or embedded or await aside(lambda: require_prefix(settings, store))):
            raise _unmarked(settings)
        server = await aside(lambda: _claim_prefix_and_read_server(settings, store))
        if server is None:
            # Redis first: who begins at the same moment under this Redis then marks the same.
            token = token or await _claim(redis, key, secrets.token_hex(16))
            mark = msgspec.json.encode(Server(1, token.decode(errors="replace"), embedded))
            server = _read(settings, await aside(lambda: store.set_mark(SERVER_MARK, mark)), Server)
            assert server is not None
        elif token is None:
            # Another one may just have marked it, and before that have written the token.
            token = await ask(redis, "GET", key)
        _require_token(settings, server, token, embedded)
        if token is None:
            _require_token(settings, server, await _claim(redis, key, server.token), embedded)
    except Exception as error:
        from redis.exceptions import RedisError

        if isinstance(error, RedisError) and is_transient_redis_error(error):
            raise unavailable(redis, error) from error
        raise


async def claim_store_or_prefix(settings: Settings, store: Store) -> None:
    """Make sure that a store is that of the prefix, and where a Redis can be reached, of that; see `own`."""
    require_prefix(settings, store)
    try:
        async with connect(find_redis(settings), client_name="reckoner-owner") as redis:
            await check(redis)
            await claim_store(redis, settings, store)
    except ForeignStoreError:
        raise
    except ReckonerError:
        # Whoever comes with a Redis looks again.
        claim_prefix(settings, store)


async def take_store(settings: Settings, store: Store) -> bool:
    """Make a store that of the prefix and the Redis, whoever has had it.

    Returns:
        Whether there is a Redis; if none is set and none runs, the store belongs to the prefix's first that comes.

    Raises:
        RedisUnavailableError: the Redis that there is cannot be used; the store is as it was.
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
        raise RedisUnavailableError(f"{str(trouble).rstrip('.')}: the store was left as it was.") from error
    store.set_mark(SERVER_MARK, msgspec.json.encode(mark), replace=True)
    store.set_mark(OWNER_MARK, owner, replace=True)
    return True


def _claim_prefix_and_read_server(settings: Settings, store: Store) -> Server | None:
    claim_prefix(settings, store)
    return server_of(settings, store)


async def _claim(redis: "ArqRedis", key: str, token: str) -> bytes:
    """The token that Redis holds, which is `token` if it held none."""
    await ask(redis, "SET", key, token, "NX")
    held: bytes = await ask(redis, "GET", key)
    return held


def _is_embedded(settings: Settings) -> bool:
    """Whether Redis and store are those of one home."""
    if settings.redis_url:
        return False
    return store_directory(settings.store_location).resolve().is_relative_to(settings.home_path.resolve())


def _read(settings: Settings, data: bytes | None, kind: type[M]) -> M | None:
    try:
        return None if data is None else msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _foreign(settings, "nobody that can be told, since its marks are damaged", "this one") from error


def _unmarked(settings: Settings) -> ForeignStoreError:
    where = describe(settings.redis_url) if settings.redis_url else "the embedded Redis"
    return ForeignStoreError(
        f"The store {store_directory(settings.store_location)} is empty, and {where} has one already: mount that one "
        f"there, or set {variable_of('store_url')} to it, or, to begin with this one, run `reckoner store take`."
    )


def _foreign(settings: Settings, owner: str, ours: str) -> ForeignStoreError:
    return ForeignStoreError(
        f"The store {store_directory(settings.store_location)} belongs to {owner}: set {variable_of('store_url')} to "
        f"another store for {ours}, or, where nobody else needs this one, take it over with `reckoner store take`."
    )
