"""Finds ids that hold so many interactions that they may stand for "unknown", a guest or a test."""

from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reckoner.shared.store.sorting import count_each

# An id is named above this share of all interactions, if it has so many and so many times the mean.
SHARE, MANY, TIMES_MEAN = 0.05, 100, 20
LISTED = 5
# Codes or numbers with blanks, commas or bars between them.
LIST_PATTERN = r"^\[?[A-Za-z]{0,3}[0-9]+(-[0-9])?([ ,|;]+[A-Za-z]{0,3}[0-9]+(-[0-9])?)+\]?$"


class Suspect(msgspec.Struct, frozen=True):
    """An id with a very large share of the interactions."""

    kind: Literal["user", "item"]
    id: str
    interactions: int
    share: float


def find_suspects(kind: Literal["user", "item"], ids: pa.Array, places: NDArray[np.integer[Any]]) -> list[Suspect]:
    """The ids with the most interactions, if those are suspiciously many; `places` are indices into `ids`."""
    counts = count_each(places, len(ids))
    limit = max(SHARE * len(places), TIMES_MEAN * len(places) / max(1, len(ids)), MANY)
    found = np.flatnonzero(counts > limit)
    most = found[np.argsort(-counts[found], kind="stable")[:LISTED]]
    return [
        Suspect(kind, ids[int(place)].as_py(), int(counts[place]), float(counts[place] / len(places))) for place in most
    ]


def find_list(ids: pa.Array) -> str | None:
    """An id that looks like a list of ids, if most of them do."""
    is_list = pc.match_substring_regex(ids, LIST_PATTERN)
    if 2 * (pc.sum(is_list).as_py() or 0) <= len(ids):
        return None
    return str(ids[pc.index(is_list, True).as_py()].as_py())
