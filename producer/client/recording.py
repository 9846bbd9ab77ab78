"""Records what users do, and what must not be shown to them."""

import asyncio
import math
import sys
from collections.abc import Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeGuard, TypeVar

import msgspec

from reckoner.producer.client.answers import RecentEvent
from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.errors import HistoryTooLongError, NothingFittedError, UsageError, UserForgottenError
from reckoner.shared.event_types import IMPRESSION, EventTypes
from reckoner.shared.ids import require_id, shown
from reckoner.shared.redis.scripts.constants import MOST_HIDES, MOST_RECENT, SLICE
from reckoner.shared.serving.events import BEGINNING, MovedError, UserEvent, parse_mark, slices
from reckoner.shared.wire.shapes import MAX_WEIGHT
from reckoner.shared.wire.shapes import Event as StoredEvent

if TYPE_CHECKING:
    from reckoner.producer.client.caching import CachingResults
    from reckoner.shared.serving.events import Events
    from reckoner.shared.serving.events import Recorded as Outcome
    from reckoner.shared.serving.impressions import Impressions

# Slices that are under way at once, about a megabyte.
SLICES_AT_ONCE = 10
# A pointer that moves more often within one call is not chased.
MAX_MOVES = 10
# The end of the year 9999: milliseconds in place of seconds are beyond it.
LAST_S = 253_402_300_799


T = TypeVar("T")


class Event(msgspec.Struct, frozen=True):
    """What a user did with an item."""

    user: str
    item: str
    type: str = "interaction"
    """One of the event types; see the setting `event_types`."""
    weight: float | None = None
    """How much it counts, times the weight of its type; None is 1."""
    time: datetime | float | None = None
    """When it was: a datetime with a time zone, or seconds since 1970; None is now."""
    id: str = ""
    """An id of the caller's: an event with the same id is recorded once a day. Empty for none."""


class Recorded(msgspec.Struct, frozen=True):
    """What became of an event."""

    status: Literal["recorded", "seen", "later", "refused"]
    """`seen`: its id was recorded before. `later`: it counts from the next import on, since its user has so many."""
    reason: str = ""
    """Why it was refused."""
    is_full: bool = False
    """Whether it was refused only because Redis holds too many events: record it again after the next import."""


RECORDED = Recorded("recorded")
FORGOTTEN = Recorded("refused", UserForgottenError.__doc__ or "")


class _Shown(NamedTuple):
    user: str
    item: str


