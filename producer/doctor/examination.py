"""One examination: settings, Redis and its contents, the store; each part is checked even if another fails."""

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from reckoner.producer.doctor.findings import Finding, NotCheckedError, finding, findings, from_error
from reckoner.producer.doctor.server import SERVER_CHECKS, Site
from reckoner.producer.doctor.storage import STORE_CHECKS, Progress, Storage, artifacts, open_storage
from reckoner.producer.doctor.system import SYSTEM_CHECKS, passed_night, source_checked
from reckoner.shared.errors import ReckonerError
from reckoner.shared.redis.connections import check, connect, describe
from reckoner.shared.redis.embedded import find_redis
from reckoner.shared.redis.scripts import ask
from reckoner.shared.settings import VARIABLE_PREFIX, LoadedSettings
from reckoner.shared.store.location import describe_store, store_of
from reckoner.shared.store.ownership import require_prefix, require_server, server_of
from reckoner.shared.store.protocol import ArtifactKind

if TYPE_CHECKING:
    from datetime import datetime


class Examination:
    """An examination of the system that the settings describe."""

    def __init__(self, reading: LoadedSettings) -> None:
        self._reading = reading
        self._settings = reading.settings
        self._live: str | None = None
        self._night: datetime | None = None
        self._source_checked: datetime | None = None
        self._named: list[tuple[ArtifactKind, str]] | None = None
        self._token: bytes | None = None

    def settings(self) -> Finding:
        """The sources of the settings, which were read by now."""
        variables = sum(origin.startswith(VARIABLE_PREFIX) for origin in self._reading.origins.values())
        file = self._reading.file or "no settings file"
        return Finding("settings", "ok", f"Read from {file}, {variables} set by variables.")

    async def redis(self) -> AsyncIterator[Finding]:
        """The findings about Redis and its contents; only one if it cannot be reached."""
        try:
            url = find_redis(self._settings)
            pool = connect(url, client_name="reckoner-doctor")
        except ReckonerError as error:
            yield from_error("redis", error)
            return
        site = Site(pool, self._settings, describe(url))
        try:
            await check(pool)
        except ReckonerError as error:
            await pool.aclose()
            yield from_error("redis", error)
            return
        async for line in findings(SERVER_CHECKS | SYSTEM_CHECKS, site):
            yield line
        try:
            self._token = await ask(site.redis, "GET", site.keys.store)
            self._named = await _named(site)
            current = await site.results.generations.follow(site.keys.current)
            self._live = current.record.snapshot if current.record else None
            self._night, self._source_checked = await passed_night(site), await source_checked(site)
        except RedisError:
            # The findings above have reported this already.
            pass
        finally:
            await pool.aclose()

    def store(self, progress: Progress | None) -> Iterator[Finding]:
        """The findings about the store; only one if it cannot be used.

        With `progress` all bytes of the artifacts in use are read last, which may take long.
        """
        try:
            storage = open_storage(
                self._settings,
                self._named or (),
                self._live,
                nightly=bool(self._settings.nightly),
                night=self._night,
                source_checked=self._source_checked,
            )
        except Exception as error:
            yield from_error("store", error)
            return
        yield Finding("store", "ok", f"{describe_store(self._settings.store_location)} can be read and written.")
        yield finding("owner", self._owner)
        for name, look in STORE_CHECKS.items():
            yield finding(name, partial(look, storage))
        if progress is not None:
            yield self._artifacts(storage, progress)

    def _owner(self) -> str:
        """The store belongs to this prefix and this Redis, or has no owner yet."""
        settings = self._settings
        store = store_of(settings)
        if not require_prefix(settings, store):
            return "The store has no owner yet: its first user becomes the owner."
        server, owner = server_of(settings, store), f"The store belongs to prefix {settings.prefix}"
        if self._named is None:
            raise NotCheckedError(f"{owner}; whether of this Redis is unknown.")
        if server is None:
            return f"{owner} of the first Redis that uses it."
        require_server(settings, server, self._token)
        return f"{owner} of this Redis."

    def _artifacts(self, storage: Storage, progress: Progress) -> Finding:
        found = finding("artifacts", partial(artifacts, storage, progress))
        if found.state == "ok" and self._named is None:
            return Finding(found.check, "unknown", "Checked the current snapshot only: Redis did not name the others.")
        return found


async def _named(site: Site) -> list[tuple[ArtifactKind, str]]:
    """The artifacts of the generations in use."""
    named = list[tuple[ArtifactKind, str]]()
    for key in site.keys.pointers:
        if record := (await site.results.generations.follow(key)).record:
            named += [("snapshots", record.snapshot), ("models", record.model)]
    return named
