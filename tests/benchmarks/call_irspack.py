"""irspack, in its own environment: SLIM by its own coordinate descent, of non-negative values, with two threads."""

import numpy as np
from irspack.recommenders.slim import SLIMRecommender
from scipy.sparse import csr_matrix

from tests.benchmarks.timed_call import NEIGHBOURS, THREADS, Arrays, Lists, run


def main() -> int:
    """Do the task."""
    return run({"build-slim": build})


def build(arrays: Arrays) -> Lists:
    """The targets' values, with its default penalties."""
    has = csr_matrix((np.ones(arrays.user_items.size), arrays.user_items, arrays.user_ptr), shape=arrays.shape)
    model = SLIMRecommender(has, top_k=NEIGHBOURS, n_threads=THREADS).learn()
    values = model.W.tocsc()
    values.sort_indices()
    return Lists(values.indptr.astype(np.int64), values.indices, values.data)
