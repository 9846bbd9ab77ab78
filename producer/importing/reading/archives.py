"""Finds the tables in zip and tar files."""

import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeAlias, cast

from reckoner.producer.importing.reading.compression import Compression, Input, unpacked
from reckoner.producer.importing.reading.parts import is_part
from reckoner.shared.errors import SourceError

# The files of an archive that may be tables, by their places in it.
Members: TypeAlias = Mapping[PurePosixPath, Input]

# Of several files in an archive, the only one with such a suffix is the table.
SUFFIXES = {".csv", ".tsv", ".dat", ".data", ".json", ".jsonl", ".ndjson", ".inter"}
SHOWN_MEMBERS = 10


def zip_members(path: Path) -> Members:
    """The files in a zip file."""

    def opener(name: str) -> Callable[[], BinaryIO]:
        def open_member() -> BinaryIO:
            # The open member keeps the file open, so the archive can be closed.
            with zipfile.ZipFile(path) as archive:
                return cast("BinaryIO", archive.open(name))

        return open_member

    with zipfile.ZipFile(path) as archive:
        return _inputs(path, {info.filename: info.file_size for info in archive.infolist()}, opener)


def tar_members(path: Path, compression: Compression) -> Members:
    """The files in a tar file; it is read to its end."""

    def opener(name: str) -> Callable[[], BinaryIO]:
        return lambda: cast("BinaryIO", _TarMember(path, compression, name))

    with _tar(path, compression) as archive:
        return _inputs(path, {info.name: info.size for info in archive if info.isfile()}, opener)


def _inputs(path: Path, sizes: Mapping[str, int], opener: Callable[[str], Callable[[], BinaryIO]]) -> Members:
    places = {PurePosixPath(name): name for name in sizes if not name.endswith("/")}
    return {
        place: Input(f"{place} in {path.name}", place.name, opener(name), sizes[name])
        for place, name in places.items()
        if all(map(is_part, place.parts))
    }


@contextmanager
def _tar(path: Path, compression: Compression) -> Iterator[tarfile.TarFile]:
    with (
        path.open("rb") as file,
        tarfile.open(fileobj=cast("BinaryIO", unpacked(file, compression)), mode="r|") as archive,
    ):
        yield archive


class _TarMember:
    """The part of a binary file that readers use, for a file in a tar file."""

    def __init__(self, path: Path, compression: Compression, name: str) -> None:
        self._tar = _tar(path, compression)
        archive = self._tar.__enter__()
        file = next((archive.extractfile(info) for info in archive if info.name == name), None)
        if file is None:
            raise FileNotFoundError(name)
        self._file = file

    def __enter__(self) -> "_TarMember":
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.__exit__(None, None, None)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def tell(self) -> int:
        return self._file.tell()


def choose_member(path: Path, members: Members, wanted: str | None, usual: Mapping[str, str]) -> PurePosixPath:
    """The member that is the table: the wanted one, one of the `usual` names, or the only one.

    Raises:
        SourceError: there is none, or there are several.
    """
    if wanted is not None:
        places = [place for place in members if wanted in (str(place), place.name)]
    elif places := [place for place in members if place.name in usual]:
        return min(places, key=lambda place: (len(place.parts), place))
    else:
        tables = [place for place in members if SUFFIXES.intersection(place.suffixes)]
        places = tables if len(tables) == 1 else list(members)
    if len(places) == 1:
        return places[0]
    shown = ", ".join(map(str, list(places or members)[:SHOWN_MEMBERS]))
    if not members:
        raise SourceError(f"{path.name} has no table in it.")
    if wanted is not None and not places:
        raise SourceError(f"{path.name} has no file {wanted} (--member). It has: {shown}.")
    raise SourceError(f"{path.name} has {len(places)} files: {shown}. Name the table, such as --member {places[0]}.")
