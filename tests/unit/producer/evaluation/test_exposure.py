"""Who is shown how often: gains, losses and the head."""

import pytest

from reckoner.producer.evaluation.exposure import Change, exposure


def in_head(item: str) -> bool:
    return item in "ab"


def nothing_in_head(item: str) -> bool:
    return False


def test_gains_and_losses_are_shares_of_all_places() -> None:
    """Largest first, ties by the item; who neither gains nor loses is in neither."""
    now, before = ["abc", "cd", "c"], ["abe", "fab", "fe"]
    found = exposure(now, before, (in_head, in_head))
    assert found.items == (4, 4)
    assert found.head == pytest.approx((2 / 6, 4 / 8))
    assert found.gains == [Change("c", 3 / 6, 0.0), Change("d", 1 / 6, 0.0)]
    assert found.losses == [Change(item, now / 6, 2 / 8) for item, now in (("e", 0), ("f", 0), ("a", 1), ("b", 1))]


def test_no_more_items_than_wanted_are_named() -> None:
    found = exposure(["abcd"], ["efgh"], (in_head, in_head), most=2)
    assert [change.item for change in found.gains] == ["a", "b"]
    assert [change.item for change in found.losses] == ["e", "f"]


def test_each_side_has_a_head_of_its_own() -> None:
    """What is popular in one snapshot may not be in the other."""
    assert exposure(["ab"], ["ab"], (in_head, nothing_in_head)).head == (1.0, 0.0)


def test_equal_lists_and_no_lists_change_nothing() -> None:
    """A share that stays is no gain by a rounding error: 1 of 3 places is 2 of 6."""
    for now, before in ((["abc"], ["abc", "abc"]), ([""], [""]), ([], [])):
        found = exposure(now, before, (in_head, in_head))
        assert (found.gains, found.losses) == ([], [])
