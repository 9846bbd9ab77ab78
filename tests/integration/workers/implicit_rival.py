"""What the library implicit makes of the same interactions: `python implicit_rival.py IN.npz OUT.npz`.

A process of its own, because a cosine model with the whole catalogue as neighbours takes 3.5 GB while it is built.
"""

import sys
import warnings

import numpy as np
from implicit.nearest_neighbours import CosineRecommender
from scipy.sparse import csr_matrix


def rival(user_items: csr_matrix, neighbours: int) -> CosineRecommender:
    """A model that keeps that many similar items of each, itself among them."""
    model = CosineRecommender(K=neighbours)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Method expects CSR input")  # said of CSR input too
        model.fit(user_items, show_progress=False)
    return model


def main(source: str, target: str) -> None:
    """Write everybody's ten best scores with the whole catalogue as neighbours, and the rows of K neighbours."""
    given = np.load(source, allow_pickle=False)
    user_ptr, user_items = given["user_ptr"], given["user_items"]
    shape = (user_ptr.size - 1, int(given["n_items"]))
    matrix = csr_matrix((np.ones(user_items.size), user_items.astype(np.int32), user_ptr), shape=shape)
    whole = rival(matrix, shape[1])
    _, scores = whole.recommend(np.arange(shape[0]), matrix, N=10, filter_already_liked_items=True)
    del whole
    # One more, since most rows hold the item itself.
    rows = rival(matrix, int(given["neighbours"]) + 1).similarity.tocsr()
    np.savez(target, scores=scores, row_ptr=rows.indptr, row_items=rows.indices, row_values=rows.data)


if __name__ == "__main__":
    main(*sys.argv[1:])
