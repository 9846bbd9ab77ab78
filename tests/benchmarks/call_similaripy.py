"""similaripy, in its own environment: its cosine of all pairs of items, and its product of histories and model."""

import numpy as np
import similaripy
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tests.benchmarks.timed_call import LENGTH, NEIGHBOURS, THREADS, Arrays, Lists, run


def main() -> int:
    """Do a task."""
    return run({"build": build, "score": score})


def build(arrays: Arrays) -> Lists:
    """Cosine of all pairs of items; the item itself is one of its neighbours."""
    users, items = arrays.shape
    found = similaripy.cosine(
        _matrix(arrays.item_ptr, arrays.item_users, None, (items, users)),
        _matrix(arrays.user_ptr, arrays.user_items, None, (users, items)),
        k=NEIGHBOURS,
        num_threads=THREADS,
        verbose=False,
        format_output="csr",
    )
    return Lists(found.indptr.astype(np.int64), found.indices, found.data)


def score(arrays: Arrays) -> Lists:
    """All users' lists, without their history."""
    items = arrays.shape[1]
    histories = _matrix(arrays.user_ptr, arrays.user_items, None, arrays.shape)
    found = similaripy.dot_product(
        histories,
        _matrix(arrays.row_ptr, arrays.row_items, arrays.row_values, (items, items)),
        k=LENGTH,
        filter_cols=histories,
        num_threads=THREADS,
        verbose=False,
        format_output="csr",
    )
    return Lists(found.indptr.astype(np.int64), found.indices, found.data)


def _matrix(
    ptr: NDArray[np.int64], indices: NDArray[np.int32], data: NDArray[np.float32] | None, shape: tuple[int, int]
) -> csr_array:
    # It wants 32 bits for both.
    values = np.ones(indices.size, np.float32) if data is None else data
    return csr_array((values, indices, ptr.astype(np.int32)), shape=shape)
