"""What there is about a user or an item, side by side, for operators."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reckoner.producer.client.answers import HiddenItem, RecentEvent, Similar, TaggedItem, UserHistory
from reckoner.producer.client.calls import places_wanted
from reckoner.producer.client.catalogue import hidden_item
from reckoner.producer.client.recording import recent_events
from reckoner.shared.errors import UserUnknownError
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.results import Entry, Reading, Source
from reckoner.shared.wire.shapes import Record

if TYPE_CHECKING:
    from reckoner.producer.client.connection import Client

# Names of keys that a look for lists reads, of which the lists are read a page at a time.
KEYS_LOOKED_AT, KEYS_AT_ONCE = 20_000, 1_000
LISTS_LOOKED_AT = 1_000


@dataclass(frozen=True)
class Shown:
    """A user's history and list, with the list of the previous generation."""

    generation: str
    is_live: bool
    history: UserHistory | None
    """None if the workers did not answer in time."""
    source: Source
    items: list[Entry]
    left_out: int
    """The number of places that were left out to find these."""
    previous: str | None
    """The generation that the list is compared with, if any."""
    before: list[str] | None
    """The items of the user's list in the previous generation, if they had one."""
    left: list[tuple[int, str, str | None]]
    """Rank, item and title of the items that left the list."""
    recent: list[RecentEvent]
    """The user's events that the history does not hold."""
    hidden: list[str]
    """The items that are hidden from the user."""
    withheld: list[tuple[int, str, str]]
    """Rank, item and reason of the places that are not shown to the user now."""
    impressions: dict[str, float]
    """How often items were shown to the user, as it counts for rotation now."""
    titles: dict[str, str]
    """The titles of the items above."""

    def rank_before(self, item: str) -> int | None:
        """The item's rank in the previous list, if it was there."""
        return self.before.index(item) + 1 if self.before and item in self.before else None


@dataclass(frozen=True)
class ShownItem:
    """What there is about an item; `similar` is None if the workers did not answer in time."""

    item: str
    title: str | None
    similar: Similar | None
    tags: TaggedItem
    hidden: HiddenItem | None
    """None if it is not hidden."""
    lists: int
    """The number of the live generation's lists that were looked at, at most 1,000."""
    lists_with_item: int
    """In how many of them the item has a place."""


async def show_user(
    client: "Client", user: str, n: int | None, generation: str | None, patience_s: float | None
) -> Shown:
    """See `Operator.show`."""
    results, keys = client.results, client.keys
    record = await results.record(generation)
    places = places_wanted(n, record)
    recent, hides = await recent_events(client.events, results, user), await client.events.hidden_for(user)
    history = await _history(client, record, user, places, patience_s, is_known=bool(recent or hides))
    now = await results.read_shown(record.generation, [user])
    [impressions] = await client.impressions.counts([user])
    if client.rotates:
        now = client.impressions.rotated(now, [impressions])
    [(source, items, left_out)] = await results.lists(now, places, record)
    pointed = await results.generations.follow(keys.previous if generation is None else keys.current)
    previous = pointed.generation if pointed.generation != record.generation else None
    before = None
    if previous is not None:
        before = next((r for r in await results.read(previous, [user]) if r), None)
    items_before = None if before is None else [place.item for place in before.items]
    has = {place.item for result in now.results if result for place in result.items}
    left = [(rank, item) for rank, item in enumerate((items_before or [])[:places], 1) if item not in has]
    titles = await results.titles((pointed.record or record).snapshot, [item for _, item in left])
    gone = [(rank, item, titles.get(item)) for rank, item in left]
    withheld = _withheld(now, recent, hides)
    others = [*(event.item for event in recent), *hides, *(item for _, item, _ in withheld)]
    return Shown(
        record.generation,
        generation is None,
        history,
        source,
        items,
        left_out,
        previous,
        items_before,
        gone,
        recent,
        hides,
        withheld,
        impressions,
        await results.titles(record.snapshot, list(dict.fromkeys(others))),
    )


async def _history(
    client: "Client", record: Record, user: str, n: int, patience_s: float | None, *, is_known: bool
) -> UserHistory | None:
    """The user's history in the live data, empty for one who `is_known` by events only.

    Raises:
        UserUnknownError: the user is neither in the data nor known.
    """
    try:
        async with asyncio.timeout(patience_s):
            return await client.questions.history(user, n, await client.results.current())
    except TimeoutError:
        return None
    except UserUnknownError:
        if not is_known:
            raise
        return UserHistory(user, record.generation, 0, [])


def _withheld(now: Reading, recent: Sequence[RecentEvent], hides: Sequence[str]) -> list[tuple[int, str, str]]:
    [result], [left] = now.results, now.left
    reasons: dict[str, str] = dict.fromkeys(now.hidden, "hidden from everybody")
    reasons |= {event.item: f"{event.type} since" for event in recent if event.item in left}
    reasons |= dict.fromkeys(hides, "hidden from them")
    places = enumerate(result.items if result else [], 1)
    return [(rank, place.item, reasons[place.item]) for rank, place in places if place.item in reasons]


async def show_item(client: "Client", item: str, n: int, patience_s: float | None) -> ShownItem:
    """See `Operator.show_item`."""
    results, record = client.results, await client.results.current()
    similar: Similar | None = None
    with suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            similar = await client.questions.neighbours(item, n, record)
    [(tags, live)] = await results.tags.read(record.snapshot, [item])
    titles = await results.titles(record.snapshot, [item])
    found = await _lists(client, record.generation)
    return ShownItem(
        item,
        titles.get(item),
        similar,
        TaggedItem(item, tags, live),
        await hidden_item(results.hidden, item),
        len(found),
        sum(item in items for items in found),
    )


async def _lists(client: "Client", generation: str) -> list[list[str]]:
    """The items of some of a generation's lists: those whose keys come first in the order of the server's table."""
    start, cursor, looked_at, users = client.keys.result(generation, ""), -1, 0, dict[str, None]()
    while cursor != 0 and looked_at < KEYS_LOOKED_AT and len(users) < LISTS_LOOKED_AT:
        answer = await ask(client.redis, "SCAN", max(cursor, 0), "COUNT", KEYS_AT_ONCE)
        cursor, looked_at = int(answer[0]), looked_at + KEYS_AT_ONCE
        names = (name.decode(errors="replace") for name in answer[1] if name.startswith(start.encode()))
        # SCAN may return a key twice.
        users |= dict.fromkeys(name.removeprefix(start) for name in names)
    found = await client.results.read(generation, list(users)[:LISTS_LOOKED_AT])
    return [[place.item for place in result.items] for result in found if result]
