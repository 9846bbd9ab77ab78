"""What a fit writes of a snapshot beside the lists of users: titles, tags, and the lists that readers can name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.serving.events import BEGINNING, parse_mark
from reckoner.shared.store.catalogue import ALWAYS
from reckoner.shared.store.snapshots import Snapshot
from reckoner.workers.kernels.item_lists import count_since, first_of_tags, first_times, largest_tags, order_of
from reckoner.workers.runtime.runtime import Runtime

# Only the tags with the most items have lists.
MAX_TAGS: Final = 1000
DAY_MS: Final = 86_400_000


async def describe(runtime: Runtime, snapshot: Snapshot, places: int, now_ms: int) -> None:
    """Write the titles and tags of a snapshot's items unless they are there, and lists with so many places.

    The lists have the items that are available at `now_ms`.
    """
    results = runtime.results
    if snapshot.titles is not None and not await results.has_titles(snapshot.id):
        await results.write_titles(snapshot.id, await runtime.in_store(lambda: titles_of(snapshot)))
    if snapshot.catalogue.tags is not None and not await results.tags.has_snapshot(snapshot.id):
        await results.tags.write(snapshot.id, await runtime.in_store(lambda: tags_of(snapshot)))
    live = await results.tags.live()
    # A generation of the same snapshot may have longer lists.
    [known] = await results.named_lists.read(snapshot.id, ["popular"])
    length = max(places, len(known or ()))
    days = runtime.settings.trending_days
    lists = await runtime.in_thread(lambda: named_lists(snapshot, live, length, days, now_ms))
    await results.named_lists.write(snapshot.id, lists)


def titles_of(snapshot: Snapshot) -> dict[str, str]:
    """The titles of a snapshot's items by id, without items that have no title."""
    titles = ((snapshot.items[item], snapshot.title(item)) for item in range(snapshot.n_items))
    return {item: title for item, title in titles if title}


def tags_of(snapshot: Snapshot) -> dict[str, list[str]]:
    """The tags of a snapshot's items by id, without items that have none."""
    tags = ((snapshot.items[item], snapshot.catalogue.tags_of(item)) for item in range(snapshot.n_items))
    return {item: some for item, some in tags if some}


def named_lists(
    snapshot: Snapshot, live: Mapping[str, Sequence[str]], length: int, trending_days: int, now_ms: int
) -> dict[str, list[str]]:
    """The lists by name, of `length` items at most: `popular`, `trending` and `latest`, and `popular:TAG` and so on.

    Popular are the items with the most users; trending those with the most interactions since `trending_days` before
    the snapshot's newest time; recorded events with a later time than that of the snapshot's mark do not make it.
    Latest are those that are available since the latest time or, where none is given, whose first interaction is the
    latest. Without times nothing is trending, and the latest are the items with an availability. Ties go to the smaller
    index. Items that are not available at `now_ms` are in no list. `live` are all tags of items that were changed live.

    Only the `MAX_TAGS` tags with the most items have lists.
    """
    names, pair_tags, pair_items = tag_pairs(snapshot, live)
    tags = largest_tags(pair_tags, len(names), MAX_TAGS)
    lists, available = dict[str, list[str]](), snapshot.catalogue.available_at(now_ms, snapshot.n_items)
    for kind, order_now in ORDERS.items():
        order = order_now(snapshot, trending_days)
        if order is None:
            continue
        order = order[available[order]]
        of_tags = first_of_tags(order, pair_tags, pair_items, tags, len(names), snapshot.n_items, length)
        found = {kind: order[:length]}
        found |= {f"{kind}:{names[tag]}": items for tag, items in zip(tags.tolist(), of_tags, strict=True)}
        for name, items in found.items():
            if len(items):
                lists[name] = [snapshot.items.recall(item) for item in items.tolist()]
    return lists


def tag_pairs(
    snapshot: Snapshot, live: Mapping[str, Sequence[str]]
) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """The names of all tags, sorted; and for each tag of each item the index of the tag and of the item, int64[n]."""
    catalogue = snapshot.catalogue
    stored = [] if catalogue.tags is None else [catalogue.tags[tag] for tag in range(len(catalogue.tags))]
    pair_tags, pair_items = np.empty(0, np.int64), np.empty(0, np.int64)
    if catalogue.item_tags is not None and catalogue.item_tag_ptr is not None:
        pair_tags = catalogue.item_tags.astype(np.int64)
        pair_items = np.repeat(np.arange(snapshot.n_items), np.diff(catalogue.item_tag_ptr))
    changed = {index: tags for item, tags in live.items() if (index := snapshot.items.find(item)) is not None}
    if not changed:
        return stored, pair_tags, pair_items
    names = sorted({*stored}.union(*changed.values()))
    number = {name: tag for tag, name in enumerate(names)}
    stays = ~np.isin(pair_items, np.array(list(changed)))
    renumbered = np.array([number[name] for name in stored], np.int64)[pair_tags[stays]]
    added = [(number[tag], item) for item, tags in changed.items() for tag in {*tags}]
    more = np.array(added, np.int64).reshape(-1, 2)
    return names, np.concatenate((renumbered, more[:, 0])), np.concatenate((pair_items[stays], more[:, 1]))


def _popular(snapshot: Snapshot, _days: int) -> NDArray[np.int64] | None:
    return order_of(np.diff(snapshot.item_ptr))


def _trending(snapshot: Snapshot, days: int) -> NDArray[np.int64] | None:
    times = snapshot.user_times
    if times is None or len(times) == 0:
        return None
    newest = int(times.max())
    if snapshot.source_ms is not None:
        # An event has the newest time, but its time may be in the future.
        newest = min(newest, max(snapshot.source_ms, parse_mark(snapshot.mark or str(BEGINNING)).ms))
    since = newest - days * DAY_MS
    counts = count_since(since, snapshot.user_items, times, snapshot.n_items)
    return order_of(counts, counts > 0)


def _latest(snapshot: Snapshot, _days: int) -> NDArray[np.int64] | None:
    times, available = snapshot.user_times, snapshot.catalogue.available_from
    if times is None and available is None:
        return None
    known = np.ones(snapshot.n_items, bool)
    if times is not None:
        began = first_times(snapshot.user_items, times, snapshot.n_items)
    else:
        began, known = np.zeros(snapshot.n_items, np.int64), ~known
    if available is not None:
        is_given = available != ALWAYS
        began, known = np.where(is_given, available, began), known | is_given
    return order_of(began, known)


ORDERS: Final[Mapping[str, Callable[[Snapshot, int], NDArray[np.int64] | None]]] = {
    "popular": _popular,
    "trending": _trending,
    "latest": _latest,
}
