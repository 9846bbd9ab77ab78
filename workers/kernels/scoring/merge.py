"""Merges the partials of a job's chunk tasks: for each user a k-way merge of sorted lists, cut at the list length."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.compiled import READ_FLOAT32, READ_UINT32, WRITE_FLOAT32, WRITE_UINT32, compiled


class Partial(NamedTuple):
    """The best candidates of some users, concatenated, best first.

    `counts` uint32[users]: the length of each user's list. `items` uint32, `scores` float32 (above zero) and `reasons`
    uint32 (the history item with the largest share of the score): counts.sum() entries.
    """

    counts: NDArray[np.uint32]
    items: NDArray[np.uint32]
    scores: NDArray[np.float32]
    reasons: NDArray[np.uint32]


def merge(partials: Sequence[Partial], length: int) -> Partial:
    """The best `length` candidates of each user over all partials: the higher score first, then the smaller index.

    The partials have the same users in the same order, and the best `length` of disjoint ranges, in any order. It takes
    about a microsecond per list entry and partial, and checks no stop flag. Raises ValueError if there is no partial,
    if their numbers of users differ, or if arrays do not match counts.
    """
    if not partials:
        raise ValueError("there are no partials to merge")
    user_count = partials[0].counts.size
    if any(partial.counts.size != user_count for partial in partials):
        raise ValueError("the partials have different numbers of users")
    counts, items, scores, reasons = (np.concatenate(arrays) for arrays in zip(*partials, strict=True))
    sizes = np.array([partial.counts.sum(dtype=np.int64) for partial in partials])
    if any(partial.items.size != size for partial, size in zip(partials, sizes, strict=True)) or not (
        items.size == scores.size == reasons.size
    ):
        raise ValueError("a partial's arrays do not match its counts")
    best = Partial(
        np.empty(user_count, np.uint32),
        np.empty(items.size, np.uint32),
        np.empty(items.size, np.float32),
        np.empty(items.size, np.uint32),
    )
    heads = np.cumsum(sizes) - sizes
    kept = _merge(counts, items, scores, reasons, heads, length, *best)
    return Partial(best.counts, best.items[:kept], best.scores[:kept], best.reasons[:kept])


@compiled(
    types.int64(
        *(READ_UINT32, READ_UINT32, READ_FLOAT32, READ_UINT32, types.int64[::1], types.int64),
        *(WRITE_UINT32, WRITE_UINT32, WRITE_FLOAT32, WRITE_UINT32),
    ),
    allocates=True,
)
def _merge(
    counts: NDArray[np.uint32],
    items: NDArray[np.uint32],
    scores: NDArray[np.float32],
    reasons: NDArray[np.uint32],
    heads: NDArray[np.int64],
    length: int,
    best_counts: NDArray[np.uint32],
    best_items: NDArray[np.uint32],
    best_scores: NDArray[np.float32],
    best_reasons: NDArray[np.uint32],
) -> int:
    """Take the best of the partials' heads repeatedly, for each user. Returns the number of entries."""
    kept = 0
    user_count = best_counts.size
    ends = heads.copy()
    for user in range(user_count):
        for n in range(heads.size):
            heads[n] = ends[n]
            ends[n] += counts[n * user_count + user]
        first = kept
        while kept - first < length:
            best = -1
            for n in range(heads.size):
                at = heads[n]
                if at < ends[n] and (
                    best < 0
                    or scores[at] > scores[heads[best]]
                    or (scores[at] == scores[heads[best]] and items[at] < items[heads[best]])
                ):
                    best = n
            if best < 0:
                break
            at = heads[best]
            heads[best] += 1
            best_items[kept] = items[at]
            best_scores[kept] = scores[at]
            best_reasons[kept] = reasons[at]
            kept += 1
        best_counts[user] = kept - first
    return kept
