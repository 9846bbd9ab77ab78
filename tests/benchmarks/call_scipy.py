"""scipy: the product of the matrix with itself and the best of each row, in forked processes that share the rows."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tests.benchmarks.timed_call import NEIGHBOURS, Arrays, Lists, run

# Entries of the product made at a time.
ENTRIES = 20_000_000
# What the forked processes find as it was when they were forked.
forked: dict[str, tuple[csr_array, csr_array]] = {}


def main() -> int:
    """Do the task."""
    return run({"build": build})


def build(arrays: Arrays) -> Lists:
    """Cosine of all pairs of items; the item itself is one of its neighbours."""
    users, items = arrays.shape
    counts = np.diff(arrays.item_ptr)
    norms = 1 / np.sqrt(np.maximum(counts, 1))
    by_item = csr_array((np.repeat(norms, counts), arrays.item_users, arrays.item_ptr), shape=(items, users))
    by_user = csr_array((norms[arrays.user_items], arrays.user_items, arrays.user_ptr), shape=(users, items))
    forked["matrix"] = by_item, by_user
    # A row's entries are at most the additions that make it.
    lengths = np.diff(arrays.user_ptr)[arrays.item_users]
    work = np.concatenate(([0], np.cumsum(lengths)))[arrays.item_ptr]
    cuts = np.searchsorted(work, np.linspace(0, work[-1], 2 + max(int(work[-1]) // ENTRIES, arrays.processes - 1)))
    cuts[-1] = items
    with ProcessPoolExecutor(arrays.processes, mp_context=get_context("fork")) as processes:
        parts = list(processes.map(_best, cuts[:-1].tolist(), cuts[1:].tolist()))
    sizes, best, values = (np.concatenate(some) for some in zip(*parts, strict=True))
    return Lists(np.concatenate(([0], np.cumsum(sizes))), best, values)


def _best(first: int, last: int) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]:
    """The sizes, items and values of some rows."""
    by_item, by_user = forked["matrix"]
    product = by_item[first:last] @ by_user
    sizes = np.diff(product.indptr)
    keep = np.ones(product.data.size, bool)
    for row in np.flatnonzero(sizes > NEIGHBOURS):
        begin, end = product.indptr[row], product.indptr[row + 1]
        keep[begin + np.argpartition(product.data[begin:end], -NEIGHBOURS)[:-NEIGHBOURS]] = False
    return np.minimum(sizes, NEIGHBOURS), product.indices[keep], product.data[keep]
