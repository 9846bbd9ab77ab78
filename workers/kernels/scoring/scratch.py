"""The buffers of scoring, and the types of what its kernels share."""

import threading
from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.compiled import (
    READ_FLOAT32,
    READ_INT64,
    READ_UINT32,
    READ_UINT64,
    WRITE_FLOAT32,
    WRITE_FLOAT64,
    WRITE_UINT32,
    WRITE_UINT64,
)
from reckoner.workers.kernels.scoring.candidates import GROUP, GROUP_WORDS, HEAD, Candidates

# The head is divided into this many stripes.
STRIPES = 128
# A history whose rows fill at most this many words has few additions. Measured just below: with sparse data, as a
# shop's, 10 instead of 28 µs; with dense data, as ml-20m, 9 instead of 4 µs, but there users have more.
FEW_WORDS = 1024
# Groups hold the most entries in a word.
FEW = FEW_WORDS * GROUP // GROUP_WORDS


class Scratch(NamedTuple):
    """Buffers that all users share, for at most C candidates of I items.

    `sums` float64: the sums of candidates by rank; at least HEAD. `had` float32[I]: the weights of the history. Sums
    and weights are 0 between users. All others are overwritten for each user or call.
    `maxima` float64[STRIPES]. `keys` uint64: the candidates that are ranked. `met` uint32: the ranks of the tail with a
    sum; with few additions the rank of each addition, and so `shares` float64 and `sources` uint32. `largest` float64:
    the largest share of each place in the list. `shown` float64[HEAD]: of a call with a mask, 0 for the hidden ranks of
    the head, else 1.
    """

    sums: NDArray[np.float64]
    met: NDArray[np.uint32]
    had: NDArray[np.float32]
    maxima: NDArray[np.float64]
    keys: NDArray[np.uint64]
    shares: NDArray[np.float64]
    sources: NDArray[np.uint32]
    largest: NDArray[np.float64]
    shown: NDArray[np.float64]


def new_scratch(candidates: Candidates) -> Scratch:
    """Scratch with room for these candidates."""
    size = max(candidates.order.size, HEAD)
    return Scratch(
        np.zeros(size, np.float64),
        # One more: it is written before it is known to count.
        np.empty(max(size - HEAD, FEW) + 1, np.uint32),
        np.zeros(candidates.ranks.size, np.float32),
        np.empty(STRIPES, np.float64),
        np.empty(max(size, FEW), np.uint64),
        np.empty(FEW + 1, np.float64),
        np.empty(FEW + 1, np.uint32),
        np.empty(FEW, np.float64),
        np.ones(HEAD, np.float64),
    )


class ThreadScratch(threading.local):
    """Scratch that each thread keeps, so that a click allocates nothing of the catalogue's size."""

    def __init__(self) -> None:
        self._kept: Scratch | None = None

    def room_for(self, candidates: Candidates) -> Scratch:
        """This thread's scratch, made larger if these candidates need it."""
        kept = self._kept
        if kept is None or kept.sums.size < candidates.order.size or kept.had.size < candidates.ranks.size:
            self._kept = kept = None
            self._kept = kept = new_scratch(candidates)
        return kept


CANDIDATES = types.NamedTuple([READ_UINT32, READ_INT64, READ_INT64, READ_UINT64, READ_INT64, READ_UINT64], Candidates)
SCRATCH = types.NamedTuple(
    [
        *(WRITE_FLOAT64, WRITE_UINT32, WRITE_FLOAT32, WRITE_FLOAT64, WRITE_UINT64),
        *(WRITE_FLOAT64, WRITE_UINT32, WRITE_FLOAT64, WRITE_FLOAT64),
    ],
    Scratch,
)
HISTORIES = (READ_UINT32, READ_FLOAT32)
