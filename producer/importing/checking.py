"""Splits the rows of a batch into good ones and bad ones with reasons."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reckoner.producer.importing.columns import ChosenColumns
from reckoner.producer.importing.tables import Batch
from reckoner.producer.importing.values import as_milliseconds, as_numbers, as_texts
from reckoner.shared.errors import NotTimesError
from reckoner.shared.ids import EMPTY, MAX_ID_BYTES, TOO_LONG

MAX_EXAMPLES = 20
SHOWN_CHARACTERS = 40


@dataclass(slots=True)
class BadRows:
    """The number of bad rows, and the first of them as (line, reason)."""

    count: int = 0
    examples: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, reason: str) -> None:
        """Count a bad row."""
        self.count += 1
        # Malformed lines come before the rows of their block, so more are kept and sorted later.
        self.examples.append((line, reason))
        if len(self.examples) >= 4 * MAX_EXAMPLES:
            self.examples = self.first()

    def first(self) -> list[tuple[int, str]]:
        """The first bad rows of the file."""
        return sorted(self.examples)[:MAX_EXAMPLES]


@dataclass(frozen=True, slots=True)
class GoodRows:
    """The n good rows of a batch.

    `users`, `items` and `titles` are string[n], the ids perhaps in dictionaries; `weights` is float64[n], None if each
    is 1; `times` int64[n] in milliseconds.
    """

    users: pa.Array
    items: pa.Array
    weights: NDArray[np.float64] | None
    times: NDArray[np.int64] | None
    titles: pa.Array | None


def check_batch(batch: Batch, chosen: ChosenColumns, bad: BadRows) -> GoodRows:
    """The good rows of `batch`; bad rows are added to `bad` with their first reason.

    Raises:
        SourceError: a column has an unsupported type.
        NotTimesError: the time column has an unsupported type, or was guessed and has a value that is not a time.
    """
    verdict = _Verdict(batch.lines)
    users, items = as_texts(batch.columns[chosen.user]), as_texts(batch.columns[chosen.item])
    verdict.demand(~(_is_empty(users) & _is_empty(items)), "user and item are missing")
    for role, ids in (("user", users), ("item", items)):
        verdict.demand(~_is_empty(ids), f"the {role} {EMPTY}")
        verdict.demand(_booleans(pc.less_equal(pc.binary_length(ids), MAX_ID_BYTES)), f"the {role} {TOO_LONG}")
    weights, times = None, None
    if chosen.weight is not None:
        weights = as_numbers(batch.columns[chosen.weight])
        with np.errstate(over="ignore"):
            stored = weights.astype(np.float32)
        verdict.demand(
            np.isfinite(stored) & (stored > 0), "the weight {} is not a finite number above zero", chosen.weight
        )
    if chosen.time is not None:
        times, is_time = as_milliseconds(batch.columns[chosen.time])
        if chosen.time_is_guessed and not is_time[verdict.good].all():
            raise NotTimesError
        verdict.demand(is_time, "the time {} is invalid", chosen.time)
    verdict.report(batch, bad)
    good = verdict.good
    keep = pa.array(good)
    return GoodRows(
        users.filter(keep),
        items.filter(keep),
        None if weights is None else weights[good],
        None if times is None else times[good],
        None if chosen.title is None else as_texts(batch.columns[chosen.title]).filter(keep),
    )


class _Verdict:
    """The first unmet demand of each row of a batch."""

    def __init__(self, lines: NDArray[np.int64]) -> None:
        self._unmet = np.full(len(lines), -1, dtype=np.int64)
        self._demands: list[tuple[str, str | None]] = []

    @property
    def good(self) -> NDArray[np.bool_]:
        """bool[n]: which rows meet all demands."""
        return self._unmet < 0

    def demand(self, met: NDArray[np.bool_], reason: str, column: str | None = None) -> None:
        """Mark rows where `met` is false as bad; {} in `reason` stands for the row's value in `column`."""
        self._unmet[self.good & ~met] = len(self._demands)
        self._demands.append((reason, column))

    def report(self, batch: Batch, bad: BadRows) -> None:
        """Add the bad rows to `bad`."""
        rows = np.flatnonzero(~self.good)
        for row in rows[:MAX_EXAMPLES]:
            reason, column = self._demands[self._unmet[row]]
            value = None if column is None else _shown(batch.columns[column][int(row)])
            bad.add(int(batch.lines[row]), reason.format(value))
        # The other rows of this batch cannot be among the first of the file.
        bad.count += max(0, len(rows) - MAX_EXAMPLES)


def _shown(value: pa.Scalar) -> str:
    text = str(value.as_py()) if value.is_valid else ""
    return "(missing)" if text == "" else repr(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…")


def _is_empty(texts: pa.Array) -> NDArray[np.bool_]:
    return _booleans(pc.fill_null(pc.equal(pc.binary_length(texts), 0), True))


def _booleans(array: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(pc.fill_null(array, False).to_numpy(zero_copy_only=False))
