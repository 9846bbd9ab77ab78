"""Finds the tables to import: in files, a directory or zip file of MovieLens, a workbook, a query, or a frame."""

import dataclasses
import io
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from reckoner.producer.importing.reading.archives import Members, choose_member, tar_members, zip_members
from reckoner.producer.importing.reading.arrow_tables import (
    FEATHER_MAGIC,
    OLD_FEATHER_MAGIC,
    PARQUET_MAGIC,
    STREAM_MAGIC,
    Frame,
    feather_table,
    frame_table,
    parquet_table,
)
from reckoner.producer.importing.reading.columns import Columns
from reckoner.producer.importing.reading.compression import Compression, Input, Look, find_compression, look_at
from reckoner.producer.importing.reading.databases import Query, QueryTable
from reckoner.producer.importing.reading.delimited import DelimitedTable
from reckoner.producer.importing.reading.excel import OLD_EXCEL_MAGIC, WORKBOOKS, ExcelTable
from reckoner.producer.importing.reading.forms import Reading
from reckoner.producer.importing.reading.json_lines import SUFFIXES, JsonTable, looks_like_json, may_be_json
from reckoner.producer.importing.reading.parts import PartsTable
from reckoner.producer.importing.reading.places import Places
from reckoner.producer.importing.reading.tables import Table, sentences
from reckoner.producer.importing.reading.text import Text, find_encoding
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

# What is imported: files, of which strings may be patterns or URLs; a query; or a frame.
Origin: TypeAlias = Path | str | Sequence[Path | str] | Query | Frame


@dataclass(frozen=True, slots=True)
class Source:
    """The table of interactions, its files if any, and a separate table of titles if any.

    `parts` names the files if there are several.
    """

    interactions: Table
    files: Sequence[Path] = ()
    titles: Table | None = None
    parts: Sequence[str] = ()


def find_source(
    origin: Origin | None,
    make_room: Callable[[], Path],
    reading: Reading = Reading(),  # noqa: B008
    columns: Columns = Columns(),  # noqa: B008
    alive: Callable[[], None] = lambda: None,
) -> Source:
    """The tables of a query, a frame or files; a file's first bytes count before its name.

    What can be read only once is kept in a file in `make_room()`; `alive()` is called meanwhile.

    Raises:
        UsageError: `reading` is not for this kind of source.
        SourceError: a path does not exist, or cannot be imported.
        StoreError: what is read once cannot be kept.
    """
    if isinstance(origin, Query):
        _require_nothing(reading, "a query")
        return Source(QueryTable(origin))
    if isinstance(origin, Frame):
        _require_nothing(reading, "a frame")
        return Source(frame_table(origin, columns.given()))
    if not isinstance(origin, Path | str | Sequence):
        raise UsageError(
            f"A {type(origin).__name__} cannot be imported. Give files, a query, or a frame with Arrow's stream."
        )
    paths = Places(make_room, _is_movielens, alive).files([origin] if isinstance(origin, Path | str) else origin)
    finder = _Finder(reading, columns)
    if len(paths) == 1:
        return finder.source(paths[0])
    absolute = [path.absolute() for path in paths]
    above = os.path.commonpath([path.parent for path in absolute])
    # A name may be in any encoding.
    parts = [os.fsencode(path.relative_to(above)).decode(errors="backslashreplace") for path in absolute]
    return Source(PartsTable(paths, finder.part), paths, parts=parts)


