"""Published lists: the bytes of a basket, and which blocks of a run are compared with earlier lists."""

from pathlib import Path

import msgspec
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
from reckoner.workers.tasks.publish import BLOCKS_COMPARED, basket_list, is_compared
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


def compared(users: int, block_size: int, run: str = "run", since: str = "before") -> int:
    spec = BlockSpec(run, "g", block_size, since)
    record = Record(2, "g", "m", "s", Options(20), 0, users, [])
    return sum(is_compared(spec, block, record) for block in range(-(-users // block_size)))


@pytest.mark.parametrize("run", ["run", "another", "f3a9"])
def test_a_sample_of_a_run_s_blocks_is_compared(run: str) -> None:
    """All blocks of a short run, and of a long one some eight, of another place in each run."""
    assert compared(100, 20, run) == 5
    assert BLOCKS_COMPARED <= compared(100_000, 100, run) <= BLOCKS_COMPARED + 1
    assert compared(1_000, 125, run) == 8


def test_nothing_is_compared_without_earlier_lists() -> None:
    """The first run, and a second one of the same generation."""
    assert compared(100, 20, since="") == compared(100, 20, since="g") == 0


def test_other_runs_compare_other_blocks() -> None:
    """So that no block is left out for ever."""
    record = Record(2, "g", "m", "s", Options(20), 0, 100_000, [])
    spec = BlockSpec("run", "g", 100, "before")
    chosen = {
        frozenset(b for b in range(1000) if is_compared(msgspec.structs.replace(spec, run=run), b, record))
        for run in ("a", "b", "c")
    }
    assert len(chosen) == 3
