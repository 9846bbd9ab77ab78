"""A snapshot keeps its items' tags and availability, if they have any."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reckoner.shared.store.catalogue import ALWAYS, FOR_EVER, Catalogue, make_catalogue
from reckoner.shared.store.snapshots import open_snapshot, write_snapshot

NAMES = st.sampled_from(["a", "z", "é", "sale", "shoes: red", "😀"])


def write(directory: Path, catalogue: Catalogue | None, n_items: int) -> str:
    items = [f"{item:02}" for item in range(n_items)]
    had = np.arange(n_items)
    return write_snapshot(
        directory, user_ids=["u"], item_ids=items, users=np.zeros_like(had), items=had, catalogue=catalogue
    )


@given(st.lists(st.lists(NAMES), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_tags_are_kept_once_and_in_order(tmp_path_factory, tags, random) -> None:  # type: ignore[no-untyped-def]
    """Each item has its distinct tags, sorted; the order in which they were given does not change the id."""
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    shuffled = [random.sample(some, len(some)) for some in tags]
    assert write(first, make_catalogue(tags), len(tags)) == write(second, make_catalogue(shuffled), len(tags))
    opened = open_snapshot(first, verify=True).catalogue
    assert [opened.tags_of(item) for item in range(len(tags))] == [sorted(set(some)) for some in tags]
    names = [] if opened.tags is None else [opened.tags[tag] for tag in range(len(opened.tags))]
    assert names == sorted({name for some in tags for name in some})


def test_a_catalogue_that_says_nothing_changes_no_id(tmp_path: Path) -> None:
    """Items without tags, available always, are as if none had been given."""
    said_nothing = make_catalogue([[], []], np.full(2, ALWAYS), np.full(2, FOR_EVER))
    assert said_nothing.arrays() == {}
    ids = []
    for name, catalogue in (("none", None), ("nothing", said_nothing)):
        (tmp_path / name).mkdir()
        ids.append(write(tmp_path / name, catalogue, 2))
    assert ids[0] == ids[1]


def test_availability_is_kept(tmp_path: Path) -> None:
    """Either end may be given alone; an item without one has its default."""
    write(tmp_path, make_catalogue(available_from=np.array([5, ALWAYS])), 2)
    catalogue = open_snapshot(tmp_path, verify=True).catalogue
    assert catalogue.available_from is not None
    assert catalogue.available_from.tolist() == [5, ALWAYS]
    assert catalogue.available_until is None
    assert catalogue.tags is None
    assert catalogue.tags_of(0) == []
