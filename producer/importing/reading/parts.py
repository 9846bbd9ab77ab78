"""Several files of one kind as one table."""

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from reckoner.producer.importing.reading.forms import Form
from reckoner.producer.importing.reading.tables import PART_ROWS, Batch, Refuse, Table, sentences
from reckoner.shared.errors import ReadAgainError, SourceError

# Files beside parts that are no tables; names in lower case.
NO_TABLES = ("readme", "license", "licence", "copying", "changelog")


def is_part(name: str) -> bool:
    """Whether a file or folder may belong to a table: it is not hidden, no marker such as _SUCCESS, and no readme."""
    return not name.startswith((".", "_")) and not name.casefold().startswith(NO_TABLES)


class PartsTable:
    """The rows of files one after the other; the number of a row tells its file too: see `PART_ROWS`.

    `open_part(path, like)` opens a file that is written like another one, if that is given.
    """

    def __init__(self, paths: Sequence[Path], open_part: Callable[[Path, Table | None], Table]) -> None:
        self.name = f"The table of {len(paths)} files"
        self._paths, self._open = paths, open_part
        self._sizes = list[int]()
        for path in paths:
            with sentences(path.name):
                self._sizes.append(path.stat().st_size)
        self._first = open_part(paths[0], None)
        self._opened = {0: self._first}
        self.columns: Sequence[str] = self._first.columns
        self.unit: Literal["line", "row"] = self._first.unit
        self.n_rows: int | None = None

    @property
    def form(self) -> Form | None:
        """See `Table.form`."""
        form = self._first.form
        return form and msgspec.structs.replace(form, files=len(self._paths))

    def batches(self, names: Sequence[str], refuse: Refuse, whole: Collection[str] = ()) -> Iterator[Batch]:
        """See `Table.batches`."""
        done, done_bytes = 0, 0
        for number, path in enumerate(self._paths):
            # What a file tells while it is read holds for the others.
            like = list(self._opened.values())[-1]
            table = self._opened.get(number) or self._open(path, like)
            self._require(table, names)
            before, done_bytes = done, done_bytes + self._sizes[number]
            try:
                for batch in table.batches(names, _shifted(refuse, number * PART_ROWS), whole):
                    done += len(batch.lines)
                    if table.n_rows is not None and done_bytes:
                        self.n_rows = round((before + table.n_rows) * sum(self._sizes) / done_bytes)
                    yield Batch(batch.lines + number * PART_ROWS, batch.columns)
            except ReadAgainError:
                self._opened[number] = table
                raise
        self.n_rows = done

    def _require(self, table: Table, names: Sequence[str]) -> None:
        if type(table) is not type(self._first):
            raise SourceError(f"{self._first.name} and {table.name} are of different kinds. Import one kind at a time.")
        missing = next((name for name in names if table.columns.count(name) != 1), None)
        if missing is not None:
            raise SourceError(
                f"{table.name} lacks the column {missing} of {self._first.name}, or has two of that name. All files "
                "need a header with the same names, or none has one (--no-header)."
            )


def _shifted(refuse: Refuse, by: int) -> Refuse:
    return lambda line, reason, text: refuse(line + by, reason, text)
