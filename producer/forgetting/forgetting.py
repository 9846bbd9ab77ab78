"""Forgets users: no later snapshot has them, no event is recorded for them, and Redis loses what it has of them."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from redis.exceptions import ResponseError

from reckoner.producer.client.calls import translates_redis_errors
from reckoner.producer.forgetting.erasing import Eraser
from reckoner.producer.forgetting.finding import Search
from reckoner.producer.importing.pipeline import import_interactions
from reckoner.producer.importing.recorded import RecordedEvents
from reckoner.shared.errors import ForgetRefusedError, SourceError
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.generations import decode_generation_lists
from reckoner.shared.store.forgotten import set_forgotten
from reckoner.shared.store.protocol import GRACE_S, Store
from reckoner.shared.store.snapshots import KIND, open_snapshot

if TYPE_CHECKING:
    from reckoner.producer.client.reckoner import Reckoner

# Rewriting an append-only file takes seconds for each GB.
REWRITE_S, LOOK_S = 60.0, 0.1


class Holder(NamedTuple):
    """A snapshot that still has a forgotten user."""

    snapshot: str
    user: str
    """Who needs it, empty if nobody does."""
    until_ms: int | None
    """When it is deleted, in milliseconds since 1970; None while it is needed."""


class Forgetting:
    """Forgets users over a client's connections, in the artifact store of its workers.

    All calls raise RedisUnavailableError if Redis does not answer, and StoreError if the store cannot be used. They can
    be repeated after an error.
    """

    def __init__(self, reckoner: "Reckoner", store: Store, users: Sequence[str]) -> None:
        self._client = reckoner._client
        self._store, self._users = store, users

    @translates_redis_errors
    async def forget(self) -> int:
        """Forget the users; returns how many keys and entries of Redis are deleted.

        The current snapshot is replaced by one without them, unless it has no others.
        """
        forgotten = await asyncio.to_thread(set_forgotten, self._store, self._users)
        await self._client.events.set_forgotten(forgotten)
        erased = await Eraser(self._client, self._users).erase()
        await asyncio.to_thread(_replace_current, self._store, self._users)
        return erased

    @translates_redis_errors
    async def undo(self) -> None:
        """Record events of the users again, and let later snapshots have them. What was deleted stays so."""
        forgotten = await asyncio.to_thread(set_forgotten, self._store, self._users, undo=True)
        await self._client.events.set_forgotten(forgotten)

    @translates_redis_errors
    async def rewrite_file(self) -> bool:
        """Let the server rewrite its append-only file, which has the users until then; False if it may not."""
        redis, end = self._client.redis, time.monotonic() + REWRITE_S
        try:
            await ask(redis, "BGREWRITEAOF")
            while time.monotonic() < end:
                facts = await redis.info("persistence")
                if not (facts["aof_rewrite_in_progress"] or facts["aof_rewrite_scheduled"]):
                    return bool(facts["aof_last_bgrewrite_status"] == "ok")
                await asyncio.sleep(LOOK_S)
        except (ResponseError, KeyError):
            pass
        return False

    @translates_redis_errors
    async def holders(self) -> list[Holder]:
        """The snapshots that still have one of the users, with the date when each is deleted."""
        found = await asyncio.to_thread(Search(self._client, self._users).in_snapshots, self._store)
        needed, now_ms = await self._needed(), time.time() * 1000
        return [
            Holder(name, needed[name], None)
            if name in needed
            else Holder(name, "", int(now_ms + max(GRACE_S - age_s, 0) * 1000))
            for name, age_s in found
        ]

    @translates_redis_errors
    async def delete_holders(self) -> None:
        """Delete the snapshots with one of the users at once that nobody needs.

        Raises:
            ForgetRefusedError: a job or run is under way, which may need one.
        """
        for live in self._client.keys.all_live:
            if await ask(self._client.redis, "ZCARD", live):
                raise ForgetRefusedError
        for holder in await self.holders():
            if not holder.user:
                await asyncio.to_thread(self._store.delete, KIND, holder.snapshot)

    @translates_redis_errors
    async def search(self, folders: Sequence[Path]) -> tuple[list[str], list[str]]:
        """The keys of Redis and the files below some folders that have one of the users; see `Search`."""
        search = Search(self._client, self._users)
        return await search.in_redis(), await asyncio.to_thread(search.in_files, folders)

    async def _needed(self) -> dict[str, str]:
        """The snapshots that are needed, and by whom."""
        generations, keys = self._client.results.generations, self._client.keys
        needed = {
            decode_generation_lists(data).snapshot: f"generation {name.decode(errors='replace')}, which has lists"
            for name, data in (await generations.lists()).items()
        }
        for key, what in zip((keys.newest, keys.previous, keys.current), ("newest", "previous", "live"), strict=True):
            if record := (await generations.follow(key)).record:
                needed[record.snapshot] = f"the {what} generation {record.generation}"
        current = await asyncio.to_thread(self._store.current_snapshot)
        return needed | ({current: "the next fit, as it is the current snapshot"} if current else {})


def _replace_current(store: Store, users: Sequence[str]) -> None:
    current = store.current_snapshot()
    if current is None:
        return
    known = open_snapshot(store.fetch(KIND, current)).users
    if all(known.find(user) is None for user in users):
        return
    try:
        # An import that appends nothing.
        import_interactions(None, store, append=True, read_events=lambda _, mark: RecordedEvents(mark))
    except SourceError:
        # It has no other users.
        return
