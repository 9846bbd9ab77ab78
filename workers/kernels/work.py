"""What the rows of a model cost to build, and which of them are counted as bits."""

import numpy as np
from llvmlite import binding
from numba import config
from numpy.typing import NDArray

from workers.kernels.ranked import Ranked
from workers.kernels.similarity import Weighting

# In additions to a counter, each of which takes some 0.7 ns: what it costs to turn a sum into a similarity and to see
# that it is none of the best.
PER_PAIR = 4.0
# And to count one word of bits, with instructions that count those of a whole vector, with one for a word, or with
# neither. What it is has no say in the result.
PER_WORD_BY_FEATURE = {"avx512vpopcntdq": 0.12, "popcnt": 0.5}
PER_WORD_OTHERWISE = 2.0
BYTES_PER_WORD = 8


def bit_ranks(ranked: Ranked, weighting: Weighting, bit_bytes: int) -> int:
    """How many of the most popular items are worth counting as bits, a word for 64 users, and have room in `bit_bytes`.

    None where users weigh.
    """
    if weighting.user_factors.size or weighting.item_weights.size:
        return 0
    gain = ranked.additions - _as_bits(ranked)
    worth = int(np.argmax(np.concatenate((np.zeros(1), np.cumsum(gain)))))
    return min(worth, bit_bytes // max(_words(ranked) * BYTES_PER_WORD, 1))


def row_work(ranked: Ranked, weighting: Weighting, bit_bytes: int) -> NDArray[np.int64]:
    """What each rank's row costs to build, in additions, int64[I]; `bit_bytes` as for `bit_ranks`."""
    ranks = np.arange(ranked.order.size)
    counting = np.where(ranks < bit_ranks(ranked, weighting, bit_bytes), _as_bits(ranked), ranked.additions)
    work: NDArray[np.int64] = (counting + ranks * PER_PAIR).astype(np.int64)
    return work


def _as_bits(ranked: Ranked) -> NDArray[np.float64]:
    """What each rank's row costs as bits, float64[I]."""
    return np.arange(ranked.order.size, dtype=np.float64) * (_words(ranked) * _per_word())


def _words(ranked: Ranked) -> int:
    """How many words a bit for each user takes."""
    return (ranked.user_ptr.size + 62) // 64


def _per_word() -> float:
    features = binding.get_host_cpu_features() if vars(config)["CPU_NAME"] is None else {}
    return next((cost for name, cost in PER_WORD_BY_FEATURE.items() if features.get(name)), PER_WORD_OTHERWISE)
