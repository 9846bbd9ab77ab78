"""The named lists of a snapshot are those of a plain reference, by all items and by tag."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.shared.store.catalogue import ALWAYS, FOR_EVER, make_catalogue
from reckoner.shared.store.snapshots import Snapshot, open_snapshot, write_snapshot
from reckoner.workers.kernels import item_lists
from reckoner.workers.tasks import describing
from reckoner.workers.tasks.describing import DAY_MS, named_lists, tags_of

ITEMS = ["00", "01", "02", "03", "04", "05", "06", "é"]
# All items are available by then, unless a test says otherwise.
NOW = 100 * DAY_MS
NAMES = ["a", "b", "c:d", "z"]
Pairs = Mapping[tuple[int, int], int]
pairs = st.dictionaries(
    st.tuples(st.integers(0, 5), st.integers(0, 7)), st.integers(0, 6).map(lambda half: half * DAY_MS // 2), min_size=1
)
some_tags = st.lists(st.lists(st.sampled_from(NAMES)), min_size=8, max_size=8)
availability = st.none() | st.lists(st.sampled_from([ALWAYS, 1, 2 * DAY_MS, 9 * DAY_MS]), min_size=8, max_size=8)
live_tags = st.dictionaries(st.sampled_from([*ITEMS, "unknown"]), st.lists(st.sampled_from([*NAMES, "new"])))


def snapshot_of(
    directory: Path, had: Pairs, tags: Sequence[Sequence[str]], available: Sequence[int] | None, times: bool = True
) -> Snapshot:
    write_snapshot(
        directory,
        user_ids=[str(user) for user in range(6)],
        item_ids=ITEMS,
        users=np.array([user for user, _ in had]),
        items=np.array([item for _, item in had]),
        times=np.array([*had.values()]) if times else None,
        catalogue=make_catalogue(tags, None if available is None else np.array(available)),
    )
    return open_snapshot(directory)


def reference(
    had: Pairs,
    tags: Sequence[Sequence[str]],
    available: Sequence[int] | None,
    live: Mapping[str, Sequence[str]],
    length: int,
    days: int,
) -> dict[str, list[str]]:
    """The lists by sorting tuples, one at a time."""
    newest = max(had.values())
    times = {item: [at for (_, one), at in had.items() if one == item] for item in range(8)}
    popular = {item: len(found) for item, found in times.items()}
    trending = {item: sum(at >= newest - days * DAY_MS for at in found) for item, found in times.items()}
    latest = {item: min(found) for item, found in times.items() if found}
    latest |= {item: at for item, at in enumerate(available or ()) if at != ALWAYS}
    latest |= {item: 2**63 - 1 for item in range(8) if item not in latest}
    keys = {"popular": popular, "trending": {i: n for i, n in trending.items() if n}, "latest": latest}
    tagged = {item: set(live.get(ITEMS[item], tags[item])) for item in range(8)}
    lists = {}
    for kind, key in keys.items():
        order = sorted(key, key=lambda item: (-key[item], item))
        for tag in (None, *NAMES, "new"):
            found = [ITEMS[item] for item in order if tag is None or tag in tagged[item]][:length]
            if found:
                lists[kind if tag is None else f"{kind}:{tag}"] = found
    return lists


@given(pairs, some_tags, availability, live_tags, st.integers(1, 8), st.integers(1, 3))
def test_lists_are_those_of_the_reference(
    tmp_path_factory: pytest.TempPathFactory,
    had: Pairs,
    tags: list[list[str]],
    available: list[int] | None,
    live: dict[str, list[str]],
    length: int,
    days: int,
) -> None:
    """In any number of slices, and with tags that were changed live."""
    snapshot = snapshot_of(tmp_path_factory.mktemp("snapshot"), had, tags, available)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(item_lists, "AT_ONCE", 1)
        found = named_lists(snapshot, live, length, days, NOW)
    wanted = reference(had, tags, available, live, length, days)
    # An item of no interaction is not in an import's snapshot; here it is the latest.
    assert found == wanted


def test_only_the_largest_tags_have_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the number of items; of two with as many the smaller one."""
    monkeypatch.setattr(describing, "MAX_TAGS", 2)
    had = {(0, item): 0 for item in range(8)}
    snapshot = snapshot_of(tmp_path, had, [["b", "z"], ["z"], ["a"], ["z"], [], [], [], []], None)
    lists = named_lists(snapshot, {}, 5, 7, NOW)
    assert {name for name in lists if name.startswith("popular")} == {"popular", "popular:z", "popular:a"}


