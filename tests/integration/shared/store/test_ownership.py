"""A store belongs to one prefix of one Redis: the first that comes, until another one takes it over."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from reckoner.shared.errors import ForeignStoreError, RedisUnavailableError
from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.embedded import EmbeddedServer
from reckoner.shared.redis.keys import Keys
from reckoner.shared.redis.scripts import ask
from reckoner.shared.settings import Settings
from reckoner.shared.store.directory import DirectoryStore
from reckoner.shared.store.location import open_store
from reckoner.shared.store.ownership import (
    OWNER_MARK,
    SERVER_MARK,
    claim_prefix,
    claim_store,
    claim_store_or_prefix,
    require_prefix,
    take_store,
)
from reckoner.shared.store.protocol import Store

StartServer = Callable[..., EmbeddedServer]


@pytest.fixture
def settings(tmp_path: Path, prefix: str, redis_url: str) -> Settings:
    """Those of a Redis of one's own, with the store in the home."""
    return Settings(home=str(tmp_path / "a höme"), prefix=prefix, redis_url=redis_url)


@pytest.fixture
def store(settings: Settings) -> Store:
    """A store that is nobody's."""
    return open_store(settings.store_location)


@pytest.fixture
async def other(redis_url: str) -> AsyncIterator[Redis]:
    """Another database of the same server."""
    pool = connect(f"{redis_url}?db=1")
    yield pool
    await pool.aclose()


def marks(store: Store) -> tuple[bytes | None, bytes | None]:
    return store.mark(OWNER_MARK), store.mark(SERVER_MARK)


async def test_the_first_one_owns_a_store(redis: Redis, settings: Settings, store: Store) -> None:
    """Twenty who begin at once agree, and nothing changes when they come again."""
    await asyncio.gather(*(claim_store(redis, settings, store) for _ in range(20)))
    token, before = await ask(redis, "GET", Keys(settings.prefix).store), marks(store)
    assert await ask(redis, "TTL", Keys(settings.prefix).store) == -1
    assert msgspec.json.decode(before[0] or b"") == {"format": 1, "prefix": settings.prefix}
    assert msgspec.json.decode(before[1] or b"") == {"format": 1, "token": token.decode(), "embedded": False}
    await claim_store(redis, settings, store)
    assert (marks(store), await ask(redis, "GET", Keys(settings.prefix).store)) == (before, token)


async def test_whose_a_store_is_is_read_and_marked_beside_the_event_loop(
    redis: Redis, settings: Settings, tmp_path: Path
) -> None:
    """Which a store that hangs would block; from the first look to the last mark."""
    threads = set[str]()

    class Noting(DirectoryStore):
        def mark(self, name: str) -> bytes | None:
            threads.add(threading.current_thread().name)
            return super().mark(name)

        def set_mark(self, name: str, data: bytes, *, replace: bool = False) -> bytes:
            threads.add(threading.current_thread().name)
            return super().set_mark(name, data, replace=replace)

    store = Noting(tmp_path / "noting")
    for _ in range(2):
        await claim_store(redis, settings, store)
    assert threading.current_thread().name not in threads
    assert marks(store)[1] is not None


async def test_of_two_prefixes_at_once_one_owns_it(redis: Redis, settings: Settings, store: Store) -> None:
    """The other one is refused, then and later, in a sentence that says whose it is and what to do."""
    shops = [msgspec.structs.replace(settings, prefix=f"{settings.prefix}-{shop}") for shop in "ab"]
    answers = await asyncio.gather(*(claim_store(redis, shop, store) for shop in shops * 5), return_exceptions=True)
    for first, second in ((0, 1), (1, 0)):
        if answers[first] is None:
            owner, loser = shops[first], shops[second]
    with pytest.raises(ForeignStoreError) as refused:
        await claim_store(redis, loser, store)
    place = Path(settings.home) / "store"
    assert str(refused.value) == (
        f"The store {place} belongs to prefix {owner.prefix}. Set RECKONER_STORE_URL to another store for prefix "
        f"{loser.prefix}. If nobody else needs this one, take it over with `reckoner store take`."
    )
    await claim_store(redis, owner, store)
    assert [isinstance(answer, ForeignStoreError) for answer in answers].count(True) == 5


async def test_of_two_databases_at_once_one_owns_it(
    redis: Redis, other: Redis, settings: Settings, store: Store
) -> None:
    """With one prefix; also where both complete what an import has begun without them."""
    claim_prefix(settings, store)
    pools = [redis, other]
    answers = await asyncio.gather(*(claim_store(pool, settings, store) for pool in pools * 5), return_exceptions=True)
    assert [isinstance(answer, ForeignStoreError) for answer in answers].count(True) == 5
    kept, refused = (redis, other) if answers[0] is None else (other, redis)
    await claim_store(kept, settings, store)
    with pytest.raises(
        ForeignStoreError, match=r"of another Redis, or of this one before it was emptied\. Set RECKONER"
    ):
        await claim_store(refused, settings, store)


async def test_an_emptied_redis_gets_advice(redis: Redis, settings: Settings, store: Store) -> None:
    """It looks like another Redis; one command repairs that."""
    await claim_store(redis, settings, store)
    await ask(redis, "DEL", Keys(settings.prefix).store)
    with pytest.raises(ForeignStoreError, match="`reckoner store take`"):
        await claim_store(redis, settings, store)
    assert await take_store(settings, store)
    await claim_store(redis, settings, store)


