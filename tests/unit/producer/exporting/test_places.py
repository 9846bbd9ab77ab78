"""Columns of encoded lists are those of decoded ones."""

import numpy as np
import pytest

from reckoner.producer.exporting.places import Places, gather, is_plain, merge, split
from reckoner.shared.wire.shapes import RESULT, Result, ScoredItem

LISTS = [
    [ScoredItem("ü 1", 0.25, "ユーザー"), ScoredItem("],[", 0.1, ",0.5,"), ScoredItem("a", 1e-9, "b")],
    [ScoredItem("a", 3.0, "a")],
    [ScoredItem(f"item {number}", 1 / (number + 1), "b") for number in range(40)],
]
DATA = [RESULT.encode(Result(2, places)) for places in LISTS]


def rows(places: Places | None) -> list[tuple[object, ...]]:
    assert places is not None
    columns = (places.user.tolist(), places.rank.tolist(), *(column.to_pylist() for column in places[2:]))
    return list(zip(*columns, strict=True))


def expected(lists: list[list[ScoredItem]], n: int) -> list[tuple[object, ...]]:
    return [
        (user, rank, place.item, float(np.float32(place.score)), place.because)
        for user, places in enumerate(lists)
        for rank, place in enumerate(places[:n], 1)
    ]


def test_bytes_are_split_as_the_codec_decodes_them() -> None:
    """Ids with what separates places too. A user without a list has no place; hidden items make room for later ones."""
    assert rows(split(DATA, 20, ())) == rows(gather(range(3), [one[:20] for one in LISTS])) == expected(LISTS, 20)
    assert rows(split([None, DATA[1], None], 20, ())) == expected([[], LISTS[1], []], 20)
    assert rows(split([None], 20, ())) == []
    shown = [[place for place in places if place.item not in {"a", "item 1"}] for places in LISTS]
    assert rows(split(DATA, 3, {"a", "item 1", "nothing"})) == expected(shown, 3)


def test_lists_of_both_kinds_stand_in_the_order_of_users() -> None:
    """Some were split, others decoded."""
    some, others = split([DATA[0], None, DATA[2]], 5, ()), gather([1], LISTS[1:2])
    assert some is not None
    assert rows(merge(some, others)) == expected(LISTS, 5)


def test_other_forms_are_not_split() -> None:
    """Empty lists, escapes, lists with more than places."""
    odd = [Result(2, []), Result(2, [ScoredItem('"', 1.0, "a")]), Result(2, LISTS[1], ["new"])]
    assert all(map(is_plain, DATA))
    assert not any(is_plain(RESULT.encode(one)) for one in odd)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"],["', b'"],("'), (b'"a",3.0,"a"', b'"a",3.0"a"'), (b'"a",3.0,"a"', b'"a",x,"a"'),
        (b'"a",3.0,"a"', b'"a",3.0,a'), (b"item 7", b"item \n"), (b"item 7", b"item \xff"), (b'"],["', b'"], ["'),
    ],
)  # fmt: skip
def test_invalid_bytes_are_no_places(old: bytes, new: bytes) -> None:
    """The codec looks at them then, and refuses what is invalid."""
    damaged = [data.replace(old, new, 1) for data in DATA]
    assert damaged != DATA
    assert split(damaged, 20, ()) is None
