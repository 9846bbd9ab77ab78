"""Splits the rows of a batch into good ones, bad ones and ones that are left out, with reasons."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reckoner.producer.importing.judging.decimals import DecimalReader
from reckoner.producer.importing.judging.ids import BLANKS, IdReader, Ids
from reckoner.producer.importing.judging.rejected import Kind, RejectedRows, shown
from reckoner.producer.importing.judging.rules import MISSING, Rules
from reckoner.producer.importing.judging.tags import TOO_LONG_TAG, have_long_tags
from reckoner.producer.importing.judging.times import TimeReader
from reckoner.producer.importing.judging.values import as_booleans, as_numbers, as_plain, as_texts, is_number
from reckoner.producer.importing.reading.columns import ChosenColumns
from reckoner.producer.importing.reading.tables import Batch
from reckoner.shared.errors import NotTimesError, ReadAgainError

# Digits with a comma somewhere among them.
COMMAS = r"^\s*[+-]?[0-9][0-9.,' ]*,[0-9.,' ]*\s*$"
ADVICE = "write 1234.5 for 1,234.5 or 1.234,5, or use --decimal ',' if it is a decimal comma"
WORDS = pa.array(["", *sorted(MISSING)])
NOTHING: Final[Mapping[str, bool]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class GoodRows:
    """The n good rows of a batch.

    `users` and `items` are dictionary[n]; `weights` float64[n], None if each is 1; `times` int64[n] in milliseconds;
    `titles` and `tags` string[n]; and `places` int64[n] those in the batch.
    """

    users: pa.DictionaryArray
    items: pa.DictionaryArray
    weights: NDArray[np.float64] | None
    times: NDArray[np.int64] | None
    titles: pa.Array | None = None
    tags: pa.Array | None = None
    places: NDArray[np.int64] | None = None

    def weighted(self) -> "GoodRows":
        """The same rows, each with its weight."""
        return self if self.weights is not None else dataclasses.replace(self, weights=np.ones(len(self.users)))


class Checker:
    """Reads and judges the rows of a table, batch by batch.

    How a column is read may depend on all its values. If a later batch changes that, ReadAgainError is raised, and the
    checker knows better from then on. `are_whole` says of earlier users and items whether all are whole numbers.
    """

    def __init__(self, chosen: ChosenColumns, rules: Rules, are_whole: Mapping[str, bool] = NOTHING) -> None:
        # Who gives a format wants the times.
        self.chosen = dataclasses.replace(chosen, time_is_guessed=chosen.time_is_guessed and not rules.time_format)
        self.not_times: str | None = None
        """A guessed time column that is skipped, since not all its values are times."""
        self.why_not_times: str | None = None
        self.largest_weight = 0.0
        """Regardless of the sign."""
        self.users, self.items = (IdReader(role, rules, are_whole.get(role)) for role in ("user", "item"))
        self._times = TimeReader(chosen.time, rules.time_format) if chosen.time is not None else None
        self.decimals = DecimalReader(rules.decimal)
        self._nonpositive, self._tag_separator = rules.nonpositive, rules.tag_separator

    # Any bits may be in a column: odd NaNs and numbers out of range are judged, not warned of.
    @np.errstate(all="ignore")
    def check(self, batch: Batch, rejected: RejectedRows) -> GoodRows:
        """The good rows of `batch`; the others are added to `rejected` with their first reason.

        Raises:
            SourceError: a column has an unsupported type, or values that cannot be told apart.
            ReadAgainError: the table is to be read again.
        """
        verdict = Verdict(len(batch.lines))
        users, items = (
            reader.read(batch.columns[name])
            for reader, name in ((self.users, self.chosen.user), (self.items, self.chosen.item))
        )
        verdict.reject((users.codes == 0) & (items.codes == 0), "left_out", "user and item are missing")
        for ids in (users, items):
            judge_ids(ids, verdict)
        weights = None if self.chosen.weight is None else self._weights(batch, self.chosen.weight, verdict)
        times = self._read_times(batch, verdict)
        judge_tags(batch, self.chosen.tags, self._tag_separator, verdict)
        verdict.report(batch, rejected)
        places = np.flatnonzero(verdict.good)
        if weights is not None:
            weights = weights[places]
            self.largest_weight = max(self.largest_weight, np.abs(weights).max(initial=0))
        title, tags = (
            None if name is None else as_texts(batch.columns[name]).take(pa.array(places))
            for name in (self.chosen.title, self.chosen.tags)
        )
        return GoodRows(
            _taken(users.texts, places),
            _taken(items.texts, places),
            weights,
            None if times is None else times[places],
            title,
            tags,
            places,
        )

    def finish(self) -> None:
        """Check the decisions at the end of the table.

        Raises:
            NotTimesError: the times of the named column are ambiguous.
            ReadAgainError: those of the guessed one are, so it is skipped.
        """
        if self._times is not None:
            try:
                self._times.finish()
            except NotTimesError as error:
                self._skip_times(error)

    def _weights(self, batch: Batch, name: str, verdict: "Verdict") -> NDArray[np.float64]:
        column = as_plain(batch.columns[name])
        texts = None if is_number(column.type) else as_texts(column)
        weights = as_numbers(column if texts is None else self.decimals.read(texts))
        stored = weights.astype(np.float32)
        if np.isfinite(stored).all() and (stored > 0).all():
            return weights
        kind: Kind = "bad" if self._nonpositive == "bad" else "left_out"
        verdict.reject(is_missing(column), kind, "the weight is missing")
        if texts is not None and not self.decimals.is_comma:
            has_comma = as_booleans(pc.match_substring_regex(texts, COMMAS))
            verdict.reject(has_comma, "bad", f"the weight has a comma; {ADVICE}", name)
        verdict.reject(np.isnan(weights), "bad", "the weight is not a number", name)
        verdict.reject(~np.isfinite(stored), "bad", "the weight is too large", name)
        if self._nonpositive != "subtract":
            verdict.reject(weights == 0, kind, "the weight is zero")
            verdict.reject(weights < 0, kind, "the weight is below zero", name)
        verdict.reject((stored == 0) & (weights != 0), "bad", "the weight is too small", name)
        return weights

    def _read_times(self, batch: Batch, verdict: "Verdict") -> NDArray[np.int64] | None:
        if self._times is None:
            return None
        try:
            times, is_time = self._times.read(batch.columns[self._times.name])
            no_times = np.flatnonzero(~is_time & verdict.good)
            if self.chosen.time_is_guessed and len(no_times):
                one = batch.columns[self._times.name].slice(int(no_times[0]), 1)
                what = "left out" if is_missing(one)[0] else "bad"
                raise NotTimesError(
                    f"Not all its values are times, such as {shown(one)}. With --time {self._times.name} such rows are "
                    f"{what}"
                )
        except NotTimesError as error:
            self._skip_times(error)
        if not is_time.all():
            verdict.reject(is_missing(batch.columns[self._times.name]), "left_out", "the time is missing")
            verdict.reject(~is_time, "bad", "the time is invalid", self._times.name)
        return times

    def _skip_times(self, error: NotTimesError) -> None:
        """Read the table again without its times.

        Raises:
            NotTimesError: the column was named.
            ReadAgainError: it was guessed, so its values make no row bad.
        """
        if not self.chosen.time_is_guessed:
            raise error
        self.not_times, self.why_not_times = self.chosen.time, str(error)
        self.chosen, self._times = dataclasses.replace(self.chosen, time=None), None
        raise ReadAgainError from error


def judge_ids(ids: Ids, verdict: "Verdict") -> None:
    """Reject the rows whose id is missing or invalid."""
    if len(ids.faults) > 1 or (ids.codes == 0).any():
        for code, fault in enumerate(ids.faults):
            verdict.reject(ids.codes == code, "left_out" if fault.is_missing else "bad", fault.reason)


def judge_tags(batch: Batch, name: str | None, separator: str, verdict: "Verdict") -> None:
    """Reject the rows with a tag that is too long; without a column of tags none."""
    if name is not None:
        verdict.reject(have_long_tags(as_texts(batch.columns[name]), separator), "bad", TOO_LONG_TAG)


def _taken(ids: pa.DictionaryArray, rows: NDArray[np.int64]) -> pa.DictionaryArray:
    """The ids of some rows, without those of other rows in the dictionary."""
    if len(rows) == len(ids):
        return ids
    return ids.take(pa.array(rows)).dictionary_decode().dictionary_encode()


def without_words(texts: pa.Array) -> pa.Array:
    """The texts, null where they are empty or words for missing values."""
    is_word = pc.is_in(texts, WORDS)
    return pc.if_else(is_word, pa.scalar(None, texts.type), texts) if pc.any(is_word).as_py() else texts


def is_missing(column: pa.Array) -> NDArray[np.bool_]:
    """Which values are null, NaN, empty, blank, or words for missing values."""
    column = as_plain(column)
    is_null = as_booleans(column.is_null(nan_is_null=True))
    if is_number(column.type) or pa.types.is_temporal(column.type):
        return is_null
    return is_null | as_booleans(pc.is_in(pc.utf8_trim(as_texts(column), BLANKS), WORDS))


class Verdict:
    """The first reason for which each row of a batch does not count."""

    def __init__(self, n: int) -> None:
        self._reasons = np.full(n, -1, dtype=np.int64)
        self._named: list[tuple[Kind, str, str | None]] = []

    @property
    def good(self) -> NDArray[np.bool_]:
        """bool[n]: which rows are good."""
        return self._reasons < 0

    def reject(self, mask: NDArray[np.bool_], kind: Kind, reason: str, column: str | None = None) -> None:
        """Reject the rows of `mask` that are good so far; the value in `column` explains the reason."""
        self._reasons[self.good & mask] = len(self._named)
        self._named.append((kind, reason, column))

    def report(self, batch: Batch, rejected: RejectedRows) -> None:
        """Add the rows that are not good to `rejected`."""
        if self.good.all():
            return
        for code, (kind, reason, column) in enumerate(self._named):
            rows = np.flatnonzero(self._reasons == code)
            if len(rows):
                rejected.add_rows(kind, reason, batch, rows, column)
