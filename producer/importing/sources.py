"""Finds the tables to import: in a MovieLens directory or zip, a CSV file, a Parquet file, or a query."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from reckoner.producer.importing.databases import Query, QueryTable
from reckoner.producer.importing.tables import CsvTable, ParquetTable, Table, sentences
from reckoner.shared.errors import SourceError

RATINGS_NAME = "ratings.csv"
MOVIES_NAME = "movies.csv"
PARQUET_MAGIC = b"PAR1"
ZIP_MAGIC = b"PK"


@dataclass(frozen=True, slots=True)
class Source:
    """The table of interactions, its file if any, and a separate table of titles if any."""

    interactions: Table
    file: Path | None
    titles: Table | None = None


def find_source(source: Path | Query) -> Source:
    """The tables of a query or a path; a file's first bytes count before its name.

    Raises:
        SourceError: the path does not exist, or cannot be imported.
    """
    if isinstance(source, Query):
        return Source(QueryTable(source), None)
    path = source
    with sentences(str(path)):
        is_directory = path.is_dir()
    if is_directory:
        return _movielens_directory(path)
    with sentences(str(path)), path.open("rb") as file:
        start = file.read(4)
    if start == PARQUET_MAGIC or path.suffix in (".parquet", ".pq"):
        return Source(ParquetTable(path), path)
    if start[:2] == ZIP_MAGIC or path.suffix == ".zip":
        return _movielens_zip(path)
    return Source(CsvTable(path.name, _opener(path)), path)


def _movielens_directory(path: Path) -> Source:
    ratings, movies = path / RATINGS_NAME, path / MOVIES_NAME
    with sentences(str(path)):
        is_there, has_titles = ratings.is_file(), movies.is_file()
    if not is_there:
        raise SourceError(f"The directory {path} has no {RATINGS_NAME}.")
    return Source(
        CsvTable(RATINGS_NAME, _opener(ratings)),
        ratings,
        CsvTable(MOVIES_NAME, _opener(movies)) if has_titles else None,
    )


def _movielens_zip(path: Path) -> Source:
    with sentences(path.name), zipfile.ZipFile(path) as archive:
        names = {PurePosixPath(name): name for name in archive.namelist()}
    found = [place for place in names if place.name == RATINGS_NAME]
    if not found:
        raise SourceError(f"The zip file {path.name} has no {RATINGS_NAME}.")
    ratings = min(found, key=lambda place: (len(place.parts), place))
    movies = ratings.with_name(MOVIES_NAME)
    return Source(
        CsvTable(f"{ratings} in {path.name}", _zip_opener(path, names[ratings])),
        path,
        CsvTable(f"{movies} in {path.name}", _zip_opener(path, names[movies])) if movies in names else None,
    )


def _opener(path: Path) -> Callable[[], BinaryIO]:
    return lambda: path.open("rb")


def _zip_opener(path: Path, name: str) -> Callable[[], BinaryIO]:
    def open_member() -> BinaryIO:
        # The open member keeps the file open, so the archive can be closed.
        with zipfile.ZipFile(path) as archive:
            return cast("BinaryIO", archive.open(name))

    return open_member