class Recording:
    """Records events over a client's connections; their types are `types`."""

    def __init__(
        self,
        events: "Events",
        impressions: "Impressions",
        results: "CachingResults",
        types: EventTypes,
        most_events: int,
        most_queued: int | None,
    ) -> None:
        self._events = events
        self._impressions = impressions
        self._results = results
        self._types = types
        self._most_events = most_events
        self._most_queued = most_queued

    async def record(self, events: Iterable[Event]) -> list[Recorded]:
        """Record events, each user's in their order; returns what became of each.

        Raises:
            UsageError: `events` is one event, or no list.
        """
        if not isinstance(events, Iterable):
            raise UsageError(f"Expected a list of events, but got {shown(events)}. Put it into a list.")
        checked = [self._checked(event) for event in events]
        if shown_to := {event.user for event in checked if isinstance(event, _Shown)}:
            gone = await self._events.forgotten_among(list(shown_to))
            checked = [FORGOTTEN if isinstance(event, _Shown) and event.user in gone else event for event in checked]
        await self._note_shown([event for event in checked if isinstance(event, _Shown)])
        outcomes = iter(await self._record([event for event in checked if isinstance(event, UserEvent)]))
        return [
            each
            if isinstance(each, Recorded)
            else RECORDED
            if isinstance(each, _Shown)
            else self._answer(next(outcomes))
            for each in checked
        ]

    async def _note_shown(self, shown: "Sequence[_Shown]") -> None:
        items = dict[str, list[str]]()
        for user, item in shown:
            items.setdefault(user, []).append(item)
        calls = (
            self._impressions.note(user, some[start : start + SLICE])
            for user, some in items.items()
            for start in range(0, len(some), SLICE)
        )
        while some_calls := list(islice(calls, SLICES_AT_ONCE)):
            await _at_once(some_calls)

    async def _record(self, events: Sequence[UserEvent]) -> "list[Outcome]":
        """Record events, of those with the same id the first one, whoever's they are."""
        firsts = dict[str, int]()
        once = [at for at, event in enumerate(events) if not event.id or firsts.setdefault(event.id, at) == at]
        if len(once) == len(events):
            return await self._record_sliced(events)
        outcomes = dict(zip(once, await self._record_sliced([events[at] for at in once]), strict=True))
        first_of = ((at, outcomes[firsts[event.id]] if event.id else "recorded") for at, event in enumerate(events))
        return [outcomes.get(at) or ("full" if first == "full" else "seen") for at, first in first_of]

    async def _record_sliced(self, events: Sequence[UserEvent]) -> "list[Outcome]":
        """Record events in slices: users one after the other."""
        outcomes: dict[int, Outcome] = {}
        rest = slices(events)
        while some := list(islice(rest, SLICES_AT_ONCE)):
            outcomes |= await self._record_slices(events, some)
        return [outcomes[number] for number in range(len(events))]

    async def _record_slices(self, events: Sequence[UserEvent], some: Sequence[Sequence[int]]) -> "dict[int, Outcome]":
        """Send slices one after the other without waiting for each answer; returns the outcomes by event."""
        answers = await _at_once([self._record_slice([events[number] for number in numbers]) for numbers in some])
        return {
            number: outcome
            for numbers, answer in zip(some, answers, strict=True)
            for number, outcome in zip(numbers, answer, strict=True)
        }

    async def _record_slice(self, events: Sequence[UserEvent]) -> "list[Outcome]":
        for left in reversed(range(MAX_MOVES)):
            try:
                generation = (await self._results.current(anew=left < MAX_MOVES - 1)).generation
            except NothingFittedError:
                generation = ""
            try:
                return await self._events.record(events, generation, self._most_queued)
            except MovedError:
                if not left:
                    raise
        raise AssertionError

    def _answer(self, outcome: "Outcome") -> Recorded:
        if outcome == "full":
            return Recorded(
                "refused",
                f"Redis holds {self._most_events:,} events that no live list counts yet. Import them with "
                "`reckoner import --events`, or raise RECKONER_MAX_EVENTS.",
                is_full=True,
            )
        if outcome == "ahead":
            return Recorded("refused", "The event's time is more than a day after the time of Redis' clock.")
        if outcome == "forgotten":
            return FORGOTTEN
        return Recorded(outcome)

    def _checked(self, event: Event) -> "UserEvent | Recorded | _Shown":
        try:
            if not isinstance(event, Event):
                raise UsageError(f"The event {shown(event)} is no Event, as in Event('42', '550').")
            require_id("user", event.user)
            require_id("item", event.item)
            if event.id not in ("", None):
                require_id("event", event.id)
            if event.type == IMPRESSION:
                return self._impression(event)
            return UserEvent(event.user, self._stored(event), event.id)
        except UsageError as error:
            return Recorded("refused", str(error))

    def _impression(self, event: Event) -> _Shown:
        given = {"weight": event.weight is not None, "time": event.time is not None, "id": event.id not in ("", None)}
        if wrong := [name for name, is_given in given.items() if is_given]:
            raise UsageError(f"An impression counts once and now: it has no {wrong[0]}.")
        return _Shown(event.user, event.item)

    def _stored(self, event: Event) -> StoredEvent:
        kind = self._types.find(event.type) if isinstance(event.type, str) else None
        if kind is None:
            raise UsageError(self._unknown_type(event.type))
        weight = kind.weight
        if event.weight is not None:
            if not _is_number(event.weight):
                raise UsageError(f"The weight {shown(event.weight)} is not a number.")
            if not abs(event.weight) <= sys.float_info.max:
                raise UsageError(f"The weight {shown(event.weight)} is not above 0 and at most {MAX_WEIGHT:g}.")
            weight *= event.weight
        if not (math.isfinite(weight) and 0 < weight <= MAX_WEIGHT):
            raise UsageError(f"The weight {weight:g} is not above 0 and at most {MAX_WEIGHT:g}.")
        return StoredEvent(event.item, kind.role, weight, event.type, _milliseconds(event.time))

    def _unknown_type(self, name: object) -> str:
        if not isinstance(name, str):
            return f"The event type {shown(name)} is not a str."
        near = self._types.nearest(name)
        meant = f" Do you mean {near}?" if near else ""
        known = ", ".join(sorted(self._types.by_name))
        return f"The event type {shown(name)} is none of {known}.{meant} See the setting event_types."


