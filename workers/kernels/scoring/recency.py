"""Weights of histories by recency: recent items count more.

An item of which n of the user's items are strictly later weighs (1 + n)^-gamma, times its imported weight. Items of the
same time share an n, so that the order of an import makes no difference, and no clock is read.
"""

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.building.logarithm import power
from reckoner.workers.kernels.compiled import (
    READ_FLOAT32,
    READ_INT64,
    READ_UINT8,
    WRITE_FLOAT32,
    WRITE_FLOAT64,
    WRITE_INT64,
    WRITE_UINT64,
    Index,
    compiled,
)
from reckoner.workers.kernels.ranking import DIGITS, FEW, sort_by_digits, sort_few

ZERO, ONE, BITS = np.uint64(0), np.uint64(1), np.uint64(64)
# The smallest float32 above zero. A weight of zero would have no share in a score.
LEAST = np.float32(2.0**-149)


def recency_weights(
    user_ptr: NDArray[np.int64],
    times: NDArray[np.int64],
    weights: NDArray[np.float32] | None,
    gamma: float,
    *,
    stop: NDArray[np.uint8],
) -> NDArray[np.float32] | None:
    """The weights of some users' histories, float32[user_ptr[-1] - user_ptr[0]], finite and above zero.

    Each is rounded once, from float64. `user_ptr` int64[users + 1] may be a slice of a snapshot's, and points into
    `times` int64[nnz] and the imported `weights` float32[nnz] (None: all 1). None if another thread set `stop`,
    uint8[1].
    """
    found = np.empty(int(user_ptr[-1] - user_ptr[0]), np.float32)
    longest = int(np.diff(user_ptr).max(initial=0))
    buffers = np.empty(longest, np.float64), np.empty(longest, np.uint64), np.empty(longest, np.uint64)
    imported = np.empty(0, np.float32) if weights is None else weights
    return (
        found if _weigh(user_ptr, times, imported, gamma, *buffers, np.empty(DIGITS, np.int64), found, stop) else None
    )


@compiled(
    types.void(READ_INT64, types.uint64, types.uint64, WRITE_UINT64, WRITE_UINT64, WRITE_INT64, types.uint64),
    inner=True,
)
def _order(
    times: NDArray[np.int64],
    begin: Index,
    size: Index,
    keys: NDArray[np.uint64],
    scratch: NDArray[np.uint64],
    counts: NDArray[np.int64],
    place_bits: Index,
) -> None:
    """Order times[begin : begin + size], the latest first: the low `place_bits` of `keys` get their places.

    A key has the time before the latest one above its place. If they have too many bits together, the times' low bits
    are sorted first, then the high ones.
    """
    latest, earliest = times[begin], times[begin]
    for n in range(size):
        keys[n] = np.uint64(n)
        latest, earliest = max(latest, times[begin + n]), min(earliest, times[begin + n])
    longest, bits, low = np.uint64(latest) - np.uint64(earliest), ZERO, ZERO
    while bits < BITS and longest >> bits > ZERO:
        bits += ONE
    while low < bits:
        taken = min(bits - low, BITS - place_bits)
        for n in range(size):
            place = keys[n] & ((ONE << place_bits) - ONE)
            keys[n] = (np.uint64(latest) - np.uint64(times[begin + place])) >> low << place_bits | place
        if size <= FEW and taken == bits:
            sort_few(keys, ZERO, size)
        else:
            sort_by_digits(keys, ZERO, size, place_bits, place_bits + taken, scratch, counts)
        low += taken


@compiled(
    types.boolean(
        *(READ_INT64, READ_INT64, READ_FLOAT32, types.float64),
        *(WRITE_FLOAT64, WRITE_UINT64, WRITE_UINT64, WRITE_INT64, WRITE_FLOAT32, READ_UINT8),
    )
)
def _weigh(
    user_ptr: NDArray[np.int64],
    times: NDArray[np.int64],
    weights: NDArray[np.float32],
    gamma: float,
    powers: NDArray[np.float64],
    keys: NDArray[np.uint64],
    scratch: NDArray[np.uint64],
    counts: NDArray[np.int64],
    found: NDArray[np.float32],
    stop: NDArray[np.uint8],
) -> bool:
    """Fill the weights; see `recency_weights`. False if stopped."""
    for n in range(powers.size):
        powers[n] = power(1.0 + np.float64(n), -gamma)
    for user in range(user_ptr.size - 1):
        if stop[0]:
            return False
        begin, size = np.uint64(user_ptr[user]), np.uint64(user_ptr[user + 1] - user_ptr[user])
        place_bits = ONE
        while size >> place_bits > ZERO:
            place_bits += ONE
        if size > ZERO:
            _order(times, begin, size, keys, scratch, counts, place_bits)
        later, to, before = ZERO, begin - np.uint64(user_ptr[0]), np.int64(0)
        for n in range(size):
            place = keys[n] & ((ONE << place_bits) - ONE)
            if n == ZERO or times[begin + place] != before:
                later, before = np.uint64(n), times[begin + place]
            weight = np.float64(weights[begin + place]) if weights.size > 0 else 1.0
            found[to + place] = max(np.float32(weight * powers[later]), LEAST)
    return True
