"""Published lists: the bytes of a basket, and which blocks of a run are compared with earlier lists."""

from pathlib import Path

import numpy as np
import pytest

from reckoner.shared.store.snapshots import Snapshot, open_snapshot, write_snapshot
from reckoner.shared.wire.shapes import (
    BASKET,
    BasketResult,
    BasketSpec,
    BlockSpec,
    Options,
    Record,
    ScoredItem,
)
from reckoner.workers.kernels.scoring.merge import Partial
from reckoner.workers.tasks.publish import USERS_COMPARED, Block, basket_list, compared_users
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


def compared(snapshot: Snapshot, users: int, block_size: int, run: str = "run", since: str = "before") -> list[int]:
    """The compared users of all blocks."""
    spec, record = BlockSpec(run, "g", block_size, since), Record(2, "g", "m", "s", Options(20), 0, users, [])
    blocks = (range(first, min(first + block_size, users)) for first in range(0, users, block_size))
    return [user for block in blocks for user in compared_users(Block(spec, block, snapshot, record))]


@pytest.mark.parametrize("run", ["run", "another", "f3a9"])
def test_a_sample_of_a_run_s_users_is_compared(snapshot: Snapshot, run: str) -> None:
    """All users of a short run, and of a long one every n-th, however it is divided into blocks."""
    assert compared(snapshot, 1_000, 20, run) == list(range(1_000))
    found = compared(snapshot, 123_456, 1_000, run)
    assert found == compared(snapshot, 123_456, 7, run)
    assert set(np.diff(found)) == {123_456 // USERS_COMPARED}
    assert USERS_COMPARED <= len(found) < 1.1 * USERS_COMPARED


def test_nothing_is_compared_without_earlier_lists(snapshot: Snapshot) -> None:
    """The first run, and a second one of the same generation."""
    assert compared(snapshot, 100, 20, since="") == compared(snapshot, 100, 20, since="g") == []


def test_other_runs_compare_other_users(snapshot: Snapshot) -> None:
    """So that no user is left out for ever."""
    chosen = {frozenset(compared(snapshot, 100_000, 1_000, run)) for run in ("a", "b", "c")}
    assert len(chosen) == 3
