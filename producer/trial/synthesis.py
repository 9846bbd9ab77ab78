"""Synthetic interactions with heavy tails, taste groups and times, the same on every machine for a size and a seed.

Only integers decide: raw numbers of PCG64, whose stream numpy guarantees, then sums, sorting and bisection. Floats are
used only in single products, quotients and square roots, which IEEE 754 rounds exactly; logarithms and powers may
differ in the last bit between processors.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isqrt
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.random import PCG64
from numpy.typing import NDArray

Integers = NDArray[np.int64]

# Keeps sums and products within 64 bits.
MAX_USERS_OR_ITEMS = 100_000_000

TASTES = 8
# The sources of a user's items, by frequency: the first or second taste, the shared popular items, or all items.
FIRST, SECOND, EVERYBODYS, ALL = range(4)
DRAWN_FROM = (FIRST, FIRST, FIRST, SECOND, SECOND, EVERYBODYS, EVERYBODYS, ALL)
# The shortest history has a seventh of the mean length, at most 20, as in MovieLens.
LEAST_PART, MAX_LEAST = 7, 20
# The longest history has at most five eighths of all items, if the size allows it.
MAX_EIGHTHS = 5
# Steps per doubling in powers of two.
STEPS = 4096
# The standard deviation of the logarithm of a history's length, in 256ths of a doubling.
SPREAD = 460
# Item popularity spans as many doublings as the number of users has bits, plus these.
MORE_DOUBLINGS = 1.5
# The rounds of drawing. Afterwards, users who still lack items get the most popular ones.
ROUNDS = 12
# The approximate size of a block. Another size would change the data: blocks take the random numbers in turn.
BLOCK = 1 << 20
# Users arrive within 15 years from 2005 on. Between two items are seconds, but one time in 64 up to 14 days.
BEGIN_S, ARRIVAL_S = 1_104_537_600, 15 * 365 * 86_400
SHORT_S, LONG_S, VISIT = 60, 14 * 86_400, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The size of the data. Each user and each item has at least one interaction, and no pair has two.

    Raises ValueError with the reason if that is impossible.
    """

    users: int
    items: int
    interactions: int

    def __post_init__(self) -> None:
        if not (0 < self.users <= MAX_USERS_OR_ITEMS and 0 < self.items <= MAX_USERS_OR_ITEMS):
            raise ValueError(f"users and items must be from 1 to {MAX_USERS_OR_ITEMS:,}")
        least, most = max(self.users, self.items), self.users * self.items
        if self.interactions < least:
            raise ValueError(
                f"{self.interactions:,} interactions are too few: every user and every item needs one, so {least:,}"
            )
        if self.interactions > most:
            raise ValueError(
                f"{self.interactions:,} interactions are too many: {self.users:,} users and {self.items:,} items have "
                f"{most:,} pairs"
            )


LIKE: Mapping[str, Size] = MappingProxyType(
    {
        "ml-1m": Size(users=6_040, items=3_706, interactions=1_000_209),
        "ml-20m": Size(users=138_493, items=26_744, interactions=20_000_263),
    }
)
"""The sizes of the data sets of MovieLens with these names (Harper and Konstan, "The MovieLens Datasets", 2015)."""


class Block(NamedTuple):
    """Some interactions, ordered by user and time.

    `users` and `items` int64[n] are numbers from 1, `times` int64[n] seconds since 1970.
    """

    users: Integers
    items: Integers
    times: Integers


def synthesise(size: Size, seed: int) -> Iterator[Block]:
    """All interactions in blocks of whole users; `seed` must not be negative.

    History lengths are log-normal above the shortest. An item's popularity falls with its rank r as
    exp(-a * r^(7/16)), as in MovieLens. Each item except the most popular belongs to one taste, and each user has two
    tastes, from which most items are drawn; so items are not similar by popularity alone.
    """
    return _Synthesis(size, PCG64(seed)).blocks()


