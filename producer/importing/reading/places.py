"""Finds the files of a source: paths, patterns, folders of parts, standard input, pipes, and objects in S3."""

import glob
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from reckoner.producer.importing.reading import s3
from reckoner.producer.importing.reading.keeping import CHUNK_BYTES, keep
from reckoner.producer.importing.reading.parts import is_part
from reckoner.producer.importing.reading.tables import sentences
from reckoner.shared.errors import SourceError, UsageError

STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class Places:
    """Finds files; what can be read only once is kept in a file in `make_room()`.

    `is_whole` tells a folder that is a table by itself from one of parts. `alive()` is called now and then.
    """

    make_room: Callable[[], Path]
    is_whole: Callable[[Path], bool]
    alive: Callable[[], None]

    def files(self, sources: Sequence[Path | str]) -> list[Path]:
        """The files and whole folders of the sources, in the order of these, and of the names in each.

        Raises:
            UsageError: a source is no path, or is named twice.
            SourceError: there is none, or a folder or an object cannot be read.
            StoreError: what is read once cannot be kept.
        """
        named = [os.fspath(source) for source in sources]
        if not named:
            raise UsageError("There is no source to import.")
        if any(not name or "\0" in name for name in named):
            raise UsageError("A path cannot be empty, and cannot have the character NUL.")
        found = [path for name in named for path in self._expanded(name)]
        known = set[str]()
        for path in found:
            real = os.path.realpath(path)
            if real in known:
                raise UsageError(f"{path} is named twice. Name it once.")
            known.add(real)
        return found

    def _expanded(self, name: str) -> Iterator[Path]:
        if s3.is_object(name):
            yield from s3.download(name, self.make_room(), self.alive)
            return
        if name == STANDARD_INPUT:
            # A program may be started without one.
            pipe = getattr(sys.stdin, "buffer", None)
            if pipe is None:
                raise SourceError("The standard input is closed.")
            yield self._kept("standard input", pipe)
            return
        path = Path(name)
        with sentences(name):
            # A missing file is told by the reader.
            mode = path.stat().st_mode if path.exists() else stat.S_IFREG
        if stat.S_ISDIR(mode):
            yield from self._of_folder(path)
        elif not stat.S_ISREG(mode):
            with sentences(name), path.open("rb") as pipe:
                yield self._kept(f"pipe {path.name}", pipe)
        elif glob.has_magic(name) and not path.exists():
            yield from self._matches(name)
        else:
            yield path

    def _kept(self, name: str, pipe: BinaryIO) -> Path:
        """A file with all that comes through a pipe."""
        with sentences(name):
            first = pipe.read(CHUNK_BYTES)
        rest = iter(lambda: pipe.read(CHUNK_BYTES), b"")
        return keep(self.make_room() / name, chain([first], rest), self.alive)

    def _of_folder(self, folder: Path) -> list[Path]:
        """The folder if it is a table, else the files in it and in the folders below."""
        with sentences(str(folder)):
            if self.is_whole(folder):
                return [folder]
            found = _files_below(folder)
        if not found:
            raise SourceError(f"The directory {folder} has no tables.")
        return _with_rows(found)

    def _matches(self, pattern: str) -> list[Path]:
        found = [path for path in sorted(map(Path, glob.glob(pattern, recursive=True))) if is_part(path.name)]
        files = [each for path in found for each in (self._of_folder(path) if path.is_dir() else [path])]
        if not files:
            raise SourceError(f"No file has a name like {pattern}.")
        # With ** a folder and what is in it match.
        return _with_rows(sorted(set(files)))


def _files_below(folder: Path) -> list[Path]:
    """The files in a folder and in those below, each once.

    Links to folders are followed, unless these are above the link or were visited; real folders and files come first.
    """
    visited, files, ahead = set[str](), dict[str, Path](), [folder]
    linked = list[Path]()
    while ahead:
        links = list[Path]()
        for directory, folders, names in chain.from_iterable(os.walk(start, onerror=_refuse) for start in ahead):
            real = os.path.realpath(directory)
            if real in visited:
                folders.clear()
                continue
            visited.add(real)
            folders[:] = filter(is_part, folders)
            paths = [Path(directory, name) for name in names if is_part(name)]
            linked += filter(Path.is_symlink, paths)
            files |= {os.path.join(real, path.name): path for path in paths if not path.is_symlink()}
            links += (link for name in folders if (link := Path(directory, name)).is_symlink())
        ahead = sorted(link for link in links if not _is_above(link))
    for path in sorted(linked):
        files.setdefault(os.path.realpath(path), path)
    return sorted(files.values())


def _is_above(link: Path) -> bool:
    """Whether a link names a folder that it is in."""
    return Path(os.path.realpath(link.parent)).is_relative_to(os.path.realpath(link))


def _with_rows(files: list[Path]) -> list[Path]:
    """The files that are not empty, if there are any: Spark writes empty parts. Pipes would be waited for.

    A link to nowhere stays, so that its reader says so.
    """
    return [path for path in files if not path.exists() or (path.is_file() and path.stat().st_size)] or files


def _refuse(error: OSError) -> None:
    raise error