@dataclass(frozen=True, slots=True)
class _Finder:
    """Finds the tables of a path; text is separated as in the table `first`."""

    reading: Reading
    columns: Columns
    first: Table | None = None

    def source(self, path: Path) -> Source:
        with sentences(str(path)):
            is_directory = path.is_dir()
        if is_directory:
            return self._directory(path)
        with sentences(str(path)), path.open("rb") as file:
            start = file.read(len(OLD_EXCEL_MAGIC))
        if start.startswith(PARQUET_MAGIC):
            _require_nothing(self.reading, "a Parquet file")
            return Source(parquet_table(path, self.columns.given()), [path])
        if start.startswith((FEATHER_MAGIC, OLD_FEATHER_MAGIC, STREAM_MAGIC)):
            _require_nothing(self.reading, "an Arrow file")
            return Source(feather_table(path, start, self.columns.given()), [path])
        if start == OLD_EXCEL_MAGIC:
            return self._workbook(path)
        found = self.reading.compression or find_compression(start)
        # A program that unpacks it may be in front.
        if found == "zip" or (self.reading.compression is None and path.suffix == ".zip" and zipfile.is_zipfile(path)):
            return self._zip(path)
        plain = _file(path)
        with sentences(path.name):
            look = look_at(plain, found)
            members = tar_members(path, found) if look.is_tar else None
        if members is not None:
            return self._archive(path, members)
        self._require_no_member(path)
        return Source(self._table(plain, look), [path])

    def _require_no_member(self, path: Path) -> None:
        if self.reading.member is not None:
            raise UsageError(f"--member is for zip and tar files, and {path.name} is none.")

    def part(self, path: Path, first: Table | None) -> Table:
        """The table of one of several files; all are written as the first one."""
        found = dataclasses.replace(self, first=first).source(path)
        if found.titles is not None:
            raise SourceError(f"{path.name} has a table of titles. Import it by itself.")
        return found.interactions

    def _directory(self, path: Path) -> Source:
        self._require_no_member(path)
        with sentences(str(path)):
            found = next(name for name in MOVIELENS if (path / name).is_file())
            movies = path / MOVIELENS[found]
            has_titles = movies.is_file()
        return Source(
            self._table(_file(path / found)), [path / found], self._titles(_file(movies)) if has_titles else None
        )

    def _workbook(self, path: Path) -> Source:
        _require_nothing(self.reading, "a workbook", "sheet", "header")
        return Source(ExcelTable(path, self.reading, self.columns), [path])

    def _zip(self, path: Path) -> Source:
        with sentences(path.name):
            with zipfile.ZipFile(path) as archive:
                is_workbook = not {*archive.namelist()}.isdisjoint(WORKBOOKS)
            members = {} if is_workbook else zip_members(path)
        if is_workbook:
            return self._workbook(path)
        # The compression that is given is that of the zip file.
        given = None if self.reading.compression == "zip" else self.reading.compression
        return self._archive(path, members, given)

    def _archive(self, path: Path, members: Members, compression: Compression | None = None) -> Source:
        finder = dataclasses.replace(
            self, reading=dataclasses.replace(self.reading, member=None, compression=compression)
        )
        place = choose_member(path, members, self.reading.member, MOVIELENS)
        titles = members.get(place.with_name(MOVIELENS[place.name])) if place.name in MOVIELENS else None
        return Source(finder._table(members[place]), [path], finder._titles(titles) if titles else None)

    def _table(self, source: Input, look: Look | None = None) -> Table:
        reading = self.reading
        look = look or _look(source, reading.compression)
        if reading.separator is None and _is_json(source, look.start, reading.encoding):
            _require_nothing(reading, "JSON", "encoding", "compression")
            return JsonTable(source, look.compression, reading.encoding, self.columns.given())
        if isinstance(self.first, DelimitedTable):
            form = self.first.form
            header = True if form.header else reading.header
            escape = reading.escape if form.escape == "none" else form.escape
            # Whether quotation marks quote nothing may be told by a later file.
            quote = reading.quote if form.quote == '"' and form.separator == "\t" else form.quote or "none"
            reading = dataclasses.replace(reading, separator=form.separator, quote=quote, escape=escape, header=header)
        return _delimited(source, look.compression, reading, self.columns)

    def _titles(self, source: Input) -> DelimitedTable:
        reading = Reading(encoding=self.reading.encoding)
        return _delimited(source, _look(source, None).compression, reading, Columns(item=self.columns.item))


def _is_movielens(folder: Path) -> bool:
    return any((folder / name).is_file() for name in MOVIELENS)


def _look(source: Input, given: Compression | None) -> Look:
    """Look at a file, or a member of an archive."""
    with sentences(source.name):
        look = look_at(source, given)
    if look.compression == "zip":
        raise SourceError(f"{source.name} is a zip file. Unpack it, and import the table in it.")
    return look


def _is_json(source: Input, start: bytes, encoding: str | None) -> bool:
    with sentences(source.name):
        start = Text(io.BytesIO(start).read, find_encoding(encoding) if encoding else None).start(len(start))
    if looks_like_json(start):
        return True
    is_named = any(suffix in SUFFIXES for suffix in PurePosixPath(source.file_name).suffixes[-2:])
    return is_named and may_be_json(start)


def _delimited(source: Input, compression: Compression, reading: Reading, columns: Columns) -> DelimitedTable:
    if reading.sheet is not None:
        raise UsageError(f"--sheet is for workbooks, and {source.name} is not one.")
    known = (names for file, names in KNOWN_COLUMNS.items() if f"{source.file_name}.".startswith(f"{file}."))
    return DelimitedTable(source, compression, reading, columns, next(known, ()))


def _require_nothing(reading: Reading, what: str, *but: str) -> None:
    """Check that no option but these is given.

    Raises:
        UsageError: one is.
    """
    given = [field.name for field in dataclasses.fields(reading) if getattr(reading, field.name) is not None]
    wrong = [f"--{name}" for name in given if name not in but]
    if wrong:
        raise UsageError(f"{' and '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} not for {what}.")


def _file(path: Path) -> Input:
    with sentences(path.name):
        size = path.stat().st_size
    return Input(path.name, path.name, lambda: path.open("rb"), size)
