"""The gate of an import: what is at a limit passes, what is beyond it is named with its figures."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from reckoner.producer.importing.gate import FEW, ImportLimits, RowCounts, Size, judge, refusals
from reckoner.shared.store.directory import DirectoryStore
from reckoner.shared.store.snapshots import KIND, write_snapshot

LIMITS = ImportLimits()
BEFORE = Size(users=1_000, items=200, interactions=30_000)
HALF = Size(users=500, items=100, interactions=15_000)


def test_a_snapshot_at_every_limit_passes() -> None:
    """Half of what there was, and one bad row in a hundred."""
    assert refusals(LIMITS, HALF, BEFORE, RowCounts(10_000, 100)) == []


@pytest.mark.parametrize("name", Size.__struct_fields__)
def test_each_figure_below_its_limit_is_named(name: str) -> None:
    """By one."""
    sizes = {field: getattr(HALF, field) for field in Size.__struct_fields__}
    now, past = sizes[name] - 1, getattr(BEFORE, name)
    assert refusals(LIMITS, Size(**sizes | {name: now}), BEFORE, RowCounts(10_000)) == [
        f"{name} fell from {past:,} to {now:,}, which is {now / past:.1%}, the limit is 50.0% (--min-share)"
    ]


def test_all_figures_are_named_at_once() -> None:
    """In their order, bad rows first."""
    found = refusals(LIMITS, Size(1, 1, 1), BEFORE, RowCounts(10_000, 101))
    starts = "1.0% of the rows", "users fell", "items fell", "interactions fell"
    assert len(found) == len(starts)
    assert all(map(str.startswith, found, starts))


def test_one_bad_row_too_many_is_named() -> None:
    """With its share."""
    bad = "1.1% of the rows are bad, the limit is 1.0% (--max-bad)"
    assert refusals(LIMITS, HALF, None, RowCounts(10_000, 110)) == [bad]
    assert refusals(ImportLimits(max_bad=0.011), HALF, None, RowCounts(10_000, 110)) == []


def test_too_many_rows_left_out_are_named() -> None:
    """More than half, beside bad rows."""
    found = refusals(LIMITS, HALF, None, RowCounts(10_000, 101, 5_001))
    assert found[1] == "50.0% of the rows are left out, the limit is 50.0% (--max-left-out)"
    assert refusals(LIMITS, HALF, None, RowCounts(10_000, 0, 5_000)) == []
    assert refusals(ImportLimits(max_left_out=0.6), HALF, None, RowCounts(10_000, 0, 6_000)) == []
    assert refusals(LIMITS, HALF, None, RowCounts(FEW, 0, FEW)) == []


def test_few_bad_rows_pass_whatever_their_share() -> None:
    """All of them are listed, so nothing is hidden."""
    assert refusals(LIMITS, Size(1, 1, 1), None, RowCounts(FEW + 1, FEW)) == []
    assert len(refusals(LIMITS, Size(1, 1, 1), None, RowCounts(FEW + 2, FEW + 1))) == 1


def test_without_a_snapshot_before_no_size_is_too_small() -> None:
    """The first import."""
    assert refusals(LIMITS, Size(1, 1, 1), None, RowCounts(1)) == []


def test_limits_at_their_ends_let_all_or_no_change_through() -> None:
    """A share of 0 asks for nothing, and one of 1 for as much as before."""
    assert refusals(ImportLimits(max_bad=1.0, min_share=0.0), Size(1, 1, 1), BEFORE, RowCounts(10_000, 9_999)) == []
    assert refusals(ImportLimits(min_share=1.0), BEFORE, BEFORE, RowCounts(10_000)) == []
    assert len(refusals(ImportLimits(min_share=1.0), HALF, BEFORE, RowCounts(10_000))) == 3


def published(store: DirectoryStore, users: int) -> str:
    """A snapshot with an item and an interaction for each user; returns its id."""
    ids = [f"u{number:03}" for number in range(users)]
    with store.scratch() as directory:
        each = np.arange(users)
        snapshot = write_snapshot(directory, user_ids=ids, item_ids=ids, users=each, items=each)
        store.publish(KIND, snapshot, directory)
    return snapshot


def test_a_snapshot_is_compared_with_the_live_one_too(tmp_path: Path) -> None:
    """Several imports of 60 % in a row, none of which went live, would shrink it without a word."""
    store = DirectoryStore(tmp_path)
    live, current = published(store, 100), published(store, 60)
    store.set_current_snapshot(current)
    size = Size(36, 36, 36)
    assert judge(ImportLimits(), size, store, RowCounts(36)).refused == []
    found = judge(ImportLimits(live=live), size, store, RowCounts(36)).refused
    assert found[0] == "users fell from 100 to 36, which is 36.0%, the limit is 50.0% (--min-share)"
    assert judge(ImportLimits(live=current), size, store, RowCounts(36)).refused == []
    shutil.rmtree(store.root / "snapshots" / live)
    assert judge(ImportLimits(live=live), size, store, RowCounts(36)).refused == []
    shutil.rmtree(store.root / "snapshots" / current)
    [lost] = judge(ImportLimits(live=live), size, store, RowCounts(36)).refused
    assert lost == "the current snapshot is damaged or gone, so nothing can be compared with it (--min-share)"
