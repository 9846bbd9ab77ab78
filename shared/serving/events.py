"""Events: interactions that no live snapshot holds yet, in a stream and in the recent histories of their users."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import msgspec
from redis.exceptions import ResponseError

from reckoner.shared.errors import WireError
from reckoner.shared.ids import fresh_id
from reckoner.shared.redis.keys import Keys, job_key
from reckoner.shared.redis.scripts import Value, ask, call
from reckoner.shared.redis.scripts.constants import SLICE
from reckoner.shared.store.forgotten import Forgotten
from reckoner.shared.tracing import caller
from reckoner.shared.wire.jobs import Split, encode_job
from reckoner.shared.wire.shapes import EVENT, SPEC, Event, UserSpec

if TYPE_CHECKING:
    from redis.asyncio import Redis

# A script with more work would block the server for over 5 ms. A user, who gets a job, is as much as some events.
WORK_AT_ONCE, WORK_OF_USER = 750, 4
USERS_AT_ONCE = 100
# Events that leave the stream at a time.
AT_ONCE = 10_000
# Events that are read from the stream at a time: some milliseconds of the server's.
ENTRIES_AT_ONCE = 4_000
# Entries of the stream: the id and the fields of each.
Entries: TypeAlias = list[tuple[bytes, dict[bytes, bytes]]]
# What became of an event; see `record.lua`.
Recorded = Literal["recorded", "seen", "full", "later", "ahead", "forgotten"]


class UserEvent(NamedTuple):
    """An event of a user, with an id of the caller's, empty for none."""

    user: str
    event: Event
    id: str = ""


class Mark(NamedTuple):
    """An id in the stream: a snapshot with this mark holds all events up to it."""

    ms: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.sequence}"


class Recent(NamedTuple):
    """What is known of a user beside a snapshot: its version, events in the order of the stream, hidden items.

    Each event comes with its id in the stream.
    """

    user: str
    version: bytes
    events: list[tuple[Mark, Event]]
    hides: list[str]


# Before all events, and after all.
BEGINNING, LAST = Mark(0, 0), Mark(2**63, 0)


def parse_mark(text: str) -> Mark:
    """Parse a mark, as in `1700000000000-0`.

    Raises:
        WireError: it is invalid.
    """
    ms, _, sequence = text.partition("-")
    if not (ms.isdecimal() and sequence.isdecimal() and len(text) <= 41):
        raise WireError(f"The id of an event is invalid: {text[:60]!a}.")
    return Mark(int(ms), int(sequence))


class MovedError(Exception):
    """Another generation went live since it was read."""


def slices(events: Sequence[UserEvent]) -> Iterator[list[int]]:
    """The events of each call of `record`, by their numbers: users one after the other, their events in order."""
    some, work, user = list[int](), 0, None
    for number in sorted(range(len(events)), key=lambda number: events[number].user):
        is_next = events[number].user != user
        if work + is_next * WORK_OF_USER >= WORK_AT_ONCE:
            yield some
            some, work, is_next = [], 0, True
        user = events[number].user
        some.append(number)
        work += 1 + is_next * WORK_OF_USER
    if some:
        yield some


