"""What the library implicit makes of the same interactions: `python implicit_rival.py IN.npz OUT.npz`.

A process of its own, because a cosine model with the whole catalogue as neighbours takes 3.5 GB while it is built.
"""

import sys
import warnings

import numpy as np
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, ItemItemRecommender, TFIDFRecommender
from scipy.sparse import csr_matrix

RECOMMENDERS = {"cosine": CosineRecommender, "bm25": BM25Recommender, "tfidf": TFIDFRecommender}


def rival(similarity: str, user_items: csr_matrix, neighbours: int) -> ItemItemRecommender:
    """A model that keeps that many similar items of each, itself among them."""
    model = RECOMMENDERS[similarity](K=neighbours)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Method expects CSR input")  # said of CSR input too
        model.fit(user_items, show_progress=False)
    return model


def main(source: str, target: str) -> None:
    """Write everybody's ten best scores with the whole catalogue as neighbours, and of each model K neighbours."""
    given = np.load(source, allow_pickle=False)
    user_ptr, user_items = given["user_ptr"], given["user_items"]
    shape = (user_ptr.size - 1, int(given["n_items"]))
    matrix = csr_matrix((np.ones(user_items.size), user_items.astype(np.int32), user_ptr), shape=shape)
    whole = rival("cosine", matrix, shape[1])
    _, scores = whole.recommend(np.arange(shape[0]), matrix, N=10, filter_already_liked_items=True)
    del whole
    found = {"scores": scores}
    for similarity in RECOMMENDERS:
        # One more, since most rows hold the item itself.
        rows = rival(similarity, matrix, int(given["neighbours"]) + 1).similarity.tocsr()
        arrays = {"row_ptr": rows.indptr, "row_items": rows.indices, "row_values": rows.data}
        found |= {f"{similarity}_{name}": array for name, array in arrays.items()}
    np.savez(target, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
