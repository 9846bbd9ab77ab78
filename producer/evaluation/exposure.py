"""Who is shown how often: which items gain and lose places from one model's lists to another's."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple

MOST = 10


class Change(NamedTuple):
    """An item's share of all places, now and before."""

    item: str
    now: float
    before: float


class Exposure(NamedTuple):
    """How the places of all users' lists are spread over items; pairs are of now and before."""

    items: tuple[int, int]
    """The number of different items."""
    head: tuple[float, float]
    """The share of places with an item of the head, the most popular fifth of the catalogue."""
    gains: list[Change]
    """The items whose share of all places rises most, first."""
    losses: list[Change]
    """Those whose share falls most, first."""


def exposure(
    now: Sequence[Sequence[str]],
    before: Sequence[Sequence[str]],
    heads: tuple[Callable[[str], bool], Callable[[str], bool]],
    most: int = MOST,
) -> Exposure:
    """Compare the lists of the same users; `heads` say whether an item is in the head, now and before.

    At most `most` items gain, and as many lose.
    """
    new, old = Counter(chain.from_iterable(now)), Counter(chain.from_iterable(before))
    places, places_before = max(new.total(), 1), max(old.total(), 1)
    # Integers, so that ties are exact; then by the item.
    risen = {item: new[item] * places_before - old[item] * places for item in old.keys() | new.keys()}
    by_rise = sorted((-rise, item) for item, rise in risen.items())
    by_fall = sorted((rise, item) for item, rise in risen.items())

    def changes(ordered: list[tuple[int, str]]) -> list[Change]:
        found = (item for rank, item in ordered[:most] if rank < 0)
        return [Change(item, new[item] / places, old[item] / places_before) for item in found]

    return Exposure(
        (len(new), len(old)),
        (_head(new, heads[0]) / places, _head(old, heads[1]) / places_before),
        changes(by_rise),
        changes(by_fall),
    )


def _head(counts: Counter[str], in_head: Callable[[str], bool]) -> int:
    return sum(count for item, count in counts.items() if in_head(item))
