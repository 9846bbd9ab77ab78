"""Splits the rows of a batch into good ones, bad ones and ones that are left out, with reasons."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reckoner.producer.importing.judging.ids import IdReader, Ids
from reckoner.producer.importing.judging.rejected import RejectedRows, shown
from reckoner.producer.importing.judging.roles import HISTORY, TypeReader, rate, table_of
from reckoner.producer.importing.judging.rules import Rules
from reckoner.producer.importing.judging.tags import TOO_LONG_TAG, have_long_tags
from reckoner.producer.importing.judging.times import TimeReader
from reckoner.producer.importing.judging.values import as_texts
from reckoner.producer.importing.judging.verdict import Verdict, is_missing
from reckoner.producer.importing.judging.weights import WeightReader
from reckoner.producer.importing.reading.columns import ChosenColumns
from reckoner.producer.importing.reading.tables import Batch
from reckoner.shared.errors import NotTimesError, ReadAgainError

NOTHING: Final[Mapping[str, bool]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class GoodRows:
    """The n good rows of a batch.

    `users` and `items` are dictionary[n]; `weights` float64[n], None if each is 1; `times` int64[n] in milliseconds;
    `titles` and `tags` string[n]; `places` int64[n] those in the batch; `types` int64[n], indices into the checker's
    table; and `roles` uint8[n] the bits of their roles, None if each is `HISTORY`.
    """

    users: pa.DictionaryArray
    items: pa.DictionaryArray
    weights: NDArray[np.float64] | None
    times: NDArray[np.int64] | None
    titles: pa.Array | None = None
    tags: pa.Array | None = None
    places: NDArray[np.int64] | None = None
    types: NDArray[np.int64] | None = None
    roles: NDArray[np.uint8] | None = None

    def completed(self, *, weighted: bool, with_roles: bool) -> "GoodRows":
        """The same rows, each with its weight, and with its role."""
        found = self
        if weighted and found.weights is None:
            found = dataclasses.replace(found, weights=np.ones(len(found.users)))
        if with_roles and found.roles is None:
            found = dataclasses.replace(found, roles=np.full(len(found.users), HISTORY, dtype=np.uint8))
        return found


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
        self.table = table_of(chosen, rules)
        """The types of rows, if they have some."""
        self._types = TypeReader(chosen.type, rules, self.table) if chosen.type is not None and self.table else None
        self._weights = WeightReader(chosen.weight, rules, self.table) if chosen.weight is not None else None
        self._rules = rules

    @property
    def decimal_comma(self) -> str | None:
        """A weight with a decimal comma, if the weights turned out to have them."""
        decimals = self._weights.decimals if self._weights else None
        return decimals.example if decimals and decimals.is_comma else None

    @property
    def is_weighted(self) -> bool:
        """Whether rows have other weights than 1."""
        return self._rules.weighs(self.chosen)

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
        types = self._types.read(batch, verdict) if self._types else None
        types, weights = self._read_weights(batch, verdict, types)
        times = self._read_times(batch, verdict)
        judge_tags(batch, self.chosen.tags, self._rules.tag_separator, verdict)
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
            None if types is None else types[places],
            None if types is None or self.table is None else self.table.roles[types[places]],
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

    def _read_weights(
        self, batch: Batch, verdict: Verdict, types: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.int64] | None, NDArray[np.float64] | None]:
        """The types and the weights of the rows."""
        if self._weights is not None and self.chosen.weight is not None:
            weights = self._weights.read(batch, verdict, types)
            if self._rules.positive is None:
                return types, weights
            return rate(self._rules.positive, self.table, weights, self.chosen.weight, verdict), None
        if types is None or self.table is None or not self.is_weighted:
            return types, None
        return types, self.table.weights[types]

    def _read_times(self, batch: Batch, verdict: Verdict) -> NDArray[np.int64] | None:
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


def judge_ids(ids: Ids, verdict: Verdict) -> None:
    """Reject the rows whose id is missing or invalid."""
    if len(ids.faults) > 1 or (ids.codes == 0).any():
        for code, fault in enumerate(ids.faults):
            verdict.reject(ids.codes == code, "left_out" if fault.is_missing else "bad", fault.reason)


def judge_tags(batch: Batch, name: str | None, separator: str, verdict: Verdict) -> None:
    """Reject the rows with a tag that is too long; without a column of tags none."""
    if name is not None:
        verdict.reject(have_long_tags(as_texts(batch.columns[name]), separator), "bad", TOO_LONG_TAG)


def _taken(ids: pa.DictionaryArray, rows: NDArray[np.int64]) -> pa.DictionaryArray:
    """The ids of some rows, without those of other rows in the dictionary."""
    if len(rows) == len(ids):
        return ids
    return ids.take(pa.array(rows)).dictionary_decode().dictionary_encode()
