"""Masks: the items of a snapshot that lists leave out, in the store as a part, so that all tasks of a job agree."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterable
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.errors import FlowFailedError
from reckoner.shared.serving.hidden import Hidden
from reckoner.shared.serving.tags import Tags

if TYPE_CHECKING:
    from reckoner.shared.store.protocol import Store
    from reckoner.shared.store.snapshots import Snapshot
    from reckoner.shared.wire.filters import Filter
    from reckoner.shared.wire.shapes import Record

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
# The masks that are kept, each as large as the catalogue, and the names of masks.
MOST, MOST_NAMES = 8, 500
# How long a name is kept: a part that nobody puts again is deleted after a day.
NAMED_S = 3_600.0


class Mask(NamedTuple):
    """The part with a mask, None if it has no item; and what it was made with.

    That are the version of the live tags, and the name of the items that are hidden from all.
    """

    part: str | None
    tagging: bytes = b""
    hidden: str = ""


class LiveTags(NamedTuple):
    """The items of a snapshot whose tags were changed live, by their indices, at a version."""

    snapshot: str
    version: bytes
    tags: list[tuple[int, frozenset[str]]]


class InStore(Protocol):
    """Works with the store beside the event loop."""

    def __call__(self, work: Callable[[], T]) -> Awaitable[T]:
        """Do the work."""


class Masks:
    """The masks that a worker has made or read last. Work with the store is done by `in_store`."""

    def __init__(self, hidden: Hidden, tags: Tags, store: "Store", in_store: InStore) -> None:
        self._hidden = hidden
        self._tags = tags
        self._store = store
        self._in_store = in_store
        self._live = LiveTags("", b"", [])
        self._names: OrderedDict[Hashable, tuple[str | None, float]] = OrderedDict()
        self._arrays: OrderedDict[str, NDArray[np.uint8]] = OrderedDict()

    async def current(self, snapshot: "Snapshot", wanted: "Filter | None" = None) -> Mask:
        """The mask of the items of a snapshot that are hidden now, or that a filter's tags leave out."""
        now = await self._hidden.current()
        items = now.items
        if wanted is None or not wanted.reads_tags:
            return Mask(await self._named(snapshot, items, items) if items else None, hidden=now.mask)
        live = await self._live_tags(snapshot)
        key = items, wanted.only, wanted.without, live.version
        part = await self._named(snapshot, key, items, lambda: _left_out(snapshot, wanted, live))
        return Mask(part, live.version, now.mask)

    async def of_run(self, snapshot: "Snapshot", record: "Record") -> str | None:
        """The part with the items of a snapshot that the runs of a generation leave out; None without any.

        Raises:
            FlowFailedError: the hidden items of the generation are gone.
        """
        if not record.mask:
            return None
        key = snapshot.id, record.mask
        if key in self._names and monotonic() < self._names[key][1]:
            return self._names[key][0]
        items = await self._hidden.mask_items(record.mask)
        if not items:
            raise FlowFailedError(f"the hidden items of generation {record.generation} are gone; start another run")
        return await self._named(snapshot, record.mask, items)

    async def _live_tags(self, snapshot: "Snapshot") -> LiveTags:
        # First the version: what changes meanwhile has a later one.
        version = await self._tags.version()
        if self._live[:2] != (snapshot.id, version):
            changed = (await self._tags.live()).items() if version else ()
            found = ((snapshot.items.find(item), frozenset(tags)) for item, tags in changed)
            self._live = LiveTags(snapshot.id, version, [(item, tags) for item, tags in found if item is not None])
        return self._live

    async def _named(
        self,
        snapshot: "Snapshot",
        key: Hashable,
        items: Iterable[str],
        more: "Callable[[], NDArray[np.bool_]] | None" = None,
    ) -> str | None:
        """The part with these items and those of `more`, bool[I], which is kept under a key."""
        known, until = self._names.get((snapshot.id, key), (None, 0.0))
        if monotonic() < until:
            return known

        def put() -> tuple[str | None, NDArray[np.uint8]]:
            mask = np.zeros(snapshot.n_items, np.bool_) if more is None else more()
            mask[[index for item in items if (index := snapshot.items.find(item)) is not None]] = True
            return (self._store.put_part(np.packbits(mask).tobytes()) if mask.any() else None), mask.view(np.uint8)

        until = monotonic() + NAMED_S
        name, mask = await self._in_store(put)
        _keep(self._names, (snapshot.id, key), (name, until), MOST_NAMES)
        if name is not None:
            _keep(self._arrays, name, mask, MOST)
        return name

    async def load(self, name: str | None, snapshot: "Snapshot") -> NDArray[np.uint8] | None:
        """The mask of a part, uint8[I], not 0 for an item that is left out; None for None.

        Raises:
            ArtifactMissingError: the store does not hold the part.
            ArtifactDamagedError: the part is damaged.
        """
        if name is None:
            return None
        if name not in self._arrays:
            data = await self._in_store(lambda: self._store.get_part(name))
            _keep(self._arrays, name, np.unpackbits(np.frombuffer(data, np.uint8), count=snapshot.n_items), MOST)
        return self._arrays[name]


def _left_out(snapshot: "Snapshot", wanted: "Filter", live: LiveTags) -> NDArray[np.bool_]:
    """The items of a snapshot that do not pass by their tags, bool[I]."""
    left = _having(snapshot, wanted.without, live)
    return left | ~_having(snapshot, wanted.only, live) if wanted.only else left


def _having(snapshot: "Snapshot", tags: Iterable[str], live: LiveTags) -> NDArray[np.bool_]:
    """The items of a snapshot that have one of these tags now, bool[I]."""
    having, catalogue = np.zeros(snapshot.n_items, np.bool_), snapshot.catalogue
    if catalogue.tags is not None and catalogue.item_tags is not None and catalogue.item_tag_ptr is not None:
        known = [tag for text in tags if (tag := catalogue.tags.find(text)) is not None]
        places = np.flatnonzero(np.isin(catalogue.item_tags, np.array(known, np.uint32)))
        having[np.searchsorted(catalogue.item_tag_ptr, places, side="right") - 1] = True
    for item, some in live.tags:
        having[item] = not some.isdisjoint(tags)
    return having


def _keep(kept: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    kept[key] = value
    while len(kept) > most:
        kept.popitem(last=False)
