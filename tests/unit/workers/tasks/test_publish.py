"""Published lists: the bytes of a basket, and which blocks of a run are compared with earlier lists."""

from pathlib import Path

import numpy as np
import pytest

from reckoner.shared.store.snapshots import Snapshot, open_snapshot, write_snapshot
from reckoner.shared.wire.shapes import (
    BASKET,
    BasketResult,
    BasketSpec,
    ScoredItem,
)
from reckoner.workers.kernels.scoring.merge import Partial
from reckoner.workers.tasks.publish import basket_list
from reckoner.workers.tasks.reduce import NOTHING

ITEMS = ["a", "b:c", "d e", "ü"]


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    codes = np.arange(4)
    write_snapshot(tmp_path, user_ids=["u"], item_ids=ITEMS, users=np.zeros(4, np.int64), items=codes)
    return open_snapshot(tmp_path)


def test_a_basket_has_the_codec_s_bytes(snapshot: Snapshot) -> None:
    """With its unknown items, escaped; a basket without known ones has an empty list."""
    best = Partial(
        np.array([2], np.uint32),
        np.array([1, 3], np.uint32),
        np.array([0.5, 0.1], np.float32),
        np.array([0, 2], np.uint32),
    )
    spec = BasketSpec(["a", 'x"y', "ü"], "g")
    places = [ScoredItem("b:c", 0.5, "a"), ScoredItem("ü", 0.1, "d e")]
    assert basket_list(spec, best, snapshot) == BASKET.encode(BasketResult(2, places, ['x"y']))
    nothing = BasketSpec(["x"], "g")
    assert basket_list(nothing, NOTHING, snapshot) == BASKET.encode(BasketResult(2, [], ["x"]))
