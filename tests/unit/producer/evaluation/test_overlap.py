"""Overlap of two lists, against the definition and known cases."""

import math
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.producer.evaluation.overlap import Overlap, overlap, rank_biased, shared

LISTS = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


def by_definition(one: str, other: str, p: float) -> float:
    """The sum over depths far beyond the lists, where the agreement stays as it is at their ends (section 4.3)."""
    short, long = sorted((one, other), key=len)
    s, k = len(short), len(long)

    def agreed(depth: int) -> int:
        return len(set(short[:depth]) & set(long[:depth]))

    def agreement(depth: int) -> float:
        if depth > k:
            return agreement(k)
        return (agreed(depth) + agreed(s) * max(depth - s, 0) / s) / depth

    return math.fsum((1 - p) * p ** (depth - 1) * agreement(depth) for depth in range(1, 600))


@given(LISTS.filter(bool), LISTS.filter(bool), st.sampled_from([0.5, 0.9]))
def test_the_rank_biased_overlap_is_that_of_its_definition(one: list[str], other: list[str], p: float) -> None:
    found = rank_biased(one, other, p)
    assert found == pytest.approx(by_definition("".join(one), "".join(other), p), abs=1e-12)
    assert found == rank_biased(other, one, p)
    assert -1e-12 <= found <= 1 + 1e-12


def test_early_places_count_more() -> None:
    """Equal lists have 1 and disjoint ones 0; of all orders the equal one is nearest."""
    assert rank_biased("abc", "abc") == pytest.approx(1)
    assert rank_biased("abc", "def") == 0
    assert rank_biased("abc", "") == 0
    assert rank_biased("abcd", "abdc") > rank_biased("abcd", "bacd")
    assert max(permutations("abcd"), key=lambda other: rank_biased("abcd", other)) == tuple("abcd")


def test_shared_places_are_a_share_of_the_longer_list() -> None:
    """A list that is short shares no more than it has."""
    assert shared("abcd", "dxya") == 0.5
    assert shared("ab", "abcd") == shared("abcd", "ab") == 0.5
    assert shared("", "abcd") == shared("", "") == 0


def test_users_without_any_list_do_not_count() -> None:
    """One with a list on one side only has nothing in common."""
    found = overlap(["ab", "", "ab", "ab"], ["ab", "", "", "ba"])
    assert found == pytest.approx((3, 2 / 3, (1 + 0 + rank_biased("ab", "ba")) / 3, 1 / 3))
    assert overlap([""], [""]) == Overlap(0, 0.0, 0.0, 0.0)
