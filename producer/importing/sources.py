"""Finds the tables to import: in a directory or zip file, a text file, a Parquet file, or a query."""

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from reckoner.producer.importing.columns import Columns
from reckoner.producer.importing.compression import Compression, Input, find_compression
from reckoner.producer.importing.databases import Query, QueryTable
from reckoner.producer.importing.delimited import DelimitedTable
from reckoner.producer.importing.dialect import Reading
from reckoner.producer.importing.tables import ParquetTable, Table, sentences
from reckoner.shared.errors import SourceError, UsageError

# The files of MovieLens: ratings, and titles beside them.
MOVIELENS = {"ratings.csv": "movies.csv", "ratings.dat": "movies.dat", "u.data": "u.item"}
RATINGS_COLUMNS = ("userId", "movieId", "rating", "timestamp")
# The columns of files that have no header.
KNOWN_COLUMNS = {
    "ratings.dat": RATINGS_COLUMNS,
    "u.data": RATINGS_COLUMNS,
    "movies.dat": ("movieId", "title"),
    "u.item": ("movieId", "title"),
}
PARQUET_MAGIC = b"PAR1"
# Parts of archives that are no tables.
NO_TABLES = ("readme", "license", "licence", "copying", "changelog")


@dataclass(frozen=True, slots=True)
class Source:
    """The table of interactions, its file if any, and a separate table of titles if any."""

    interactions: Table
    file: Path | None
    titles: Table | None = None


def find_source(source: Path | Query, reading: Reading = Reading(), columns: Columns = Columns()) -> Source:  # noqa: B008
    """The tables of a query or a path; a file's first bytes count before its name.

    Raises:
        UsageError: `reading` is not for this kind of source.
        SourceError: the path does not exist, or cannot be imported.
    """
    if isinstance(source, Query):
        _require_nothing(reading, "a query")
        return Source(QueryTable(source), None)
    return _Finder(reading, columns).source(source)


@dataclass(frozen=True, slots=True)
class _Finder:
    """Finds the tables of a path."""

    reading: Reading
    columns: Columns

    def source(self, path: Path) -> Source:
        with sentences(str(path)):
            is_directory = path.is_dir()
        if is_directory:
            return self._directory(path)
        with sentences(str(path)), path.open("rb") as file:
            start = file.read(8)
        if start.startswith(PARQUET_MAGIC) or path.suffix in (".parquet", ".pq"):
            _require_nothing(self.reading, "a Parquet file")
            return Source(ParquetTable(path), path)
        found = self.reading.compression or ("zip" if path.suffix == ".zip" else find_compression(start))
        if found == "zip":
            return self._zip(path)
        return Source(self._table(_file(path)), path)

    def _directory(self, path: Path) -> Source:
        with sentences(str(path)):
            found = next((name for name in MOVIELENS if (path / name).is_file()), None)
            if found is None:
                raise SourceError(f"The directory {path} has no {_or(MOVIELENS)}.")
            movies = path / MOVIELENS[found]
            has_titles = movies.is_file()
        return Source(
            self._table(_file(path / found)), path / found, self._titles(_file(movies)) if has_titles else None
        )

    def _zip(self, path: Path) -> Source:
        with sentences(path.name), zipfile.ZipFile(path) as archive:
            members = {PurePosixPath(info.filename): info for info in archive.infolist() if _is_table(info.filename)}
        ratings = [place for place in members if place.name in MOVIELENS]
        if not ratings and len(members) != 1:
            shown = f": {', '.join(str(place) for place in list(members)[:10])}" if members else ""
            raise SourceError(
                f"The zip file {path.name} has {len(members)} tables{shown}. It needs one, or {_or(MOVIELENS)}."
            )
        place = min(ratings or members, key=lambda place: (len(place.parts), place))
        titles = place.with_name(MOVIELENS[place.name]) if ratings else None
        return Source(
            self._table(_member(path, place, members[place])),
            path,
            self._titles(_member(path, titles, members[titles])) if titles in members else None,
        )

    def _table(self, source: Input) -> DelimitedTable:
        compression = None if self.reading.compression == "zip" else self.reading.compression
        return _delimited(source, self.reading, compression, self.columns)

    def _titles(self, source: Input) -> DelimitedTable:
        return _delimited(source, Reading(encoding=self.reading.encoding), None, Columns(item=self.columns.item))


def _delimited(source: Input, reading: Reading, compression: Compression | None, columns: Columns) -> DelimitedTable:
    if compression is None:
        with sentences(source.name), source.open() as file:
            compression = find_compression(file.read(8))
        if compression == "zip":
            raise SourceError(f"{source.name} is a zip file. Unpack it, and import the table in it.")
    known = (names for file, names in KNOWN_COLUMNS.items() if f"{source.file_name}.".startswith(f"{file}."))
    return DelimitedTable(source, compression, reading, columns, next(known, ()))


def _require_nothing(reading: Reading, what: str) -> None:
    if reading != Reading():
        raise UsageError(f"--separator, --quote, --escape, --encoding, --header and --compression are not for {what}.")


def _is_table(name: str) -> bool:
    """Whether a member of a zip file may be a table."""
    place = PurePosixPath(name)
    is_hidden = any(part.startswith((".", "__MACOSX")) for part in place.parts)
    return not (name.endswith("/") or is_hidden or place.name.casefold().startswith(NO_TABLES))


def _file(path: Path) -> Input:
    with sentences(path.name):
        size = path.stat().st_size
    return Input(path.name, path.name, lambda: path.open("rb"), size)


def _member(path: Path, place: PurePosixPath, info: zipfile.ZipInfo) -> Input:
    def open_member() -> BinaryIO:
        # The open member keeps the file open, so the archive can be closed.
        with zipfile.ZipFile(path) as archive:
            return cast("BinaryIO", archive.open(info.filename))

    return Input(f"{place} in {path.name}", place.name, open_member, info.file_size)


def _or(names: Iterable[str]) -> str:
    """The names as a list: a, b or c."""
    *others, last = names
    return f"{', '.join(others)} or {last}"
