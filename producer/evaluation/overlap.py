"""How alike two lists are: the places that both hold, and how early they agree."""

import math
from collections.abc import Sequence
from typing import NamedTuple

# The persistence of a reader who goes on to the next place with this probability: ten places on average.
PERSISTENCE = 0.9


class Overlap(NamedTuple):
    """How alike two models' lists are: means over users, from 0 to 1."""

    users: int
    """The users with a list on at least one side."""
    shared: float
    """The share of a user's places that both lists hold."""
    rank_biased: float
    """See `rank_biased`."""
    equal: float
    """The share of users with equal lists."""


def overlap(one: Sequence[Sequence[str]], other: Sequence[Sequence[str]]) -> Overlap:
    """Compare the lists of the same users; those without an item on either side are left out."""
    pairs = [pair for pair in zip(one, other, strict=True) if any(pair)]
    n = len(pairs)
    if not n:
        return Overlap(0, 0.0, 0.0, 0.0)
    return Overlap(
        n,
        math.fsum(shared(*pair) for pair in pairs) / n,
        math.fsum(rank_biased(*pair) for pair in pairs) / n,
        sum(list(first) == list(second) for first, second in pairs) / n,
    )


def shared(one: Sequence[str], other: Sequence[str]) -> float:
    """The share of the places of the longer list whose items both lists hold, from 0 to 1; 0 for empty lists."""
    longer = max(len(one), len(other))
    return len(set(one) & set(other)) / longer if longer else 0.0


def rank_biased(one: Sequence[str], other: Sequence[str], p: float = PERSISTENCE) -> float:
    """The extrapolated rank-biased overlap of two lists without repeats, from 0 to 1; 0 if one is empty.

    RBO_EXT for lists of uneven lengths (Webber, Moffat and Zobel, ACM TOIS 2010, equation 32): the mean agreement over
    depths d, which weigh (1 - p) p^(d - 1); beyond the lists the agreement stays as it is at their ends.
    """
    short, long = sorted((one, other), key=len)
    if not short:
        return 0.0
    s, k = len(short), len(long)
    agreed = [len(set(short[:depth]) & set(long[:depth])) for depth in range(k + 1)]
    at_end = agreed[s] / s
    terms = [agreed[depth] / depth * p**depth for depth in range(1, k + 1)]
    terms += [agreed[s] * (depth - s) / (s * depth) * p**depth for depth in range(s + 1, k + 1)]
    return (1 - p) / p * math.fsum(terms) + ((agreed[k] - agreed[s]) / k + at_end) * p**k
