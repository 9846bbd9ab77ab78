"""Previews an import: what it would read and hold; nothing is written to the store."""

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from reckoner.producer.importing.gate import ImportLimits, Size, judge
from reckoner.producer.importing.gathering import (
    FirstRow,
    Gathered,
    Options,
    Progress,
    gather,
    show_nothing,
)
from reckoner.producer.importing.reading.sources import Origin
from reckoner.producer.importing.recorded import NoRows
from reckoner.producer.importing.reports import ReadReport
from reckoner.shared.store.fit_options import default_of
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.sorting import count_each

# So many months or years are listed at most.
PERIODS = 12


class Spread(msgspec.Struct, frozen=True):
    """How interactions are distributed over users, or over items."""

    median: int
    ninety: int
    """Nine of ten have at most so many."""
    largest: int


class Times(msgspec.Struct, frozen=True):
    """The first and the last time in milliseconds since 1970, and the interactions by month or year."""

    first: int
    last: int
    unit: Literal["month", "year"]
    counts: dict[str, int]


class Preview(ReadReport, frozen=True, kw_only=True):
    """What an import would do."""

    columns: dict[str, str]
    """By user, item, weight, time, title, tags and type: the column, if there is one."""
    other_columns: list[str]
    first_rows: list[FirstRow]
    """The first good rows."""
    by_user: Spread
    by_item: Spread
    times: Times | None
    pairs: int
    """What a fit counts: each two items of each user."""
    fit: str
    """The model that a fit would build without options."""
    fit_s: float
    """About how many seconds of one core it would take."""
    compared_with: Size | None = None
    """What the limits compare the snapshot with."""


def preview_interactions(
    source: Origin | None,
    store: Store | None,
    options: Options,
    limits: ImportLimits | None = None,
    progress: Progress = show_nothing,
) -> Preview:
    """Read a source as an import does, and describe what it would hold. `store` may be None if it does not exist.

    Raises:
        UsageError, SourceError, OutputError, StoreError: as of `import_interactions`.
    """
    gathered = gather(source, store, options, progress, _scratch)
    rows, size = gathered.merged.rows, gathered.size
    judged = judge(limits, size, store, gathered.counts, gathered.counts_of_items) if limits else None
    columns, others = _columns(gathered)
    by_user = count_each(rows.users, size.users)
    pairs = int((by_user * (by_user - 1) // 2).sum())
    default = default_of(size.items, len(rows.users), pairs)
    return Preview(
        columns=columns,
        other_columns=others,
        first_rows=_with_titles(gathered),
        by_user=_spread(by_user),
        by_item=_spread(count_each(rows.items, size.items)),
        times=None if rows.times is None else _times(rows.times),
        pairs=pairs,
        fit=default.config.label,
        fit_s=round(default.seconds, 3),
        compared_with=judged.before if judged else None,
        refused=judged.refused if judged else [],
        **gathered.figures(),
    )


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="reckoner-") as directory:
        yield Path(directory)


def _columns(gathered: Gathered) -> tuple[dict[str, str], list[str]]:
    """The columns by their roles, and the others; none without a source."""
    if isinstance(gathered.table, NoRows):
        return {}, []
    chosen = gathered.checker.chosen
    roles = ("user", "item", "weight", "time", "title", "tags", "type")
    by_role = {role: getattr(chosen, role) for role in roles}
    present = gathered.table.columns
    return {role: name for role, name in by_role.items() if name}, [
        name for name in present if name not in by_role.values()
    ]


def _with_titles(gathered: Gathered) -> list[FirstRow]:
    """The first rows, with titles from another table."""
    titles = gathered.facts.titles
    return [dataclasses.replace(row, title=titles.get(row.item) or row.title) for row in gathered.first]


def _spread(counts: NDArray[np.int64]) -> Spread:
    median, ninety = np.percentile(counts, [50, 90], method="inverted_cdf").tolist()
    return Spread(int(median), int(ninety), int(counts.max()))


class _Periods(NamedTuple):
    names: NDArray[Any]
    counts: NDArray[np.int64]


def _times(times: NDArray[np.int64]) -> Times:
    unit: Literal["month", "year"] = "month"
    found = _by_period(times, "M")
    if len(found.names) > PERIODS:
        unit, found = "year", _by_period(times, "Y")
    listed = slice(-PERIODS, None) if len(found.names) > PERIODS else slice(None)
    earlier = int(found.counts.sum() - found.counts[listed].sum())
    names = [str(name) for name in found.names[listed]]
    counts = dict(zip(names, found.counts[listed].tolist(), strict=True))
    before = {f"before {names[0]}": earlier} if earlier else {}
    return Times(int(times.min()), int(times.max()), unit, before | counts)


def _by_period(times: NDArray[np.int64], unit: Literal["M", "Y"]) -> _Periods:
    periods = times.view("datetime64[ms]").astype(f"datetime64[{unit}]")
    return _Periods(*np.unique(periods, return_counts=True))
