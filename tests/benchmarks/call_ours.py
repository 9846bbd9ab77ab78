"""Our kernels, in this project's environment: building a model and scoring all users, with two threads.

The only caller of the kernels in their benchmark.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import numpy as np

from reckoner.shared.store.model_config import ModelConfig
from reckoner.workers.kernels.building.similarity import weigh
from reckoner.workers.kernels.building.work import are_counted, estimated_cost, plan_rows
from reckoner.workers.kernels.regression.regress import regress
from reckoner.workers.kernels.regression.sums import share
from reckoner.workers.kernels.regression.transpose import transpose
from reckoner.workers.kernels.regression.work import plan_targets
from reckoner.workers.kernels.scoring.candidates import Candidates, lay_out
from reckoner.workers.kernels.scoring.merge import Partial
from reckoner.workers.kernels.scoring.score import LeftOut, score_users
from reckoner.workers.runtime.building import Tile, build_tiles, counting_of, join_tiles
from tests.benchmarks.timed_call import LENGTH, NEIGHBOURS, THREADS, Arrays, Lists, run

TILES = 8
# Additions in a task of slim.
PER_TASK = 260_000_000
TILE_BYTES = 256_000_000
BLOCK_USERS = 2_000
NEVER = np.zeros(1, np.uint8)


def main() -> int:
    """Do a task."""
    tasks = {"build": build, "build-bm25": build_bm25, "build-slim": build_slim, "build-slim-rows": build_slim_rows}
    return run(tasks | {"score": score, "score-reasons": score_with_reasons})


def build(arrays: Arrays) -> Lists:
    """Cosine of all pairs of items."""
    return _build(arrays, ModelConfig(neighbours=NEIGHBOURS))


def build_bm25(arrays: Arrays) -> Lists:
    """BM25 with the parameters that implicit has."""
    return _build(arrays, ModelConfig("bm25", NEIGHBOURS, k1=1.2))


def _build(arrays: Arrays, config: ModelConfig) -> Lists:
    item_users = arrays.item_users.view(np.uint32)
    weighting = weigh(config, arrays.item_ptr, item_users, None, arrays.user_ptr)
    user_items = arrays.user_items.view(np.uint32)
    by_item, by_user = (arrays.item_ptr, item_users), (arrays.user_ptr, user_items)
    cost = estimated_cost(arrays.item_ptr, *by_user, are_counted=are_counted(config, are_weighted=False))
    plan = plan_rows(cost, NEIGHBOURS, TILES, TILES, 1, TILE_BYTES)
    counting = counting_of(weighting, *by_item, *by_user, plan.popular, NEIGHBOURS, stop=NEVER)
    assert counting is not None

    def tiles(rows: tuple[int, int]) -> Tile:
        tile = build_tiles(counting, *rows, TILE_BYTES, NEVER)
        assert tile is not None
        return tile

    with ThreadPoolExecutor(THREADS) as threads:
        parts = list(threads.map(tiles, pairwise(plan.bounds)))
    matrix = join_tiles(parts, arrays.shape[1], NEIGHBOURS, stop=NEVER)
    assert matrix is not None
    return Lists(*matrix)


def build_slim(arrays: Arrays) -> Lists:
    """The values of each target."""
    model = build_slim_rows(arrays)
    items = model.ptr.size - 1
    owners = np.repeat(np.arange(items), np.diff(model.ptr))
    order = np.argsort(model.items, kind="stable")
    ptr = np.concatenate(([0], np.cumsum(np.bincount(model.items, minlength=items))))
    return Lists(ptr, owners[order], model.values[order])


def build_slim_rows(arrays: Arrays) -> Lists:
    """The model of kind slim, with its defaults."""
    item_users, user_items = arrays.item_users.view(np.uint32), arrays.user_items.view(np.uint32)
    config = ModelConfig("slim", NEIGHBOURS)
    candidates = int(config.parameter("candidates"))
    plan = plan_targets(arrays.item_ptr, arrays.user_ptr, user_items, candidates, TILES, 500, PER_TASK, TILE_BYTES)
    by_item = arrays.item_ptr, item_users
    shared = share(*by_item, arrays.user_ptr, config.parameter("user_norm"), plan.popular, stop=NEVER)
    assert shared is not None

    def targets(ranks: tuple[int, int]) -> Tile:
        tile = regress(
            *(shared, *ranks),
            candidates=candidates,
            neighbours=NEIGHBOURS,
            l1=config.parameter("l1"),
            l2=config.parameter("l2"),
            l2_share=config.parameter("l2_share"),
            stop=NEVER,
        )
        assert tile is not None
        return tile

    with ThreadPoolExecutor(THREADS) as threads:
        parts = list(threads.map(targets, pairwise(plan.bounds)))
    model = transpose(parts, arrays.shape[1], stop=NEVER)
    assert model is not None
    return Lists(*model)


def score(arrays: Arrays) -> Lists:
    """All users' lists, without their history."""
    return _score(arrays, with_reasons=False)


def score_with_reasons(arrays: Arrays) -> Lists:
    """The same, and for each item why."""
    return _score(arrays, with_reasons=True)


def _score(arrays: Arrays, *, with_reasons: bool) -> Lists:
    users, items = arrays.shape
    row_items, user_items = arrays.row_items.view(np.uint32), arrays.user_items.view(np.uint32)

    def block(candidates: Candidates, first: int) -> Partial:
        user_ptr = arrays.user_ptr[first : first + BLOCK_USERS + 1]
        histories, left = (user_ptr, user_items, None), LeftOut(user_ptr, user_items)
        best = score_users(candidates, *histories, LENGTH, left=left, with_reasons=with_reasons, stop=NEVER)
        assert best is not None
        return best

    with ThreadPoolExecutor(THREADS) as threads:
        candidates = lay_out(arrays.row_ptr, row_items, arrays.row_values, 0, items, threads=threads, stop=NEVER)
        assert candidates is not None
        parts = list(threads.map(partial(block, candidates), range(0, users, BLOCK_USERS)))
    counts, best, scores, _ = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Lists(np.concatenate(([0], np.cumsum(counts, dtype=np.int64))), best, scores)
