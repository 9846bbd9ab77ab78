"""Scores candidates for histories with few additions. It takes no time for candidates that are not met.

Each addition is noted with its candidate and its source: the notes give the candidates to rank, and then the reasons.
"""

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.compiled import READ_FLOAT32, READ_UINT8, READ_UINT32, WRITE_UINT32, Index, compiled
from reckoner.workers.kernels.ranking import keep_best, key_of
from reckoner.workers.kernels.scoring import candidates as layout
from reckoner.workers.kernels.scoring.candidates import Candidates
from reckoner.workers.kernels.scoring.scratch import CANDIDATES, HISTORIES, SCRATCH, Scratch

ZERO, ONE, TWO = np.uint64(0), np.uint64(1), np.uint64(2)
LOWER_HALF, LOWER_QUARTER = np.uint64(0xFFFFFFFF), np.uint64(0xFFFF)
GROUP, GROUP_WORDS, RANK_BITS = np.uint64(layout.GROUP), np.uint64(layout.GROUP_WORDS), layout.RANK_BITS


@compiled(types.boolean(CANDIDATES, READ_UINT32, types.uint64, types.uint64, types.int64), inner=True)
def has_few(candidates: Candidates, user_items: NDArray[np.uint32], begin: Index, end: Index, few_words: int) -> bool:
    """Whether the rows of a history fill at most `few_words` words."""
    words = 0
    for at in range(begin, end):
        item = np.uint64(user_items[at])
        words += candidates.bounds[TWO * item + TWO] - candidates.bounds[TWO * item]
        if words > few_words:
            return False
    return words <= few_words


@compiled(types.uint64(SCRATCH, types.uint64, types.uint64, types.float64, types.uint32), inner=True)
def _add(scratch: Scratch, count: Index, rank: Index, share: float, source: int) -> Index:
    """Add a share to a candidate's sum and note it. Returns the number of notes."""
    scratch.met[count], scratch.shares[count], scratch.sources[count] = rank, share, source
    scratch.sums[rank] += share
    # The last group is padded with zeros.
    return count + np.uint64(share > 0.0)


@compiled(
    types.Tuple((types.float64, types.float64, types.uint64))(
        *(CANDIDATES, READ_FLOAT32, SCRATCH, *HISTORIES, types.uint64, types.uint64)
    ),
    inner=True,
)
def add_few(
    candidates: Candidates,
    halves: NDArray[np.float32],
    scratch: Scratch,
    user_items: NDArray[np.uint32],
    user_weights: NDArray[np.float32],
    begin: Index,
    end: Index,
) -> tuple[float, float, Index]:
    """Sum one user's few shares by candidate, and note each.

    `halves` float32 are the halves of the candidates' words. Returns the sum of weights, the largest weight, and the
    number of notes.
    """
    bounds, words = candidates.bounds, candidates.words
    total, heaviest, count = 0.0, 0.0, ZERO
    for at in range(begin, end):
        item = np.uint64(user_items[at])
        weight = np.float64(user_weights[at]) if user_weights.size > 0 else 1.0
        total += weight
        heaviest = max(heaviest, weight)
        head, tail = np.uint64(bounds[TWO * item]), np.uint64(bounds[TWO * item + ONE])
        for k in range(head, tail, GROUP_WORDS):
            for n in range(GROUP):
                share = weight * np.float64(halves[TWO * (k + ONE) + n])
                count = _add(scratch, count, words[k] >> RANK_BITS * n & LOWER_QUARTER, share, user_items[at])
        for k in range(tail, np.uint64(bounds[TWO * item + TWO])):
            share = weight * np.float64(halves[TWO * k + ONE])
            count = _add(scratch, count, words[k] & LOWER_HALF, share, user_items[at])
    return total, heaviest, count


@compiled(types.uint64(CANDIDATES, SCRATCH, READ_UINT8, types.float64, types.uint64, types.uint64), inner=True)
def take_best_of_few(
    candidates: Candidates, scratch: Scratch, hidden: NDArray[np.uint8], total: float, count: Index, length: Index
) -> int:
    """Gather the best of the noted candidates that are not hidden, best first, and zero all sums.

    `hidden` is uint8[I], or empty. Returns their number.
    """
    sums, keys, size = scratch.sums, scratch.keys, ZERO
    for n in range(count):
        rank = np.uint64(scratch.met[n])
        # Zero where the candidate was noted before.
        score, item = np.float32(sums[rank] / total), candidates.order[rank]
        keys[size] = key_of(score, item)
        size += np.uint64(score > np.float32(0.0) and (hidden.size == 0 or hidden[item] == 0))
        sums[rank] = 0.0
    return keep_best(keys, size, length)


@compiled(types.void(CANDIDATES, SCRATCH, types.uint64, types.uint64, WRITE_UINT32), inner=True)
def reasons_of_few(
    candidates: Candidates, scratch: Scratch, count: Index, size: Index, reasons: NDArray[np.uint32]
) -> None:
    """Write the source of the largest share of each of the `size` best keys: the first at a tie.

    Meanwhile sums have the candidates' places, from 1.
    """
    sums, largest = scratch.sums, scratch.largest
    for n in range(size):
        sums[candidates.ranks[scratch.keys[n] & LOWER_HALF]] = np.float64(n + ONE)
        largest[n] = 0.0
    for n in range(count):
        place, share = np.uint64(sums[scratch.met[n]]), scratch.shares[n]
        if place > ZERO and share > largest[place - ONE]:
            largest[place - ONE], reasons[place - ONE] = share, scratch.sources[n]
    for n in range(size):
        sums[candidates.ranks[scratch.keys[n] & LOWER_HALF]] = 0.0
