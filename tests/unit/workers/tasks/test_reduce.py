"""The reduce: lists with the caller's ids and exact decimal scores."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.shared.store.snapshots import Snapshot, open_snapshot, write_snapshot
from reckoner.shared.wire.shapes import RESULT
from reckoner.workers.kernels.scoring.merge import Partial
from reckoner.workers.tasks.reduce import as_results

ITEMS = ["a", "b:c", "d e", "ü"]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    directory = tmp_path_factory.mktemp("snapshot")
    codes = np.arange(4)
    write_snapshot(directory, user_ids=["u"], item_ids=ITEMS, users=np.zeros(4, np.int64), items=codes)
    return open_snapshot(directory)


def partial(counts: list[int], items: list[int], scores: list[float], reasons: list[int]) -> Partial:
    return Partial(
        np.array(counts, np.uint32),
        np.array(items, np.uint32),
        np.array(scores, np.float32),
        np.array(reasons, np.uint32),
    )


def test_each_user_gets_his_part_with_the_ids_outside(snapshot: Snapshot) -> None:
    """Lists are concatenated; some are empty."""
    best = partial([2, 0, 1], [1, 3, 0], [0.5, 0.25, 0.1], [0, 0, 2])
    lists = list(as_results(best, snapshot, "g1"))
    assert [[(place.item, place.because) for place in result.items] for result in lists] == [
        [("b:c", "a"), ("ü", "a")],
        [],
        [("a", "d e")],
    ]
    assert lists[2].items[0].score == 0.1
    assert {result.generation for result in lists} == {"g1"}


def test_nobody_gives_no_lists(snapshot: Snapshot) -> None:
    """A block without users publishes nothing."""
    assert list(as_results(partial([], [], [], []), snapshot, "g1")) == []


@given(score=st.floats(2**-126, 2.0**60, width=32))
def test_a_score_reads_back_as_the_same_float32(snapshot: Snapshot, score: float) -> None:
    """No digit of the decimal can be dropped."""
    [result] = as_results(partial([1], [0], [score], [1]), snapshot, "g1")
    text = msgspec.json.decode(RESULT.encode(result))["items"][0]["score"]
    assert np.float32(text) == np.float32(score)
    assert float(np.format_float_scientific(np.float32(score), unique=True)) == text
