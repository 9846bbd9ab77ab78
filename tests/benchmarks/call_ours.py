"""Our kernels, in this project's environment: the build of a model and everybody's list, by two threads.

The one place of the kernels' benchmark that knows how they are called.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from shared.balance import balance
from tests.benchmarks.timed_call import LENGTH, NEIGHBOURS, THREADS, Arrays, Lists, run
from workers.kernels.build import Rows, build_rows, join_rows
from workers.kernels.merge import Partial
from workers.kernels.score import score_users
from workers.kernels.work import row_work

PARTS = 64
BLOCK_USERS = 2_000
NEVER = np.zeros(1, np.uint8)


def main() -> int:
    """Do a task."""
    return run({"build": build, "score-reasons": score})


def build(arrays: Arrays) -> Lists:
    """Cosine of all pairs of items."""
    item_users, user_items = arrays.item_users.view(np.uint32), arrays.user_items.view(np.uint32)

    def rows(first: int, last: int) -> Rows:
        rows = build_rows(
            *(arrays.item_ptr, item_users, None, arrays.user_ptr, user_items, None, first, last),
            similarity="cosine",
            neighbours=NEIGHBOURS,
            shrink=0.0,
            stop=NEVER,
        )
        assert rows is not None
        return rows

    bounds = balance(row_work(arrays.item_ptr, item_users, arrays.user_ptr), PARTS)
    with ThreadPoolExecutor(THREADS) as threads:
        parts = list(threads.map(rows, bounds[:-1], bounds[1:]))
    matrix = join_rows(parts, stop=NEVER)
    assert matrix is not None
    return Lists(*matrix)


def score(arrays: Arrays) -> Lists:
    """Everybody's list, without what they had, and with reasons."""
    users, items = arrays.shape
    model = (arrays.row_ptr, arrays.row_items.view(np.uint32), arrays.row_values)
    user_items = arrays.user_items.view(np.uint32)

    def block(first: int) -> Partial:
        histories = (arrays.user_ptr[first : first + BLOCK_USERS + 1], user_items, None)
        partial = score_users(*model, *histories, 0, items, LENGTH, stop=NEVER)
        assert partial is not None
        return partial

    with ThreadPoolExecutor(THREADS) as threads:
        parts = list(threads.map(block, range(0, users, BLOCK_USERS)))
    counts, best, scores, _ = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Lists(np.concatenate(([0], np.cumsum(counts, dtype=np.int64))), best, scores)
