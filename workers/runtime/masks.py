"""Masks: the hidden items of a snapshot, in the store as a part, so that all tasks of a job leave out the same."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.errors import FlowFailedError
from reckoner.shared.serving.hidden import Hidden

if TYPE_CHECKING:
    from reckoner.shared.store.protocol import Store
    from reckoner.shared.store.snapshots import Snapshot
    from reckoner.shared.wire.shapes import Record

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
# The masks that are kept, each as large as the catalogue.
MOST = 8


class InStore(Protocol):
    """Works with the store beside the event loop."""

    def __call__(self, work: Callable[[], T]) -> Awaitable[T]:
        """Do the work."""


class Masks:
    """The masks that a worker has made or read last. Work with the store is done by `in_store`."""

    def __init__(self, hidden: Hidden, store: "Store", in_store: InStore) -> None:
        self._hidden = hidden
        self._store = store
        self._in_store = in_store
        self._names: OrderedDict[tuple[str, str], str | None] = OrderedDict()
        self._arrays: OrderedDict[str, NDArray[np.uint8]] = OrderedDict()

    async def current(self, snapshot: "Snapshot") -> str | None:
        """The part with the items of a snapshot that are hidden now; None without any."""
        hidden = await self._hidden.current()
        return await self._named(snapshot, hidden.mask, hidden.items) if hidden.items else None

    async def of_run(self, snapshot: "Snapshot", record: "Record") -> str | None:
        """The part with the items of a snapshot that the runs of a generation leave out; None without any.

        Raises:
            FlowFailedError: the hidden items of the generation are gone.
        """
        if not record.mask:
            return None
        known = self._names.get((snapshot.id, record.mask), "")
        if known != "":
            return known
        items = await self._hidden.mask_items(record.mask)
        if not items:
            raise FlowFailedError(f"the hidden items of generation {record.generation} are gone; start another run")
        return await self._named(snapshot, record.mask, items)

    async def _named(self, snapshot: "Snapshot", mask: str, items: Iterable[str]) -> str | None:
        key = snapshot.id, mask
        if key not in self._names:
            found = (snapshot.items.find(item) for item in items)
            indices = np.array(sorted(index for index in found if index is not None), np.uint32)
            name = await self._in_store(lambda: self._store.put_part(indices.tobytes())) if indices.size else None
            _keep(self._names, key, name)
            if name is not None:
                _keep(self._arrays, name, _mask(indices, snapshot.n_items))
        return self._names[key]

    async def load(self, name: str | None, snapshot: "Snapshot") -> NDArray[np.uint8] | None:
        """The mask of a part, uint8[I], not 0 for a hidden item; None for None.

        Raises:
            ArtifactMissingError: the store does not hold the part.
            ArtifactDamagedError: the part is damaged.
        """
        if name is None:
            return None
        if name not in self._arrays:
            data = await self._in_store(lambda: self._store.get_part(name))
            _keep(self._arrays, name, _mask(np.frombuffer(data, np.uint32), snapshot.n_items))
        return self._arrays[name]


def _mask(indices: NDArray[np.uint32], n_items: int) -> NDArray[np.uint8]:
    mask = np.zeros(n_items, np.uint8)
    mask[indices] = 1
    return mask


def _keep(kept: OrderedDict[K, V], key: K, value: V) -> None:
    kept[key] = value
    while len(kept) > MOST:
        kept.popitem(last=False)