async def _at_once(calls: "Sequence[Coroutine[Any, Any, T]]") -> list[T]:
    """The answers of calls that are sent without waiting for each."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        # If one fails, the others' answers are awaited or cancelled with this call.
        await cancel_and_wait(*tasks)


def _milliseconds(time: datetime | float | None) -> int | None:
    """Milliseconds since 1970, None for now.

    Raises:
        UsageError: it is no such time, or has no time zone.
    """
    if time is None:
        return None
    if isinstance(time, datetime):
        if time.utcoffset() is None:
            raise UsageError(f"The time {time.isoformat()} has no time zone. Give one, as in datetime.now(UTC).")
        return int((time - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)
    if not (_is_number(time) and abs(time) < math.inf):
        raise UsageError(f"The time {shown(time)} is neither a datetime nor seconds since 1970.")
    # Before any arithmetic: an int may be too large for it.
    if abs(time) > LAST_S:
        raise UsageError(f"The time {shown(time)} is outside the calendar. Times are in seconds since 1970.")
    return round(time * 1000)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


async def recent_events(events: "Events", results: "CachingResults", user: str) -> list[RecentEvent]:
    """The recent history of a user; see `Reckoner.recent`."""
    try:
        held = parse_mark((await results.current()).mark or "0-0")
    except NothingFittedError:
        held = BEGINNING
    return [
        RecentEvent(event.item, event.type, event.role, event.weight, event.time_ms or mark.ms)
        async for recent in events.recent(user)
        for mark, event in recent.events
        if mark > held
    ]


async def move_history(events: "Events", visitor: str, user: str) -> int:
    """Move what a visitor did to a user; returns the number of events.

    Raises:
        HistoryTooLongError: the user would have, or the visitor has, too many events; or the user would hide too much.
        UsageError: both are the same.
    """
    if visitor == user:
        raise UsageError("The visitor and the user are the same.")
    if await events.forgotten_among([visitor, user]):
        raise UserForgottenError
    moved = await events.move(visitor, user)
    if moved == -3:
        raise HistoryTooLongError(f"The user would hide over {MOST_HIDES:,} items. Nothing was moved.")
    if moved < 0:
        who = "user would have" if moved == -1 else "visitor has"
        raise HistoryTooLongError(
            f"The {who} over {MOST_RECENT:,} events since the last import. Nothing was moved. "
            "Import them with `reckoner import --events` first."
        )
    return moved


async def hide_for(events: "Events", user: str, items: Sequence[str], *, show: bool) -> int:
    """Hide items from a user, or show them again; returns how many have changed.

    Raises:
        HistoryTooLongError: the user would hide too many.
    """
    if await events.forgotten_among([user]):
        raise UserForgottenError
    changed = await events.hide(user, items, show=show)
    if changed < 0:
        raise HistoryTooLongError(
            f"The user would hide over {MOST_HIDES:,} items. Nothing was changed. Show some again with `unhide`."
        )
    return changed


def until_ms(until: datetime | float | None) -> int | None:
    """The time until which items are hidden, in milliseconds since 1970; None for ever."""
    return _milliseconds(until)