def test_without_times_the_latest_are_those_with_an_availability(tmp_path: Path) -> None:
    """And nothing is trending; without an availability either there is no such list."""
    had = {(0, item): 0 for item in range(8)}
    available = [ALWAYS, 5, ALWAYS, 9, *[ALWAYS] * 4]
    places = [tmp_path / name for name in ("with", "without")]
    for place in places:
        place.mkdir()
    lists = named_lists(snapshot_of(places[0], had, [[]] * 8, available, times=False), {}, 5, 7, NOW)
    assert lists == {"popular": ITEMS[:5], "latest": ["03", "01"]}
    lists = named_lists(snapshot_of(places[1], had, [[]] * 8, None, times=False), {}, 5, 7, NOW)
    assert lists == {"popular": ITEMS[:5]}


@pytest.mark.parametrize(
    ("source_ms", "mark", "trending"),
    [
        (None, "", ["01"]),
        (20 * DAY_MS, "", ["00", "01"]),
        (0, f"{20 * DAY_MS}-0", ["00", "01"]),
        (20 * DAY_MS, f"{99 * DAY_MS}-0", ["01"]),
    ],
)
def test_an_event_of_the_future_is_not_the_newest(
    tmp_path: Path, source_ms: int | None, mark: str, trending: list[str]
) -> None:
    """The newest time is that of a row of a source, or at most that of the last event's recording."""
    had = {(0, 0): 18 * DAY_MS, (1, 0): 19 * DAY_MS, (0, 1): 99 * DAY_MS}
    users, items = (np.array([pair[axis] for pair in sorted(had)]) for axis in (0, 1))
    times = np.array([had[pair] for pair in sorted(had)])
    write_snapshot(
        tmp_path, user_ids=["a", "b"], item_ids=ITEMS[:2], users=users, items=items, times=times, mark=mark,
        source_ms=source_ms,
    )  # fmt: skip
    assert named_lists(open_snapshot(tmp_path), {}, 5, 7, NOW)["trending"] == trending


def test_no_list_has_an_item_that_is_not_available(tmp_path: Path) -> None:
    """Neither one whose time has not begun nor one whose time has ended; there may be others in its place."""
    available = [ALWAYS, NOW + 1, NOW, *[ALWAYS] * 5]
    until = np.array([*[FOR_EVER] * 3, NOW, NOW + 1, *[FOR_EVER] * 3])
    users, items = np.zeros(8, np.int64), np.arange(8)
    catalogue = make_catalogue([["a"]] * 8, np.array(available), until)
    times = np.full(8, NOW - DAY_MS)
    write_snapshot(
        tmp_path, user_ids=["u"], item_ids=ITEMS, users=users, items=items, times=times, catalogue=catalogue
    )  # fmt: skip
    snapshot = open_snapshot(tmp_path)
    lists = named_lists(snapshot, {}, 5, 7, NOW)
    shown = [item for number, item in enumerate(ITEMS) if number not in (1, 3)]
    assert lists["popular"] == lists["trending"] == lists["popular:a"] == shown[:5]
    assert lists["latest"][0] == ITEMS[2]
    assert not {ITEMS[1], ITEMS[3]} & {item for some in lists.values() for item in some}
    assert [ITEMS[item] for item in snapshot.popular(8, NOW)] == shown


def test_items_without_tags_have_no_field(tmp_path: Path) -> None:
    """Tags are sorted by their bytes."""
    snapshot = snapshot_of(tmp_path, {(0, 7): 0}, [["z", "a"], *[[]] * 6, ["c:d"]], None)
    assert tags_of(snapshot) == {"00": ["a", "z"], "é": ["c:d"]}
