"""Reduces the partials of a block's chunk tasks into each user's best candidates."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.compiled import READ_FLOAT32, READ_UINT32, WRITE_FLOAT32, WRITE_UINT32, compiled


class Partial(NamedTuple):
    """Best candidates of some users, user after user, best first.

    `counts` uint32[users] says how many each user has; `items` uint32, `scores` float32 (above zero) and `reasons`
    uint32 (the history item with the largest share of the score) are flat, counts.sum() long.
    """

    counts: NDArray[np.uint32]
    items: NDArray[np.uint32]
    scores: NDArray[np.float32]
    reasons: NDArray[np.uint32]


def in_slices(partial: Partial, users: int) -> Iterator[Partial]:
    """The same as partials of so many users each; the last one may have fewer.

    Raises ValueError if the counts are not those of the rest.
    """
    ends = np.cumsum(partial.counts, dtype=np.int64)
    held = int(ends[-1]) if ends.size else 0
    if any(array.size != held for array in partial[1:]):
        raise ValueError("a partial does not hold as much as it counts")
    begin = 0
    for first in range(0, ends.size, users):
        counts = partial.counts[first : first + users]
        end = int(ends[first + counts.size - 1])
        yield Partial(counts, partial.items[begin:end], partial.scores[begin:end], partial.reasons[begin:end])
        begin = end


def merge(partials: Sequence[Partial], length: int) -> Partial:
    """The best `length` candidates of each user over all partials: the higher score first, then the smaller index.

    The partials are of the same users in the same order and of ranges of candidates that do not overlap. Each holds
    its range's own best `length`, so that nothing of the whole list can be missing; their order does not matter.
    Raises ValueError if there is no partial, if they are not of equally many users, or if one does not hold as much as
    it counts. It works for about a microsecond for each place and partial, and looks at no stop flag: see `in_slices`.
    """
    if not partials:
        raise ValueError("there is no partial to merge")
    user_count = partials[0].counts.size
    if any(partial.counts.size != user_count for partial in partials):
        raise ValueError("the partials are not of the same users")
    counts, items, scores, reasons = (np.concatenate(arrays) for arrays in zip(*partials, strict=True))
    sizes = np.array([partial.counts.sum(dtype=np.int64) for partial in partials])
    if any(partial.items.size != size for partial, size in zip(partials, sizes, strict=True)) or not (
        items.size == scores.size == reasons.size
    ):
        raise ValueError("a partial does not hold as much as it counts")
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
    """Take the best of the partials' heads, time and again, for each user; return how many were taken in sum."""
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
