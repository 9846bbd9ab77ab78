"""sparse_dot_topn, in its own environment: the top entries of each row of a matrix product.

The items' norms are applied beforehand, and histories are not excluded.
"""

import numpy as np
from scipy.sparse import csr_matrix
from sparse_dot_topn import sp_matmul_topn

from tests.benchmarks.timed_call import LENGTH, NEIGHBOURS, THREADS, Arrays, Lists, run


def main() -> int:
    """Do a task."""
    return run({"build": build, "score": score})


def build(arrays: Arrays) -> Lists:
    """Cosine of all pairs of items; the item itself is one of its neighbours."""
    users, items = arrays.shape
    counts = np.diff(arrays.item_ptr)
    # In float32, which is an eighth faster, its sums are off by more than 1e-6.
    norms = 1 / np.sqrt(counts)
    by_item = csr_matrix((np.repeat(norms, counts), arrays.item_users, arrays.item_ptr), shape=(items, users))
    by_user = csr_matrix((norms[arrays.user_items], arrays.user_items, arrays.user_ptr), shape=(users, items))
    return _product(by_item, by_user, NEIGHBOURS)


def score(arrays: Arrays) -> Lists:
    """All users' best items, their history included."""
    items = arrays.shape[1]
    weights = np.ones(arrays.user_items.size, np.float32)
    histories = csr_matrix((weights, arrays.user_items, arrays.user_ptr), shape=arrays.shape)
    model = csr_matrix((arrays.row_values, arrays.row_items, arrays.row_ptr), shape=(items, items))
    return _product(histories, model, LENGTH)


def _product(left: csr_matrix, right: csr_matrix, best: int) -> Lists:
    found = sp_matmul_topn(left, right, top_n=best, n_threads=THREADS, sort=True)
    return Lists(found.indptr.astype(np.int64), found.indices, found.data)
