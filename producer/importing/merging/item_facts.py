"""What is known of items beside their interactions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.store.catalogue import ALWAYS, FOR_EVER, Catalogue, make_catalogue


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """What is known of items beside their interactions, by id; times are milliseconds since 1970."""

    titles: dict[str, str] = field(default_factory=dict)
    tags: dict[str, frozenset[str]] = field(default_factory=dict)
    available_from: dict[str, int] = field(default_factory=dict)
    available_until: dict[str, int] = field(default_factory=dict)

    def __or__(self, other: "ItemFacts") -> "ItemFacts":
        """Both; what the other says of an item wins."""
        return ItemFacts(*(getattr(self, part.name) | getattr(other, part.name) for part in fields(self)))

    def catalogue(self, items: Sequence[str]) -> Catalogue:
        """The catalogue of these items, in their order."""
        tags = [self.tags.get(item, frozenset()) for item in items] if self.tags else []
        begins = _array(items, self.available_from, ALWAYS)
        return make_catalogue(tags, begins, _array(items, self.available_until, FOR_EVER))


def _array(items: Sequence[str], times: Mapping[str, int], default: int) -> NDArray[np.int64] | None:
    return np.array([times.get(item, default) for item in items], np.int64) if times else None
