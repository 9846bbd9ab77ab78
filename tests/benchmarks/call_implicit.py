"""implicit, in its own environment: its recommenders of nearest neighbours, and their batched `recommend`.

`num_threads` does nothing in `recommend`, so it is called in some processes too, which are forked and share the users.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, ItemItemRecommender, NearestNeighboursScorer
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from tests.benchmarks.timed_call import NEIGHBOURS, THREADS, Arrays, Lists, run

Answers = tuple[NDArray[np.int32], NDArray[np.float64]]
# What the forked processes find as it was when they were forked.
forked: dict[str, tuple[ItemItemRecommender, csr_matrix]] = {}


def main() -> int:
    """Do a task."""
    return run({"build": build, "build-bm25": build_bm25, "score": score, "score-alone": score_alone})


def build(arrays: Arrays) -> Lists:
    """Cosine of all pairs of items; the item itself is one of its neighbours."""
    return _fitted(CosineRecommender(K=NEIGHBOURS, num_threads=THREADS), arrays)


def build_bm25(arrays: Arrays) -> Lists:
    """The same with BM25 weights, K1 = 1.2 and B = 0.75."""
    return _fitted(BM25Recommender(K=NEIGHBOURS, num_threads=THREADS), arrays)


def score(arrays: Arrays) -> Lists:
    """All users' lists, in forked processes."""
    forked["all"] = _model(arrays), _histories(arrays)
    bounds = np.linspace(0, arrays.shape[0], arrays.processes + 1).astype(int).tolist()
    with ProcessPoolExecutor(arrays.processes, mp_context=get_context("fork")) as processes:
        parts = list(processes.map(_recommend_part, bounds[:-1], bounds[1:], [arrays.length] * arrays.processes))
    items, scores = zip(*parts, strict=True)
    return _lists((np.concatenate(items), np.concatenate(scores)))


def score_alone(arrays: Arrays) -> Lists:
    """All users' lists, in this process."""
    return _lists(_recommend(_model(arrays), _histories(arrays), arrays.length))


def _fitted(model: ItemItemRecommender, arrays: Arrays) -> Lists:
    model.fit(_histories(arrays), show_progress=False)
    found = model.similarity
    return Lists(found.indptr.astype(np.int64), found.indices, found.data)


def _histories(arrays: Arrays) -> csr_matrix:
    weights = np.ones(arrays.user_items.size, np.float32)
    return csr_matrix((weights, arrays.user_items, arrays.user_ptr), shape=arrays.shape)


def _model(arrays: Arrays) -> ItemItemRecommender:
    model = ItemItemRecommender(K=NEIGHBOURS, num_threads=THREADS)
    items = arrays.shape[1]
    values = arrays.row_values.astype(np.float64)
    model.similarity = csr_matrix((values, arrays.row_items, arrays.row_ptr), shape=(items, items))
    model.scorer = NearestNeighboursScorer(model.similarity)
    return model


def _recommend_part(first: int, last: int, length: int) -> Answers:
    model, histories = forked["all"]
    return _recommend(model, histories[first:last], length)


def _recommend(model: ItemItemRecommender, histories: csr_matrix, length: int) -> Answers:
    answers: Answers = model.recommend(np.arange(histories.shape[0]), histories, N=length)
    return answers


def _lists(answers: Answers) -> Lists:
    items, scores = answers
    return Lists(np.arange(len(items) + 1) * items.shape[1], items.ravel(), scores.ravel())