async def test_the_former_owner_of_a_store_gets_an_error(
    redis: Redis, other: Redis, settings: Settings, store: Store
) -> None:
    """A store that was taken over belongs to the new owner, even if the former one holds its old token."""
    await claim_store(other, settings, store)
    assert await take_store(settings, store)
    await claim_store(redis, settings, store)
    with pytest.raises(ForeignStoreError):
        await claim_store(other, settings, store)


async def test_a_store_can_be_taken_without_a_redis(redis: Redis, settings: Settings, store: Store) -> None:
    """Where none is set: by another prefix too, and it belongs to the first Redis then with which it is used."""
    await claim_store(redis, settings, store)
    without = msgspec.structs.replace(settings, prefix=f"{settings.prefix}-b", redis_url="")
    assert not await take_store(without, store)
    with pytest.raises(ForeignStoreError):
        require_prefix(settings, store)
    await claim_store(redis, msgspec.structs.replace(without, redis_url=settings.redis_url), store)


@pytest.mark.parametrize("how", ["away", "full"])
async def test_a_store_is_not_taken_for_a_redis_that_cannot_be_used(
    settings: Settings, store: Store, fresh_server: StartServer, how: str
) -> None:
    """It would be nobody's then; the sentence says that nothing was changed, and the same command takes it later."""
    url = fresh_server().url
    async with connect(url) as redis:
        other = msgspec.structs.replace(settings, redis_url=url)
        await claim_store(redis, other, store)
        before = marks(store), await ask(redis, "GET", Keys(settings.prefix).store)
        if how == "full":
            await ask(redis, "CONFIG", "SET", "maxmemory", 1)
        refusing = msgspec.structs.replace(other, redis_url="redis://127.0.0.1:1") if how == "away" else other
        with pytest.raises(RedisUnavailableError, match=r"^Redis at \S.*\. The store is unchanged\.$"):
            await take_store(refusing, store)
        assert (marks(store), await ask(redis, "GET", Keys(settings.prefix).store)) == before
        await ask(redis, "CONFIG", "SET", "maxmemory", 0)
        assert await take_store(other, store)
        assert marks(store) != before[0]


async def test_the_embedded_redis_of_the_home_may_be_emptied(
    redis: Redis, settings: Settings, store: Store, fresh_server: StartServer
) -> None:
    """Its data are lost, or flushed: it is the only one that there is in that home. Another Redis is another one."""
    home = msgspec.structs.replace(settings, redis_url="")
    for _ in range(2):
        server = fresh_server(home.home_path)
        async with connect(server.url) as embedded:
            await asyncio.gather(*(claim_store(embedded, home, store) for _ in range(5)))
            await ask(embedded, "FLUSHALL")
            await claim_store(embedded, home, store)
            assert await ask(embedded, "EXISTS", Keys(home.prefix).store)
            await ask(embedded, "FLUSHALL")
        server.stop()
    with pytest.raises(ForeignStoreError):
        await claim_store(redis, settings, store)


async def test_the_embedded_redis_does_not_take_the_store_of_another_one(
    redis: Redis, settings: Settings, store: Store, fresh_server: StartServer
) -> None:
    """Even if the store lies in its home."""
    await claim_store(redis, settings, store)
    home = msgspec.structs.replace(settings, redis_url="")
    async with connect(fresh_server(home.home_path).url) as embedded:
        with pytest.raises(ForeignStoreError):
            await claim_store(embedded, home, store)


async def test_an_import_without_redis_marks_the_prefix_alone(redis: Redis, settings: Settings, store: Store) -> None:
    """The first one that has a Redis completes it; with a Redis the import does."""
    away = msgspec.structs.replace(settings, redis_url="redis://127.0.0.1:1")
    await claim_store_or_prefix(away, store)
    assert marks(store)[0] is not None
    assert marks(store)[1] is None
    await claim_store_or_prefix(settings, store)
    assert marks(store)[1] is not None
    await claim_store_or_prefix(away, store)
    await ask(redis, "SET", Keys(settings.prefix).store, "0" * 32)
    with pytest.raises(ForeignStoreError):
        await claim_store_or_prefix(settings, store)


async def test_an_empty_place_is_not_taken_for_the_store_that_a_redis_has(
    redis: Redis, settings: Settings, store: Store, tmp_path: Path
) -> None:
    """A worker without its mount would find no model and fail every job, and an import would go to the wrong place.

    `store take` confirms a move.
    """
    await claim_store(redis, settings, store)
    moved = msgspec.structs.replace(settings, store_url=(tmp_path / "mount").as_uri())
    empty = open_store(moved.store_location)
    for refused in (
        claim_store(redis, moved, empty),
        claim_store_or_prefix(moved, empty),
        claim_store(redis, moved, empty),
    ):
        with pytest.raises(ForeignStoreError, match=r"is empty, but .* has another one\. Mount that store there"):
            await refused
    assert marks(empty) == (None, None)
    assert await take_store(moved, empty)
    await claim_store(redis, moved, empty)


@pytest.mark.parametrize("name", [OWNER_MARK, SERVER_MARK])
@pytest.mark.parametrize("data", [b"", b"\xff", b"{}", b'{"format": 2}', b'{"format": 1, "prefix": "a\\nb"}'])
async def test_marks_that_are_damaged_are_refused(
    redis: Redis, settings: Settings, store: Store, name: str, data: bytes
) -> None:
    """In a sentence with the way out."""
    await claim_store(redis, settings, store)
    store.set_mark(name, data, replace=True)
    with pytest.raises(ForeignStoreError, match=r"marks are damaged\. Set .* take it over with `reckoner store take`"):
        await claim_store(redis, settings, store)
    assert await take_store(settings, store)
    await claim_store(redis, settings, store)
