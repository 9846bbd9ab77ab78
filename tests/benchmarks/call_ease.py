"""EASE by numpy: the inverse of a dense matrix, and the best values of each column.

Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, algorithm 1, in float32, which is the faster.
"""

import numpy as np
from scipy.sparse import csr_array

from tests.benchmarks.timed_call import EASE_L2, NEIGHBOURS, Arrays, Lists, run


def main() -> int:
    """Do the task."""
    return run({"build-slim": build})


def build(arrays: Arrays) -> Lists:
    """The targets' best values above zero."""
    users, items = arrays.shape
    has = csr_array((np.ones(arrays.user_items.size, np.float32), arrays.user_items, arrays.user_ptr), (users, items))
    gram = (has.T @ has).toarray()
    gram[np.diag_indices(items)] += np.float32(EASE_L2)
    inverse = np.linalg.inv(gram)
    # Symmetric, so its rows are its columns.
    values = inverse / -np.diag(inverse)[:, None]
    values[np.diag_indices(items)] = 0.0
    best = np.argpartition(values, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:]
    kept = np.take_along_axis(values, best, axis=1)
    counts = np.count_nonzero(kept > 0, axis=1)
    return Lists(np.concatenate(([0], np.cumsum(counts))), best[kept > 0], kept[kept > 0])
