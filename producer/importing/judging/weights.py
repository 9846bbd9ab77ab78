"""Reads weights, and judges those of rows that count."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from reckoner.producer.importing.judging.decimals import DecimalReader
from reckoner.producer.importing.judging.rejected import Kind
from reckoner.producer.importing.judging.roles import TypeTable
from reckoner.producer.importing.judging.rules import Rules
from reckoner.producer.importing.judging.values import as_booleans, as_numbers, as_plain, as_texts, is_number
from reckoner.producer.importing.judging.verdict import Verdict, is_missing
from reckoner.producer.importing.reading.tables import Batch
from reckoner.shared.event_types import Nonpositive

# Digits with a comma somewhere among them.
COMMAS = r"^\s*[+-]?[0-9][0-9.,' ]*,[0-9.,' ]*\s*$"
ADVICE = "write 1234.5 for 1,234.5 or 1.234,5, or use --decimal ',' if it is a decimal comma"


class WeightReader:
    """Reads the weights of one column, batch by batch; an event type multiplies them by its own."""

    def __init__(self, name: str, rules: Rules, table: TypeTable | None) -> None:
        self.decimals = DecimalReader(rules.decimal)
        self._name, self._table = name, table
        # A rating of any size is compared only.
        is_compared = rules.positive is not None and rules.nonpositive == "drop"
        self._nonpositive: Nonpositive = "subtract" if is_compared else rules.nonpositive

    def read(self, batch: Batch, verdict: Verdict, types: NDArray[np.int64] | None) -> NDArray[np.float64]:
        """The weights of the next batch, float64[n], those of rows that do not count being 1.

        `types` int64[n] are indices into the table of types. Rows with an invalid weight are rejected by `verdict`.

        Raises:
            SourceError: the column has an unsupported type.
            ReadAgainError: earlier values should have been read otherwise.
        """
        column = as_plain(batch.columns[self._name])
        texts = None if is_number(column.type) else as_texts(column)
        weights = as_numbers(column if texts is None else self.decimals.read(texts))
        if self._table is not None and types is not None:
            weights = np.where(self._table.count[types], weights * self._table.weights[types], 1.0)
        stored = weights.astype(np.float32)
        if np.isfinite(stored).all() and (stored > 0).all():
            return weights
        missing, rules = is_missing(column), list(self._by_rule(types))
        for rule, rows in rules:
            verdict.reject(missing & rows, _kind(rule), "the weight is missing")
        if texts is not None and not self.decimals.is_comma:
            has_comma = np.isnan(weights) & as_booleans(pc.match_substring_regex(texts, COMMAS))
            verdict.reject(has_comma, "bad", f"the weight has a comma; {ADVICE}", self._name)
        verdict.reject(np.isnan(weights), "bad", "the weight is not a number", self._name)
        verdict.reject(~np.isfinite(stored), "bad", "the weight is too large", self._name)
        for rule, rows in rules:
            if rule != "subtract":
                verdict.reject(rows & (weights == 0), _kind(rule), "the weight is zero")
                verdict.reject(rows & (weights < 0), _kind(rule), "the weight is below zero", self._name)
        verdict.reject((stored == 0) & (weights != 0), "bad", "the weight is too small", self._name)
        return weights

    def _by_rule(self, types: NDArray[np.int64] | None) -> Iterator[tuple[Nonpositive, Any]]:
        """Each rule for weights of zero or below, and bool[n] of its rows that count."""
        if self._table is None or types is None:
            yield self._nonpositive, np.True_
            return
        for rule in ("drop", "subtract", "bad"):
            yield rule, (self._table.nonpositive == rule)[types] & self._table.count[types]


def _kind(rule: Nonpositive) -> Kind:
    return "bad" if rule == "bad" else "left_out"
