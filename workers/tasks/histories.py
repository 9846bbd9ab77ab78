"""Histories as the scoring kernel takes them: items, and how much each weighs."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.wire.shapes import Recency
from reckoner.workers.kernels.scoring.recency import recency_weights
from reckoner.workers.kernels.scoring.score import LeftOut


class Weighed(NamedTuple):
    """Histories in CSR: int64[n + 1] pointers into uint32 items and float32 weights, None if all are 1."""

    ptr: NDArray[np.int64]
    items: NDArray[np.uint32]
    weights: NDArray[np.float32] | None


class Histories(NamedTuple):
    """Histories in CSR: int64[n + 1] pointers into uint32 items, their imported float32 weights, and int64 times.

    Weights of None are all 1; without times, None, all items are of the same time. `left` is what is left out of the
    lists: of None, the items themselves.
    """

    ptr: NDArray[np.int64]
    items: NDArray[np.uint32]
    weights: NDArray[np.float32] | None
    times: NDArray[np.int64] | None
    left: LeftOut | None = None

    @property
    def left_out(self) -> LeftOut:
        """What is left out of each list."""
        return self.left or LeftOut(self.ptr, self.items)

    @property
    def held(self) -> NDArray[np.uint32]:
        """The items of all histories, concatenated."""
        return self.items[self.ptr[0] : self.ptr[-1]]

    def weighed(self, recency: Recency, stop: NDArray[np.uint8]) -> Weighed | None:
        """The same with the weights of this recency; None if another thread set `stop`, uint8[1]."""
        if not recency or self.times is None:
            return Weighed(self.ptr, self.items, self.weights)
        weights = recency_weights(self.ptr, self.times, self.weights, recency, stop=stop)
        return None if weights is None else Weighed(self.ptr - self.ptr[0], self.held, weights)
