"""One examination: the settings, then Redis and what is in it, then the store; each goes on without the others."""

from collections.abc import AsyncIterator, Iterator
from functools import partial

from redis.exceptions import RedisError

from reckoner.producer.doctor.findings import Finding, NotSeenError, finding, findings, judge
from reckoner.producer.doctor.server import SERVER_CHECKS, Site
from reckoner.producer.doctor.storage import STORE_CHECKS, Storage, Tell, artifacts, open_storage
from reckoner.producer.doctor.system import SYSTEM_CHECKS
from reckoner.shared.errors import ReckonerError
from reckoner.shared.redis.connections import check, connect, describe
from reckoner.shared.redis.embedded import find_redis
from reckoner.shared.redis.scripts import ask
from reckoner.shared.settings import VARIABLE_PREFIX, LoadedSettings
from reckoner.shared.store.location import open_store
from reckoner.shared.store.ownership import require_prefix, require_server, server_of
from reckoner.shared.store.protocol import ArtifactKind


class Examination:
    """An examination under some settings."""

    def __init__(self, reading: LoadedSettings) -> None:
        self._reading = reading
        self._settings = reading.settings
        self._live: str | None = None
        self._named: list[tuple[ArtifactKind, str]] | None = None
        self._token: bytes | None = None

    def settings(self) -> Finding:
        """That they could be read is known by now; it says from where."""
        variables = sum(origin.startswith(VARIABLE_PREFIX) for origin in self._reading.origins.values())
        file = self._reading.file or "No file of settings"
        return Finding("settings", "ok", f"{file}, and {variables} set by variables.")

    async def redis(self) -> AsyncIterator[Finding]:
        """The lines of Redis and what is in it; one alone when it cannot be reached."""
        try:
            url = find_redis(self._settings)
            pool = connect(url, client_name="reckoner-doctor")
        except ReckonerError as error:
            yield judge("redis", error)
            return
        site = Site(pool, self._settings, describe(url))
        try:
            await check(pool)
        except ReckonerError as error:
            # Workers refuse to start with the same error.
            await pool.aclose()
            yield judge("redis", error)
            return
        async for line in findings(SERVER_CHECKS | SYSTEM_CHECKS, site):
            yield line
        try:
            self._token = await ask(site.redis, "GET", site.keys.store)
            self._named = await _named(site)
            current = await site.results.generations.follow(site.keys.current)
            self._live = current.record.snapshot if current.record else None
        except RedisError:
            # Whoever may not look has been told.
            pass
        finally:
            await pool.aclose()

    def store(self, tell: Tell) -> Iterator[Finding]:
        """The lines of the store, that of the artifacts last; one alone when it cannot be used."""
        try:
            storage = open_storage(self._settings.store_location, self._named or (), self._live)
        except Exception as error:
            yield judge("store", error)
            return
        yield Finding("store", "ok", f"{storage.directory}: written, read, and tidied again.")
        yield finding("owner", self._owner)
        for name, look in STORE_CHECKS.items():
            yield finding(name, partial(look, storage))
        yield self._artifacts(storage, tell)

    def _owner(self) -> str:
        """The store belongs to this prefix and this Redis, or to nobody yet."""
        settings = self._settings
        store = open_store(settings.store_location)
        if not require_prefix(settings, store):
            return "The store is nobody's yet: it belongs to the prefix and the Redis with which it is first used."
        server, whose = server_of(settings, store), f"The store belongs to prefix {settings.prefix}"
        if self._named is None:
            raise NotSeenError(f"{whose}; whether of this Redis could not be looked at.")
        if server is None:
            return f"{whose}, and to the Redis with which it is first used."
        require_server(settings, server, self._token)
        return f"{whose} of this Redis."

    def _artifacts(self, storage: Storage, tell: Tell) -> Finding:
        found = finding("artifacts", partial(artifacts, storage, tell))
        if found.state == "ok" and self._named is None:
            told = "Only the current snapshot was looked at, since Redis does not say what else is in use."
            return Finding(found.check, "unknown", told)
        return found


async def _named(site: Site) -> list[tuple[ArtifactKind, str]]:
    """The artifacts of the generations that the pointers name."""
    named = list[tuple[ArtifactKind, str]]()
    for key in site.keys.pointers:
        if record := (await site.results.generations.follow(key)).record:
            named += [("snapshots", record.snapshot), ("models", record.model)]
    return named
