"""Finds the tables in zip and tar files."""

import itertools
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Self, TypeAlias, cast

from reckoner.producer.importing.reading.compression import UNPACK, Compression, Input, unpacked
from reckoner.producer.importing.reading.parts import is_part
from reckoner.shared.errors import SourceError

# The files of an archive that may be tables, by their places in it.
Members: TypeAlias = Mapping[PurePosixPath, Input]

# Of several files in an archive, the only one with such a suffix is the table.
SUFFIXES = {".csv", ".tsv", ".dat", ".data", ".json", ".jsonl", ".ndjson", ".inter"}
SHOWN_MEMBERS = 10
# The names of a tar file's members are kept in memory, and so is what describes one of them.
MAX_MEMBERS, MAX_EXTENSION_BYTES = 100_000, 1 << 20
EXTENSIONS = {
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
}


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
    """The files in a tar file; it is read to its end. Of several with one name, the last one counts, as for tar.

    Raises:
        SourceError: it has too many members.
    """

    def opener(number: int) -> Callable[[], BinaryIO]:
        return lambda: cast("BinaryIO", _TarMember(path, compression, number))

    found = dict[str, tuple[int, int]]()
    with _tar(path, compression) as members:
        for number, (_, info) in enumerate(members):
            if number >= MAX_MEMBERS:
                raise SourceError(f"{path.name} has over {MAX_MEMBERS:,} files. {UNPACK}.")
            if info.isfile():
                found[info.name] = number, info.size
    sizes = {name: size for name, (_, size) in found.items()}
    return _inputs(path, sizes, lambda name: opener(found[name][0]))


def _inputs(path: Path, sizes: Mapping[str, int], opener: Callable[[str], Callable[[], BinaryIO]]) -> Members:
    places = {PurePosixPath(name): name for name in sizes if not name.endswith("/")}
    return {
        place: Input(f"{place} in {path.name}", place.name, opener(name), sizes[name])
        for place, name in places.items()
        if all(map(is_part, place.parts))
    }


class _TarInfo(tarfile.TarInfo):
    """A member of a tar file; a damaged header, or a long one, is an error and not the end of the file."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            # Zeros, or nothing, are the end.
            if not buf.strip(b"\0"):
                raise
            raise tarfile.ReadError(str(error)) from error
        if info.type in EXTENSIONS and info.size > MAX_EXTENSION_BYTES:
            raise tarfile.ReadError("a header is too long")
        return info


@contextmanager
def _tar(path: Path, compression: Compression) -> Iterator[Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]]:
    """The members of a tar file, each to be read before the next one."""

    def members(archive: tarfile.TarFile) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
        while (info := archive.next()) is not None:
            yield archive, info
            # It keeps all of them.
            cast("Any", archive).members.clear()

    with (
        path.open("rb") as file,
        tarfile.open(
            fileobj=cast("BinaryIO", unpacked(file, compression)),
            mode="r|",
            tarinfo=_TarInfo,
            # A name may be in any encoding, and can be shown and given.
            encoding="utf-8",
            errors="backslashreplace",
        ) as archive,
    ):
        yield members(archive)


class _TarMember:
    """The part of a binary file that readers use, for a file in a tar file, by its place from 0."""

    def __init__(self, path: Path, compression: Compression, number: int) -> None:
        with ExitStack() as stack:
            members = stack.enter_context(_tar(path, compression))
            archive, info = next(itertools.islice(members, number, None))
            file = archive.extractfile(info)
            assert file is not None
            self._file, self._opened = file, stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

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
        # A listing of tar has ./ in front.
        places = [place for place in members if str(PurePosixPath(wanted)) in (str(place), place.name)]
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