class _Synthesis:
    """A catalogue and its users; internally an item is its popularity rank from 0."""

    def __init__(self, size: Size, stream: PCG64) -> None:
        self._size = size
        self._stream = stream
        self._numbers = 1 + np.argsort(self._raw(size.items), kind="stable")
        self._ends = np.cumsum(_lengths(size, self._normal(size.users)))
        self._takers, self._taken = self._one_taker_each()
        popularity = _popularity(size)
        # The most popular items have no taste: as many as make up the share of EVERYBODYS.
        share = DRAWN_FROM.count(EVERYBODYS) / len(DRAWN_FROM)
        shared = int(np.searchsorted(np.cumsum(popularity), share * int(popularity.sum())))
        parts = [np.arange(shared + taste, size.items, TASTES) for taste in range(TASTES)] + [np.arange(shared)]
        # Parts are contiguous, so that drawing from a part, or from all, is drawing from a range of the weights.
        self._ranks = np.concatenate(parts)
        self._weights = np.cumsum(popularity[self._ranks])
        ends = np.concatenate(([0], self._weights))[np.cumsum([0, *(part.size for part in parts)])]
        self._range_begins, self._range_ends = np.append(ends[:-1], 0), np.append(ends[1:], ends[-1])

    def _raw(self, n: int) -> Integers:
        """Random numbers from 0 to before 2^63, int64[n]."""
        return (self._stream.random_raw(n) >> np.uint64(1)).astype(np.int64)

    def _normal(self, n: int) -> Integers:
        """Normal numbers, in 65,536ths of their standard deviation, int64[n]: sums of twelve uniform numbers."""
        raw = self._stream.random_raw(3 * n).reshape(3, n)
        parts = [(raw >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48)]
        return np.asarray(np.sum(parts, axis=(0, 1), dtype=np.int64)) - 6 * 0xFFFF

    def _one_taker_each(self) -> tuple[Integers, Integers]:
        """A user for each item, so that every item has one: the users in order, and the item of each.

        The places of all histories are cut into one part per item, and the item gets a random place in its part. So no
        user gets more items than places.
        """
        whole, rest = divmod(self._size.interactions, self._size.items)
        cuts = np.arange(self._size.items + 1)
        cuts = cuts * whole + cuts * rest // self._size.items
        places = cuts[:-1] + self._raw(self._size.items) % np.diff(cuts)
        takers = np.searchsorted(self._ends, places, side="right")
        return takers, np.argsort(self._raw(self._size.items), kind="stable")

    def blocks(self) -> Iterator[Block]:
        """The blocks, in order."""
        first = 0
        while first < self._size.users:
            done = int(self._ends[first - 1]) if first else 0
            last = max(first + 1, int(np.searchsorted(self._ends, done + BLOCK, side="right")))
            yield self._block(first, np.diff(self._ends[first:last], prepend=done))
            first = last

    def _block(self, first: int, lengths: Integers) -> Block:
        users, ranks = np.divmod(self._pairs(first, lengths), self._size.items)
        # Shuffled, since each user's items are sorted by popularity.
        order = np.lexsort((self._raw(users.size), users))
        return Block(1 + first + users, self._numbers[ranks[order]], self._times(lengths))

    def _pairs(self, first: int, lengths: Integers) -> Integers:
        """The users' items as user * items + item, ascending; user 0 is `first`."""
        items = self._size.items
        begin, end = np.searchsorted(self._takers, (first, first + lengths.size))
        pairs = _distinct((self._takers[begin:end] - first) * items + self._taken[begin:end])
        tastes = self._raw(lengths.size)
        for turn in range(ROUNDS):
            missing = lengths - np.bincount(pairs // items, minlength=lengths.size)
            users = np.repeat(np.arange(lengths.size), missing)
            if users.size == 0:
                break
            # Later rounds draw from all items, since a user may have all items of their tastes.
            ranges = self._ranges(tastes[users]) if turn < ROUNDS // 2 else np.full(users.size, TASTES + 1)
            pairs = _distinct(np.concatenate((pairs, users * items + self._draw(ranges))))
        return self._filled(pairs, lengths)

    def _ranges(self, tastes: Integers) -> Integers:
        """The range to draw each item from; a number in `tastes` encodes both tastes of a user."""
        drawn_from = np.array(DRAWN_FROM)[self._raw(tastes.size) % len(DRAWN_FROM)]
        conditions = [drawn_from == FIRST, drawn_from == SECOND, drawn_from == EVERYBODYS]
        choices = [tastes % TASTES, tastes // TASTES % TASTES, np.full_like(tastes, TASTES)]
        return np.select(conditions, choices, TASTES + 1)

    def _draw(self, ranges: Integers) -> Integers:
        """An item from each range; an empty range (of a small catalogue) gives any item."""
        begins, ends = self._range_begins[ranges], self._range_ends[ranges]
        drawn = begins + self._raw(ranges.size) % np.maximum(ends - begins, 1)
        places = np.searchsorted(self._weights, drawn, side="right")
        ranks: Integers = self._ranks[np.minimum(places, self._ranks.size - 1)]
        return ranks

    def _filled(self, pairs: Integers, lengths: Integers) -> Integers:
        """Add the most popular missing items for users who lack some."""
        items = self._size.items
        ends = np.searchsorted(pairs, items * np.arange(lengths.size + 1))
        added = []
        for user in np.flatnonzero(np.diff(ends) < lengths):
            has_not = np.ones(items, bool)
            has_not[pairs[ends[user] : ends[user + 1]] - user * items] = False
            missing = lengths[user] - (ends[user + 1] - ends[user])
            added.append(user * items + np.flatnonzero(has_not)[:missing])
        return np.sort(np.concatenate((pairs, *added)))

    def _times(self, lengths: Integers) -> Integers:
        """The times of the interactions, ascending for each user."""
        raw = self._raw(int(lengths.sum()))
        stays_away = raw // SHORT_S % VISIT == 0
        passed = np.cumsum(1 + raw % SHORT_S + np.where(stays_away, raw // (SHORT_S * VISIT) % LONG_S, 0))
        begins = BEGIN_S + self._raw(lengths.size) % ARRIVAL_S
        shifts: Integers = begins - passed[np.cumsum(lengths) - lengths]
        return passed + np.repeat(shifts, lengths)


def _lengths(size: Size, normal: Integers) -> Integers:
    """The length of each history, int64[users], `size.interactions` in sum; `normal` is from `_Synthesis._normal`."""
    mean = size.interactions // size.users
    least = min(MAX_LEAST, max(1, mean // LEAST_PART))
    most = min(size.items, max(size.items * MAX_EIGHTHS // 8, mean + 1))
    # Raised by 20 doublings, so that the smallest weight is above zero.
    weights = _power_of_two(normal * SPREAD // 256 // (65_536 // STEPS) + 20 * STEPS)
    lengths = np.minimum(least + _shares(weights, size.interactions - least * size.users), most)
    return lengths + _shares(most - lengths, size.interactions - int(lengths.sum()))


def _shares(weights: Integers, total: int) -> Integers:
    """Split the total in proportion to the weights, int64[n]; no share exceeds its weight if the total allows it."""
    if total == 0:
        return np.zeros(weights.size, np.int64)
    ends = np.cumsum(weights)
    parts: Integers = np.floor(ends * (total / int(ends[-1]))).astype(np.int64)
    parts[-1] = total
    return np.diff(parts, prepend=0)


def _popularity(size: Size) -> Integers:
    """The weight of each rank in drawing, int64[items]."""
    root = np.sqrt(np.arange(size.items) / size.items)
    # (rank / items)^(7/16) by square roots, since numpy's power differs between machines.
    fall = np.sqrt(root * np.sqrt(root * np.sqrt(root)))
    steps = fall * ((size.users.bit_length() + MORE_DOUBLINGS) * STEPS)
    return _power_of_two(40 * STEPS - steps.astype(np.int64))


def _power_of_two(steps: Integers) -> Integers:
    """2^(steps / STEPS) rounded down, int64[n], for steps from 0 to below 60 * STEPS."""
    one = 1 << 120
    step = 2 * one
    for _ in range(STEPS.bit_length() - 1):
        step = isqrt(step * one)
    powers = [one]
    while len(powers) < STEPS:
        powers.append(powers[-1] * step // one)
    mantissas: Integers = np.array([power >> 60 for power in powers], dtype=np.int64)[steps % STEPS]
    return mantissas >> (60 - steps // STEPS)


def _distinct(codes: Integers) -> Integers:
    """The distinct codes, ascending; several times faster than numpy's `unique`."""
    ordered = np.sort(codes)
    distinct: Integers = ordered[np.diff(ordered, prepend=-1) > 0]
    return distinct
