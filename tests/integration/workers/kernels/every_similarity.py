"""A digest of models and lists of every similarity: `python every_similarity.py DATA.npz`.

Written as one line, with what numpy uses beyond its baseline and whether a kernel has instructions for vectors of 256
bits or more.
"""

import sys
from hashlib import sha256
from itertools import pairwise, product
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.store.model_config import ModelConfig, Similarity
from reckoner.workers.kernels.building.build import build_tile
from reckoner.workers.kernels.building.join import Matrix, join_tiles
from reckoner.workers.kernels.building.logarithm import logs, powers
from reckoner.workers.kernels.building.ranked import rank
from reckoner.workers.kernels.building.similarity import cosine, weigh
from reckoner.workers.kernels.regression.regress import regress
from reckoner.workers.kernels.regression.sums import share
from reckoner.workers.kernels.regression.transpose import transpose
from reckoner.workers.kernels.scoring.candidates import lay_out
from reckoner.workers.kernels.scoring.score import LeftOut, score_users

SIMILARITIES: tuple[Similarity, ...] = get_args(Similarity)
CONFIGS = (
    *(ModelConfig(similarity, 30) for similarity in SIMILARITIES),
    *(ModelConfig(similarity, 30, power=0.7) for similarity in SIMILARITIES if similarity != "slim"),
    ModelConfig("slim", 5, candidates=40, l1=0.1, l2=1.0),
    ModelConfig("asymmetric", 30, alpha=0.3, user_norm=0.4),
)


def numpy_features() -> list[str]:
    """What numpy finds beyond its baseline in this processor, where it is not told to leave it alone."""
    configuration: Any = np.show_config(mode="dicts")
    return list(configuration["SIMD Extensions"].get("found", []))


def vectors() -> bool:
    """Whether a kernel that was compiled in this process has long vectors."""
    kernel: Any = cosine
    return any("ymm" in assembly or "zmm" in assembly for assembly in kernel.inspect_asm().values())


def digest(path: str) -> str:
    """The digest of all that is made of the data at a path, weighted or not."""
    with np.load(path, allow_pickle=False) as data:
        arrays = dict(data)
    found = sha256()
    for weighted in (False, True):
        for config in CONFIGS:
            for array in model_and_lists(arrays, config, weighted=weighted):
                found.update(array.tobytes())
    numbers = np.arange(1, 100_000) / 977
    for array in (logs(numbers), powers(numbers, 0.7), powers(numbers, -3.3)):
        found.update(array.tobytes())
    return found.hexdigest()


def model_and_lists(arrays: dict[str, NDArray[Any]], config: ModelConfig, *, weighted: bool) -> list[NDArray[Any]]:
    """The arrays of a model and of everybody's lists."""
    stop = np.zeros(1, np.uint8)
    model = slim(arrays, config) if config.similarity == "slim" else neighbours(arrays, config, weighted=weighted)
    items = arrays["item_ptr"].size - 1
    candidates = lay_out(*model, 0, items, stop=stop)
    assert candidates is not None
    histories = arrays["user_ptr"], arrays["user_items"], arrays["user_weights"] if weighted else None
    left, hidden = LeftOut(*histories[:2]), (np.arange(items) % 3 == 0).astype(np.uint8)
    lists = score_users(candidates, *histories, 20, left=left, stop=stop)
    shown = score_users(candidates, *histories, 20, left=left, hidden=hidden, stop=stop)
    assert lists is not None
    assert shown is not None
    return [*model, *lists, *shown]


def slim(arrays: dict[str, NDArray[Any]], config: ModelConfig) -> Matrix:
    """A model of kind slim, of ranges of targets."""
    stop, items = np.zeros(1, np.uint8), arrays["item_ptr"].size - 1
    by_item = arrays["item_ptr"], arrays["item_users"]
    shared = share(*by_item, arrays["user_ptr"], config.parameter("user_norm"), 100, stop=stop)
    assert shared is not None
    tiles = []
    for first, last in pairwise((0, 3, 150, items)):
        tile = regress(
            *(shared, first, last),
            candidates=int(config.parameter("candidates")),
            neighbours=config.neighbours,
            l1=config.parameter("l1"),
            l2=config.parameter("l2"),
            l2_share=config.parameter("l2_share"),
            stop=stop,
        )
        assert tile is not None
        tiles.append(tile)
    model = transpose(tiles, items, stop=stop)
    assert model is not None
    return model


def neighbours(arrays: dict[str, NDArray[Any]], config: ModelConfig, *, weighted: bool) -> Matrix:
    """A model of neighbours, of tiles."""
    stop = np.zeros(1, np.uint8)
    item_ptr, item_users, user_ptr = (arrays[name] for name in ("item_ptr", "item_users", "user_ptr"))
    item_weights = arrays["item_weights"] if weighted else None
    weighting = weigh(config, item_ptr, item_users, item_weights, user_ptr)
    weights = weighting.item_weights if weighting.item_weights.size else None
    ranked = rank(item_ptr, item_users, weights, user_ptr, stop=stop)
    assert ranked is not None
    items = item_ptr.size - 1
    tiles, floors = [], np.zeros(items, np.float32)
    for (first, last), (low, high) in product(pairwise((0, 3, 150, items)), pairwise((0, 0, 1, 80, items))):
        tile = build_tile(
            ranked,
            weighting,
            floors,
            first,
            last,
            low,
            high,
            neighbours=config.neighbours,
            bit_bytes=1_000_000,
            stop=stop,
        )
        assert tile is not None
        tiles.append(tile)
    model = join_tiles(tiles, items, config.neighbours, stop=stop)
    assert model is not None
    return model


if __name__ == "__main__":
    print(digest(sys.argv[1]), ",".join(numpy_features()) or "-", vectors())
