"""Ids that look like lists of ids."""

import pyarrow as pa
import pytest

from reckoner.producer.importing.judging.suspects import find_list


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        (["N55189 N42782 N34694", "N1", "N31739 N6072"], "N55189 N42782 N34694"),
        (["7", "12,13", "4,5,6"], "12,13"),
        (["N1-0 N2-1"], "N1-0 N2-1"),
        (["[1, 2]", "[3, 4, 5]"], "[1, 2]"),
        (["N1 N2", "N1"], None),
        (["Game 3", "Sid Meier's Civilization V", "Fallout 4"], None),
        (["12345", "85123A", "2026-01-02", "1.5"], None),
        ([], None),
    ],
)
def test_most_ids_must_look_like_lists(ids: list[str], found: str | None) -> None:
    """The first one is named."""
    assert find_list(pa.array(ids, pa.string())) == found
