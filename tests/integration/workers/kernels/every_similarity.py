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
from reckoner.workers.kernels.building.join import join_tiles
from reckoner.workers.kernels.building.logarithm import logs, powers
from reckoner.workers.kernels.building.ranked import rank
from reckoner.workers.kernels.building.similarity import cosine, weigh
from reckoner.workers.kernels.scoring.candidates import lay_out
from reckoner.workers.kernels.scoring.score import score_users

SIMILARITIES: tuple[Similarity, ...] = get_args(Similarity)
CONFIGS = (
    *(ModelConfig(similarity, 30) for similarity in SIMILARITIES),
    *(ModelConfig(similarity, 30, power=0.7) for similarity in SIMILARITIES),
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
    item_ptr, item_users, user_ptr = (arrays[name] for name in ("item_ptr", "item_users", "user_ptr"))
    item_weights, user_weights = (arrays[f"{side}_weights"] if weighted else None for side in ("item", "user"))
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
    candidates = lay_out(*model, 0, items, stop=stop)
    assert candidates is not None
    lists = score_users(candidates, user_ptr, arrays["user_items"], user_weights, 20, stop=stop)
    assert lists is not None
    return [*model, *lists]


if __name__ == "__main__":
    print(digest(sys.argv[1]), ",".join(numpy_features()) or "-", vectors())
