"""Opens compressed files, found by their first bytes and not by their names."""

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Literal, Protocol, TypeAlias, cast

import pyarrow as pa

from reckoner.shared.errors import SourceError

Compression: TypeAlias = Literal["none", "gzip", "bz2", "xz", "zstd", "zip"]
MAGICS: dict[bytes, Compression] = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
}
# The file formats whose first bytes say that they are no text.
OTHERS = {b"PAR1": "Parquet", b"ARROW1": "Arrow", b"FEA1": "Feather", b"SQLite format 3\x00": "SQLite"}
TAR_MAGIC, TAR_AT = b"ustar", 257


class Readable(Protocol):
    """The part of a binary file that readers use."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, none at the end."""


@dataclass(frozen=True, slots=True)
class Input:
    """A file or a member of a zip file: its name in messages and in its folder, how to open it, and its bytes."""

    name: str
    file_name: str
    open: Callable[[], BinaryIO]
    size: int


@dataclass(frozen=True, slots=True)
class Stream:
    """The decompressed bytes of an input, and the share of its bytes that has been read, 0 to 1."""

    read: Callable[[int], bytes]
    share: Callable[[], float]


def find_compression(start: bytes) -> Compression:
    """The compression of a file with these first bytes."""
    return next((found for magic, found in MAGICS.items() if start.startswith(magic)), "none")


@contextmanager
def opened(source: Input, compression: Compression) -> Iterator[Stream]:
    """The bytes of `source` without their compression.

    Raises:
        SourceError: what was compressed is an archive or a file of another format.
    """
    with source.open() as file:
        unpacked = _unpacked(file, compression)
        start = _read_all(unpacked, TAR_AT + len(TAR_MAGIC)) if compression != "none" else b""
        _require_text(source.name, start)
        pending = [start]

        def read(size: int) -> bytes:
            before = pending.pop() if pending else b""
            return before + _read_all(unpacked, size - len(before))

        yield Stream(read, lambda: file.tell() / source.size if source.size else 1.0)


def _unpacked(file: BinaryIO, compression: Compression) -> Readable:
    if compression == "gzip":
        return cast("Readable", gzip.GzipFile(fileobj=file))
    if compression == "bz2":
        return bz2.BZ2File(file)
    if compression == "xz":
        return lzma.LZMAFile(file)
    if compression == "zstd":
        return cast("Readable", pa.CompressedInputStream(file, "zstd"))
    return file


def _read_all(file: Readable, size: int) -> bytes:
    """Read `size` bytes, fewer only at the end: a decompressor may give less than it is asked for."""
    parts: list[bytes] = []
    while size > 0 and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _require_text(name: str, start: bytes) -> None:
    found = next((words for magic, words in OTHERS.items() if start.startswith(magic)), None)
    if start[TAR_AT:] == TAR_MAGIC:
        raise SourceError(f"{name} is a tar archive. Unpack it, and import the table in it.")
    if found:
        raise SourceError(f"{name} is a compressed {found} file. Decompress it first.")