class Events:
    """The events under one prefix. The stream holds `most_events` at most."""

    def __init__(self, redis: "Redis", keys: Keys, first_look_s: float, most_events: int) -> None:
        self._redis = redis
        self._keys = keys
        self._first_look_ms = int(first_look_s * 1000)
        self._most_events = most_events

    async def record(
        self, events: Sequence[UserEvent], generation: str, most_queued: int | None = None
    ) -> list[Recorded]:
        """Record a slice of events, see `slices`, and let the users' lists of a generation be computed again.

        Without a generation, an empty string, there are no lists. Above `most_queued` jobs the lists become stale.

        Raises:
            MovedError: the pointer does not name the generation; nothing was recorded.
        """
        keys, users = self._keys, {event.user: 0 for event in events}
        names = [keys.event_stream, keys.recents, keys.recent_versions, keys.stale, keys.current]
        names += [*keys.lanes, keys.live_stem, keys.later, keys.forgotten]
        arguments: list[Value] = [generation, self._most_events, "" if most_queued is None else most_queued]
        arguments += [self._first_look_ms, keys.flow(""), len(users), caller()]
        for number, user in enumerate(users, 1):
            users[user], split = number, Split(fresh_id())
            names += [keys.recent(user), keys.left(user), keys.refreshed(user), keys.join_user(generation, user)]
            names += [keys.flow(split.flow), job_key(split.job_id)]
            spec = SPEC.encode(UserSpec(user, generation)) if generation else b""
            arguments += [user, split.flow, spec, split.job_id, encode_job(split)]
        names += [keys.event(each.id) if each.id else keys.event_stream for each in events]
        for user, event, event_id in events:
            left = b"" if event.role == "signal" else msgspec.json.encode(event.item)
            arguments += [users[user], int(bool(event_id)), EVENT.encode(event), left]
        answers = await call(self._redis, "record", names, arguments)
        if answers is None:
            raise MovedError
        return [answer.decode() for answer in answers]

    async def forgotten_among(self, users: Sequence[str]) -> set[str]:
        """Which of some users are forgotten; mostly one round trip."""
        key = await ask(self._redis, "HGET", self._keys.forgotten, "key")
        if key is None or not users:
            return set()
        known = Forgotten(key.decode(errors="replace"))
        since = await ask(self._redis, "HMGET", self._keys.forgotten, *map(known.hash_of, users))
        return {user for user, found in zip(users, since, strict=True) if found is not None}

    async def set_forgotten(self, forgotten: Forgotten) -> None:
        """Refuse the events of these users from now on, and of no others."""
        values: list[Value] = [value for name in forgotten.users for value in (name, "1")]
        async with self._redis.pipeline() as pipe:
            pipe.execute_command("DEL", self._keys.forgotten)
            if forgotten.users:
                pipe.execute_command("HSET", self._keys.forgotten, "key", forgotten.key, *values)
            await pipe.execute()

    async def hide(self, user: str, items: Sequence[str], *, show: bool = False) -> int:
        """Hide items from a user, or show them again; returns how many were not hidden, or not shown, before.

        It is -1, and nothing was changed, if the user would hide over `MOST_HIDES`.
        """
        keys = self._keys
        names = [keys.event_stream, keys.recents, keys.recent_versions, keys.stale]
        names += [keys.recent(user), keys.left(user), keys.hides(user)]
        return int(await call(self._redis, "hide_for", names, [user, "show" if show else "hide", *items]))

    async def hidden_for(self, user: str) -> list[str]:
        """The items that are hidden from a user, in the order of their bytes."""
        hides = await ask(self._redis, "SMEMBERS", self._keys.hides(user))
        return sorted(item.decode(errors="replace") for item in hides)

    async def move(self, visitor: str, user: str) -> int:
        """Move the recent history and the hides of a visitor to a user, without the events that an import has taken.

        Returns:
            The number of moved events. Nothing was moved if it is -1, since the user would have more than
            `MOST_RECENT`, -2, since the visitor has more, or -3, since the user would hide over `MOST_HIDES` items.
        """
        keys = self._keys
        names = [keys.event_stream, keys.taken, keys.later, keys.recents, keys.recent_versions, keys.stale]
        for name in (visitor, user):
            names += [keys.recent(name), keys.left(name), keys.hides(name)]
        return int(await call(self._redis, "join_histories", names, [visitor, user]))

    def recent(self, first: str, last: str | None = None) -> AsyncIterator[Recent]:
        """Yield what is known of the users from `first` to `last` in the order of their bytes; by default of `first`.

        Invalid events are left out.
        """
        return self._recent(b"[" + first.encode(), b"[" + (first if last is None else last).encode())

    async def _recent(self, start: bytes, end: bytes) -> AsyncIterator[Recent]:
        keys = self._keys
        while True:
            arguments: list[Value] = [keys.recent(""), keys.hides(""), start, end, USERS_AT_ONCE]
            page = await call(self._redis, "recents", [keys.recents, keys.recent_versions], arguments)
            for user, version, entries, hides in page:
                found = [event for event in map(_decode, entries) if event is not None]
                items = sorted(item.decode(errors="replace") for item in hides)
                yield Recent(user.decode(errors="replace"), version, found, items)
            if len(page) < USERS_AT_ONCE:
                return
            start = b"(" + page[-1][0]

    async def last(self) -> Mark:
        """The id of the last event that was recorded, also if the stream has lost it; `BEGINNING` without any."""
        try:
            found = await ask(self._redis, "XINFO", "STREAM", self._keys.event_stream)
        except ResponseError as error:
            if "no such key" in str(error):
                return BEGINNING
            raise
        return parse_mark(found[found.index(b"last-generated-id") + 1].decode())

    async def take(self) -> Mark:
        """Let an import have the events up to the last one, which no longer move to other users; returns its id."""
        return parse_mark((await call(self._redis, "take", [self._keys.event_stream, self._keys.taken])).decode())

    async def recorded(self, after: Mark, last: Mark) -> AsyncIterator[Entries]:
        """Yield the entries of the stream after a mark up to another one, some thousands at a time."""
        start = f"({after}"
        while True:
            page: Entries = await ask(
                self._redis, "XRANGE", self._keys.event_stream, start, str(last), "COUNT", ENTRIES_AT_ONCE
            )
            if page:
                yield page
            if len(page) < ENTRIES_AT_ONCE:
                return
            start = f"({page[-1][0].decode()}"

    async def first(self) -> Mark | None:
        """The id of the first event in the stream, None without any."""
        found = await ask(self._redis, "XRANGE", self._keys.event_stream, "-", "+", "COUNT", "1")
        return parse_mark(found[0][0].decode()) if found else None

    async def trim(self, mark: Mark, made_ms: int = 0) -> int:
        """Drop the events up to a mark, from the recent histories and then from the stream; returns their number.

        Users without events and hides are dropped too, if no list is older than their last change: all lists count the
        events up to the mark, and were made after `made_ms` (milliseconds since 1970).

        It works in slices, and can be repeated after a failure.
        """
        keys, start, dropped = self._keys, b"-", 0
        while page := await ask(self._redis, "ZRANGEBYLEX", keys.recents, start, "+", "LIMIT", "0", str(USERS_AT_ONCE)):
            names = [keys.recents, keys.recent_versions, keys.later]
            for user in (user.decode(errors="replace") for user in page):
                names += [keys.recent(user), keys.left(user), keys.hides(user)]
            dropped += int(await call(self._redis, "trim", names, [str(mark), made_ms, *page]))
            start = b"(" + page[-1]
        after = f"{mark.ms}-{mark.sequence + 1}"
        # Whole nodes at first, some milliseconds at a time.
        while await ask(self._redis, "XTRIM", keys.event_stream, "MINID", "~", after, "LIMIT", AT_ONCE):
            pass
        await ask(self._redis, "XTRIM", keys.event_stream, "MINID", after)
        return dropped

    async def add_changed(self, counted: Mark) -> None:
        """Let the lists of the users be computed again who have changed since lists that count events up to a mark."""
        keys, cursor = self._keys, -1
        while cursor:
            cursor, page = await self._redis.hscan(keys.recent_versions, max(cursor, 0), count=SLICE)
            changes = ((user, int(at)) for user, at in page.items() if at.isdigit() and len(at) < 17)
            members: list[Value] = [value for user, at in changes if at >= counted.ms * 1000 for value in (at, user)]
            if members:
                await ask(self._redis, "ZADD", keys.stale, *members)

    async def take_stale(self, most: int) -> dict[bytes, bytes]:
        """Up to `most` users whose lists are to be computed again, and since when; see `settled`."""
        page = await ask(self._redis, "ZRANGE", self._keys.stale, 0, most - 1, "WITHSCORES")
        return dict(zip(page[::2], page[1::2], strict=True))

    async def settled(self, users: Mapping[bytes, bytes]) -> None:
        """Note that jobs were made for these stale users; those that are stale again stay so."""
        if users:
            await call(self._redis, "settled", [self._keys.stale], list(chain.from_iterable(users.items())))


def _decode(entry: bytes) -> tuple[Mark, Event] | None:
    """An event of a recent history and its id in the stream; None for an invalid one."""
    at, _, data = entry.partition(b" ")
    try:
        return parse_mark(at.decode()), EVENT.decode(data)
    except (WireError, UnicodeDecodeError):
        return None
