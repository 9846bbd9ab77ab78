"""Published lists: the bytes of a basket, and which blocks of a run are compared with earlier lists."""

from pathlib import Path

import numpy as np
import pytest
from msgspec import UNSET, UnsetType

from reckoner.shared.store.snapshots import Snapshot, open_snapshot, write_snapshot
from reckoner.shared.wire.filters import Filter
from reckoner.shared.wire.shapes import (
    BASKET,
    FILTERED,
    RESULT,
    BasketResult,
    BasketSpec,
    FilteredResult,
    Frozen,
    Result,
    ScoredItem,
    UserSpec,
)
from reckoner.workers.kernels.scoring.merge import Partial
from reckoner.workers.tasks.publish import one_list
from reckoner.workers.tasks.reduce import NOTHING

ITEMS = ["a", "b:c", "d e", "ü"]


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    codes = np.arange(4)
    write_snapshot(tmp_path, user_ids=["u"], item_ids=ITEMS, users=np.zeros(4, np.int64), items=codes)
    return open_snapshot(tmp_path)


BEST = Partial(
    np.array([2], np.uint32),
    np.array([1, 3], np.uint32),
    np.array([0.5, 0.1], np.float32),
    np.array([0, 2], np.uint32),
)
PLACES = [ScoredItem("b:c", 0.5, "a"), ScoredItem("ü", 0.1, "d e")]


def test_a_basket_has_the_codec_s_bytes(snapshot: Snapshot) -> None:
    """With its unknown items, escaped; a basket without known ones has an empty list."""
    spec = BasketSpec(["a", 'x"y', "ü"], "g")
    assert one_list(spec, BEST, snapshot, Frozen(), 2) == BASKET.encode(BasketResult(2, PLACES, ['x"y']))
    nothing = BasketSpec(["x"], "g")
    assert one_list(nothing, NOTHING, snapshot, Frozen(), 2) == BASKET.encode(BasketResult(2, [], ["x"]))


@pytest.mark.parametrize(
    ("hidden", "places", "noted"), [("ab", 3, "ab"), ("", 3, ""), ("ab", 2, UNSET), (None, 3, UNSET)]
)
def test_a_short_list_names_what_was_hidden(
    snapshot: Snapshot, hidden: str | None, places: int, noted: str | UnsetType
) -> None:
    """That of a user, a basket or a filter; not a list with all places, nor one without the generation's own mask."""
    frozen = Frozen(b"7", hidden=hidden, unknown=["x"])
    shoes, basket = Filter(("shoes",)), ["a", "y"]
    assert one_list(UserSpec("u", "g"), BEST, snapshot, frozen, places) == RESULT.encode(
        Result(2, PLACES, ["x"], noted)
    )
    assert one_list(BasketSpec(basket, "g"), BEST, snapshot, frozen, places) == BASKET.encode(
        BasketResult(2, PLACES, ["y"], noted)
    )
    assert one_list(UserSpec("u", "g", shoes), BEST, snapshot, frozen, places) == FILTERED.encode(
        FilteredResult(2, PLACES, ["x"], noted, "7")
    )
