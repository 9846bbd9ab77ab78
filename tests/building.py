"""Models and lists computed by the kernels, whole or in parts."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.store.model_config import ModelConfig
from reckoner.workers.kernels.building.build import Tile, build_tile
from reckoner.workers.kernels.building.join import Matrix, join_tiles
from reckoner.workers.kernels.building.ranked import Ranked, rank
from reckoner.workers.kernels.building.similarity import Weighting, weigh
from reckoner.workers.kernels.scoring.candidates import lay_out
from reckoner.workers.kernels.scoring.merge import Partial
from reckoner.workers.kernels.scoring.score import LeftOut, score_users
from reckoner.workers.kernels.scoring.scratch import FEW_WORDS, Scratch
from reckoner.workers.runtime.building import Counting, build_tiles, counting_of
from tests.interactions import Interactions

# Room for all bits of the small matrices of tests.
BIT_BYTES = 10_000_000

Model = tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.float32]]

# One of each similarity, and of each parameter that it takes.
CONFIGS = (
    ModelConfig("cosine"),
    ModelConfig("cosine", shrink=2.5),
    ModelConfig("cosine", user_norm=0.5),
    ModelConfig("cosine", power=0.7, shrink=0.5),
    ModelConfig("jaccard"),
    ModelConfig("jaccard", shrink=2.5),
    ModelConfig("jaccard", user_norm=1.0, power=2.0),
    ModelConfig("dice"),
    ModelConfig("dice", shrink=2.5),
    ModelConfig("dice", user_norm=0.5),
    ModelConfig("asymmetric"),
    ModelConfig("asymmetric", alpha=0.2, shrink=2.5),
    ModelConfig("asymmetric", alpha=0.9, user_norm=0.5, power=1.5),
    ModelConfig("bm25"),
    ModelConfig("bm25", k1=2.0, b=0.3),
    ModelConfig("bm25", k1=0.0, power=0.5),
    ModelConfig("tfidf"),
    ModelConfig("tfidf", shrink=2.5, power=1.2),
    ModelConfig("llr"),
    ModelConfig("llr", power=0.5),
    ModelConfig("rp3beta"),
    ModelConfig("rp3beta", alpha=0.6, beta=0.2),
    ModelConfig("rp3beta", alpha=1.4, beta=0.0, power=0.5),
)
EXACT = tuple(
    config
    for config in CONFIGS
    if config.similarity in ("cosine", "jaccard", "dice") and config.parameter("user_norm") == 0 and config.power == 1
)


def label(config: ModelConfig) -> str:
    """A configuration in the name of a test."""
    return " ".join(str(value) for value in config.facts().values())


def flag(value: int = 0) -> NDArray[np.uint8]:
    """A stop flag."""
    return np.array([value], np.uint8)


def weighting_of(data: Interactions, config: ModelConfig) -> Weighting:
    """The weighting of the data under a configuration."""
    return weigh(config, data.item_ptr, data.item_users, data.item_weights, data.user_ptr)


def ranked_of(data: Interactions, weighting: Weighting) -> Ranked:
    """The data laid out for counting with a weighting."""
    weights = weighting.item_weights if weighting.item_weights.size else None
    ranked = rank(data.item_ptr, data.item_users, weights, data.user_ptr, stop=flag())
    assert ranked is not None
    return ranked


def no_floors(data: Interactions) -> NDArray[np.float32]:
    """The floors of the items before the first tile."""
    return np.zeros(data.n_items, np.float32)


def tiles_of(
    data: Interactions, config: ModelConfig, rows: Sequence[int] = (), columns: Sequence[int] = ()
) -> Iterator[Tile]:
    """The tiles of all pairs, cut at these rows and columns; some may be empty.

    Each knows the results of the tiles before it.
    """
    weighting = weighting_of(data, config)
    ranked, floors = ranked_of(data, weighting), no_floors(data)
    for first, last in pairwise([0, *sorted(rows), data.n_items]):
        for low, high in pairwise([0, *sorted(columns), data.n_items]):
            tile = build_tile(
                ranked,
                weighting,
                floors,
                first,
                last,
                low,
                high,
                neighbours=config.neighbours,
                bit_bytes=BIT_BYTES,
                stop=flag(),
            )
            assert tile is not None
            yield tile


def build(data: Interactions, config: ModelConfig, rows: Sequence[int] = (), columns: Sequence[int] = ()) -> Matrix:
    """The model, built from tiles cut at these rows and columns."""
    return join(list(tiles_of(data, config, rows, columns)), data, config)


def counting_for(data: Interactions, config: ModelConfig, popular: int) -> Counting:
    """The data laid out for a fit, with dense rows of the `popular` most popular items."""
    by_item, by_user = (data.item_ptr, data.item_users), (data.user_ptr, data.user_items)
    weighting = weighting_of(data, config)
    counting = counting_of(weighting, *by_item, *by_user, popular, config.neighbours, stop=flag())
    assert counting is not None
    return counting


def build_mixed(
    data: Interactions, config: ModelConfig, popular: int, rows: Sequence[int] = (), tile_bytes: int = 10_000_000
) -> Matrix:
    """The model, built from tasks cut at these rows, with dense rows of the `popular` most popular items."""
    counting, tiles = counting_for(data, config, popular), []
    for first, last in pairwise([0, *sorted(rows), data.n_items]):
        tile = build_tiles(counting, first, last, tile_bytes, flag())
        assert tile is not None
        tiles.append(tile)
    return join(tiles, data, config)


def join(tiles: Sequence[Tile], data: Interactions, config: ModelConfig) -> Matrix:
    """The model, joined from tiles in this order."""
    matrix = join_tiles(tiles, data.n_items, config.neighbours, stop=flag())
    assert matrix is not None
    return matrix


def score(
    rows: Model,
    data: Interactions,
    candidates: tuple[int, int] | None = None,
    *,
    length: int,
    users: slice = slice(None),
    exclude_history: bool = True,
    left: LeftOut | None = None,
    hidden: NDArray[np.uint8] | None = None,
    with_reasons: bool = True,
    few_words: int = FEW_WORDS,
    scratch: Scratch | None = None,
) -> Partial:
    """The lists of a range of users over a range of candidates; `left` takes the place of the history."""
    first, last = (0, data.n_items) if candidates is None else candidates
    laid_out = lay_out(*rows, first, last, stop=flag())
    assert laid_out is not None
    block = range(data.n_users)[users]
    span = slice(block.start, block.stop + 1)
    if left is None and exclude_history:
        left = LeftOut(data.user_ptr, data.user_items)
    partial = score_users(
        laid_out,
        *(data.user_ptr[span], data.user_items, data.user_weights, length),
        left=left and LeftOut(left.ptr[span], left.items),
        hidden=hidden,
        with_reasons=with_reasons,
        few_words=few_words,
        scratch=scratch,
        stop=flag(),
    )
    assert partial is not None
    return partial


def same_bytes(one: tuple[NDArray[np.generic], ...], other: tuple[NDArray[np.generic], ...]) -> bool:
    """Whether the arrays have the same types and bytes, pair by pair."""
    return [(a.dtype, a.tobytes()) for a in one] == [(a.dtype, a.tobytes()) for a in other]
