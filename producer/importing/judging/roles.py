"""The roles of rows, by their event type or by their rating."""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reckoner.producer.importing.judging.ratings import Positive
from reckoner.producer.importing.judging.rules import Rules
from reckoner.producer.importing.judging.values import as_texts
from reckoner.producer.importing.judging.verdict import Verdict, is_missing
from reckoner.producer.importing.reading.columns import ChosenColumns
from reckoner.producer.importing.reading.tables import Batch
from reckoner.shared.event_types import DEFAULT, IMPRESSION, EventType, Nonpositive, Role

# The bits of the roles of all rows of a user and an item are joined.
HISTORY, SIGNAL, EXCLUDE = 1, 2, 4
BITS: Final[Mapping[Role, int]] = MappingProxyType({"history": HISTORY, "signal": SIGNAL, "exclude": EXCLUDE})
COUNTS, LEFT_OUT = HISTORY | SIGNAL, HISTORY | EXCLUDE
SHOWN = "it is an impression, which counts for rotation only, where it is recorded"
UNKNOWN = "the event type is not in [event_types]"
# Of so many unknown names the nearest known one is looked for, which takes long.
LOOKED_AT = 100


class TypeRows(msgspec.Struct, frozen=True):
    """The good rows of an event type."""

    name: str
    role: Role
    weight: float
    rows: int


class TypeTable:
    """The types that rows may have, as arrays: `weights` float64[n], `roles` uint8[n], whether they `count` bool[n]."""

    def __init__(self, types: Mapping[str, EventType], nonpositive: Nonpositive = "drop") -> None:
        self.types = types
        found = list(types.values())
        self.weights = np.array([each.weight for each in found])
        self.roles = np.array([BITS[each.role] for each in found], dtype=np.uint8)
        self.count = self.roles & COUNTS != 0
        self.nonpositive = np.array([each.nonpositive or nonpositive for each in found])

    def named(self, types: NDArray[np.int64]) -> list[tuple[str, Role]]:
        """The names and roles of some types."""
        found = [(name, each.role) for name, each in self.types.items()]
        return [found[place] for place in types.tolist()]

    def counted(self, rows: Counter[int]) -> list[TypeRows]:
        """The types that have rows."""
        found = enumerate(self.types.items())
        return [TypeRows(name, each.role, each.weight, rows[place]) for place, (name, each) in found if rows[place]]


def table_of(chosen: ChosenColumns, rules: Rules) -> TypeTable | None:
    """The types of rows with these columns and rules; None if all rows have the role history and are counted alike."""
    if chosen.type is not None:
        known = dict(sorted(rules.types.by_name.items()))
        return TypeTable(known | ({DEFAULT: rules.types.default} if rules.types.default else {}), rules.nonpositive)
    if rules.positive is not None and rules.below == "exclude":
        return TypeTable({f"weight {rules.positive}": EventType(), "other weights": EventType(role="exclude")})
    return None


class TypeReader:
    """Reads the event types of one column, batch by batch, as indices into a table."""

    def __init__(self, name: str, rules: Rules, table: TypeTable) -> None:
        self._name, self._types = name, rules.types
        self._names = pa.array(sorted(rules.types.by_name), pa.string())
        self._default = len(table.types) - 1 if rules.types.default else -1
        self._nearest = dict[str, str | None]()

    def read(self, batch: Batch, verdict: Verdict) -> NDArray[np.int64]:
        """The types of the next batch, int64[n]. Rows with an unknown one are rejected by `verdict`.

        Raises:
            SourceError: the column has an unsupported type.
        """
        column = batch.columns[self._name]
        texts = as_texts(column).dictionary_encode()
        # The last one is of null.
        found = pc.fill_null(pc.index_in(texts.dictionary, self._names), self._default).to_numpy()
        found = np.append(found, self._default).astype(np.int64)
        places = pc.fill_null(texts.indices, len(found) - 1).to_numpy(zero_copy_only=False)
        types: NDArray[np.int64] = found[places]
        shown = np.append(pc.fill_null(pc.equal(texts.dictionary, IMPRESSION), False).to_numpy(False), False)[places]
        verdict.reject(shown, "left_out", SHOWN, self._name)
        if self._default < 0 and (types[~shown] < 0).any():
            self._reject(column, texts.dictionary, found, places, verdict)
        return types

    def _reject(
        self,
        column: pa.Array,
        distinct: pa.Array,
        found: NDArray[np.int64],
        places: NDArray[np.integer],
        verdict: Verdict,
    ) -> None:
        verdict.reject(is_missing(column) & (found < 0)[places], "bad", "the event type is missing")
        by_near = dict[str, list[int]]()
        for place in np.flatnonzero(found[:-1] < 0).tolist():
            if near := self._near(distinct[place].as_py()):
                by_near.setdefault(near, []).append(place)
        for near, some in by_near.items():
            verdict.reject(np.isin(places, some), "bad", f"{UNKNOWN} (did you mean {near}?)", self._name)
        verdict.reject((found < 0)[places], "bad", UNKNOWN, self._name)

    def _near(self, name: str) -> str | None:
        if name not in self._nearest and len(self._nearest) < LOOKED_AT:
            self._nearest[name] = self._types.nearest(name)
        return self._nearest.get(name)


def rate(
    positive: Positive, table: TypeTable | None, weights: NDArray[np.float64], name: str, verdict: Verdict
) -> NDArray[np.int64] | None:
    """The types of rows by their ratings, int64[n]; without a table, other ratings are rejected by `verdict`."""
    meets = positive.meets(weights)
    if table is None:
        verdict.reject(~meets, "left_out", f"the weight is not {positive}", name)
        return None
    return np.where(meets, 0, 1)
