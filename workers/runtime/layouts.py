"""What snapshots and models are laid out as for the kernels: made once, and kept while it is in use."""

import asyncio
import time
from collections import OrderedDict
from concurrent.futures import Executor
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.store.models import Model
from reckoner.shared.store.snapshots import Snapshot
from reckoner.workers.kernels.scoring.candidates import Candidates, lay_out

if TYPE_CHECKING:
    from reckoner.workers.runtime.building import Counting

# Of one model: the ranges of clicks are one whole of it, and those of a run's blocks another one, or two.
WHOLES = 3
# The generation in use, and the one that a run is making.
MODELS = 2
# The chunk tasks of a fit come one after the other. Then its layout, some ten bytes an interaction, is let go.
FIT_KEPT_S = 20.0


class Ranges(NamedTuple):
    """Ranges of a model's candidates, the one that was asked for last at the end."""

    model: Model
    kept: OrderedDict[tuple[int, int], Candidates]


class Layouts:
    """The layouts that one worker process keeps; they are asked for, and made, in the threads of kernels.

    With `threads` a model's are made by two of these, while the thread of a kernel waits.
    """

    def __init__(self, threads: Executor | None = None) -> None:
        self._threads = threads
        self._models: OrderedDict[str, Ranges] = OrderedDict()
        self._lock = Lock()
        self._counting: tuple[Snapshot, ModelConfig, Counting] | None = None
        self._counted_at = 0.0
        self._making = Lock()

    def cached(self, model: Model, first: int, last: int) -> Candidates | None:
        """The candidates first..last-1 of a model, if they are laid out."""
        with self._lock:
            ranges = self._models.get(model.id)
            # One that was built again, since its files were damaged, is another one.
            if ranges is None or ranges.model is not model or (first, last) not in ranges.kept:
                return None
            self._models.move_to_end(model.id)
            ranges.kept.move_to_end((first, last))
            return ranges.kept[first, last]

    def candidates(self, model: Model, first: int, last: int, stop: NDArray[np.uint8]) -> Candidates | None:
        """The same, laid out now if they are not yet; None if `stop`, uint8[1], was set meanwhile."""
        found = self.cached(model, first, last)
        if found is None:
            rows = model.row_ptr, model.row_items, model.row_values
            found = lay_out(*rows, first, last, threads=self._threads, stop=stop)
            if found is not None:
                self._keep(model, first, last, found)
        return found

    def _keep(self, model: Model, first: int, last: int, found: Candidates) -> None:
        with self._lock:
            if model.id not in self._models or self._models[model.id].model is not model:
                self._models[model.id] = Ranges(model, OrderedDict())
            kept = self._models[model.id].kept
            kept[first, last] = found
            entries = sum(candidates.columns.size for candidates in kept.values())
            while entries > WHOLES * model.row_values.size and len(kept) > 1:
                entries -= kept.popitem(last=False)[1].columns.size
            if len(self._models) > MODELS:
                self._models.popitem(last=False)

    def cached_counting(self, snapshot: Snapshot, config: ModelConfig) -> "Counting | None":
        """A snapshot laid out for the fit of a configuration, if it is."""
        # Read once, as the event loop may let it go at any moment.
        kept = self._counting
        # A snapshot that was imported again, since its files were damaged, is another one.
        return kept[2] if kept and kept[0] is snapshot and kept[1] == config else None

    def counting(self, snapshot: Snapshot, config: ModelConfig, stop: NDArray[np.uint8]) -> "Counting | None":
        """The same, laid out now if it is not yet; None if `stop`, uint8[1], was set meanwhile."""
        from reckoner.workers.runtime import building

        # One thread at a time, as there may be no room for two of them: so the last one is let go first, too.
        with self._making:
            found = self.cached_counting(snapshot, config)
            if found is None:
                self._counting = None
                found = building.lay_out(snapshot, config, stop)
                if found is not None:
                    self._counting = snapshot, config, found
            return found

    def counted(self) -> None:
        """A task of a fit has ended; where none follows soon the layout is let go. On the event loop."""
        self._counted_at = time.monotonic()
        asyncio.get_running_loop().call_later(FIT_KEPT_S, self._let_go)

    def _let_go(self) -> None:
        if time.monotonic() - self._counted_at >= FIT_KEPT_S:
            self._counting = None
