"""Caches the memory layouts that kernels need of snapshots and models."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import nullcontext
from functools import partial
from threading import Lock
from typing import IO, TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from reckoner.shared.store.artifacts import unmap_pages
from reckoner.shared.store.manifests import reason
from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.store.models import Model
from reckoner.shared.store.snapshots import Snapshot
from reckoner.shared.store.verification import LOCK_TIMEOUT_S, PAUSE_S
from reckoner.workers.kernels.scoring.candidates import Candidates, lay_out
from reckoner.workers.kernels.scoring.scratch import ThreadScratch
from reckoner.workers.runtime.layout_files import Layout, LayoutFiles
from reckoner.workers.runtime.model_kinds import kind_of

if TYPE_CHECKING:
    from reckoner.workers.runtime.building import Counting

R = TypeVar("R")
# Runs work that takes a stop flag, uint8[1], and returns None if it was set.
Kernel = Callable[[Callable[[NDArray[np.uint8]], Candidates | None]], Awaitable[Candidates]]

log = structlog.get_logger()

# Cached entries per model, as a multiple of its size: once for clicks, once or twice for a run's blocks.
COPIES_PER_MODEL = 3
# The current generation and the one under construction.
MODELS = 2
# A fit's layout, some ten bytes an interaction, is dropped this long after its last chunk task.
FIT_KEPT_S = 5.0


class Ranges(NamedTuple):
    """The cached ranges of a model's candidates, the most recently used last."""

    model: Model
    kept: OrderedDict[tuple[int, int], Layout]


class Layouts:
    """The layouts of one worker process. `threads` read and write files, and two of these help with each model."""

    def __init__(self, files: LayoutFiles, threads: Executor | None = None) -> None:
        self.files = files
        self.scratch = ThreadScratch()
        self._threads = threads
        self._models: OrderedDict[str, Ranges] = OrderedDict()
        self._counting: tuple[Snapshot, ModelConfig, int, Counting] | None = None
        self._used_at = 0.0
        self._making = Lock()

    def cached(self, model: Model, first: int, last: int) -> Layout | None:
        """The candidates first..last-1 of a model, None if they are not cached or their file has changed."""
        ranges = self._models.get(model.id)
        # By identity: a rebuilt model has the same id.
        if ranges is None or ranges.model is not model or (first, last) not in ranges.kept:
            return None
        found = ranges.kept[first, last]
        if found.check is not None and not found.check.current:
            del ranges.kept[first, last]
            return None
        self._models.move_to_end(model.id)
        ranges.kept.move_to_end((first, last))
        return found

    def make(self, model: Model, first: int, last: int, stop: NDArray[np.uint8]) -> Candidates | None:
        """Lay out the candidates first..last-1 of a model; None if `stop`, uint8[1], was set."""
        rows = model.row_ptr, model.row_items, model.row_values
        found = lay_out(*rows, first, last, threads=self._threads, stop=stop)
        # Only the maker of a layout reads the rows: it would be charged with the file's pages.
        unmap_pages(*rows)
        return found

    def keep(self, model: Model, first: int, last: int, found: Layout) -> None:
        """Cache a layout, and drop those of other models or ranges that were used least recently."""
        if model.id not in self._models or self._models[model.id].model is not model:
            self._models[model.id] = Ranges(model, OrderedDict())
        self._models.move_to_end(model.id)
        kept = self._models[model.id].kept
        kept[first, last] = found
        entries = sum(layout.candidates.columns.size for layout in kept.values())
        while entries > COPIES_PER_MODEL * model.row_values.size and len(kept) > 1:
            entries -= kept.popitem(last=False)[1].candidates.columns.size
        if len(self._models) > MODELS:
            self._models.popitem(last=False)

    async def open(self, model: Model, version: str, first: int, last: int) -> Layout | None:
        """Map and cache a range of a model, whose files have this fingerprint; None if this host does not have it."""
        if (kept := self.cached(model, first, last)) is not None:
            return kept
        found = await self._in_thread(partial(self.files.open, self.files.name(model.id, version, first, last)))
        if found is not None:
            self.keep(model, first, last, found)
        return found

    async def open_or_make(self, model: Model, version: str, first: int, last: int, kernel: Kernel) -> Layout:
        """Map and cache a range of a model, made now if this host does not have it; see `open`.

        It is in this process's memory if there can be no file.
        """
        name = self.files.name(model.id, version, first, last)
        found = await self._open_or_begin(name)
        if not isinstance(found, Layout):
            with found or nullcontext():
                candidates = await kernel(partial(self.make, model, first, last))
                published = await self._publish(found, name, candidates) if found else None
            found = published or Layout(candidates)
        self.keep(model, first, last, found)
        await self._in_thread(partial(self.files.remove_unused, but_siblings=True))
        return found

    async def _open_or_begin(self, name: str) -> Layout | IO[bytes] | None:
        """Map a layout's file or begin a new one; None if there can be none, or another process makes it too long."""
        until = time.monotonic() + LOCK_TIMEOUT_S
        try:
            while time.monotonic() < until:
                found = await self._in_thread(partial(self.files.open_or_begin, name))
                if found is not None:
                    return found
                await asyncio.sleep(PAUSE_S)
        except OSError as error:
            log.warning("layout kept in memory", file=name, reason=reason(error))
        return None

    async def _publish(self, new: IO[bytes], name: str, candidates: Candidates) -> Layout | None:
        """Write a layout's file and map it; None if it cannot be written."""
        try:
            return await self._in_thread(partial(self.files.publish, new, name, candidates))
        except OSError as error:
            log.warning("layout kept in memory", file=name, reason=reason(error))
            return None

    async def remove_unused(self) -> None:
        """Remove this host's files that no process uses."""
        await self._in_thread(self.files.remove_unused)

    async def _in_thread(self, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def drop(self, model_id: str) -> None:
        """Drop all layouts of a model from this cache."""
        self._models.pop(model_id, None)

    @property
    def models(self) -> list[Model]:
        """The models with cached layouts."""
        return [ranges.model for ranges in self._models.values()]

    def cached_counting(self, snapshot: Snapshot, config: ModelConfig, popular: int) -> "Counting | None":
        """A snapshot laid out for a fit with dense rows of `popular` items, None if it is not cached."""
        # Read once: the event loop may release it at any moment.
        kept = self._counting
        return kept[3] if kept and kept[0] is snapshot and kept[1:3] == (config, popular) else None

    def counting(
        self, snapshot: Snapshot, config: ModelConfig, popular: int, stop: NDArray[np.uint8]
    ) -> "Counting | None":
        """A snapshot laid out for a fit, on a miss now; None if `stop`, uint8[1], was set."""
        # There may be no memory for two: one thread at a time, and the old layout is released first.
        with self._making:
            found = self.cached_counting(snapshot, config, popular)
            if found is None:
                self._counting = None
                found = kind_of(config).lay_out(snapshot, config, popular, stop)
                if found is not None:
                    self._counting = snapshot, config, popular, found
            return found

    def release_counting_later(self) -> None:
        """Release the layout unless another task of a fit ends soon. Call it on the event loop."""
        self._used_at = time.monotonic()
        asyncio.get_running_loop().call_later(FIT_KEPT_S, self._release_counting)

    def _release_counting(self) -> None:
        if time.monotonic() - self._used_at >= FIT_KEPT_S:
            self._counting = None
