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
# What first bytes say that a file is no text: what it is, and what to do with it as it lies there.
QUERY = "Import it as sqlite:///PATH with --query"
UNPACK, CONVERT = "Unpack it, and import the table in it", "Write its table as CSV or Parquet"
OTHERS = {
    b"PAR1": ("a", "Parquet file", "Unpack it first"),
    b"ARROW1": ("an", "Arrow file", "Unpack it first"),
    b"FEA1": ("a", "Feather file", "Unpack it first"),
    b"SQLite format 3\x00": ("a", "SQLite database", QUERY),
    b"%PDF-": ("a", "PDF file", CONVERT),
    b"ORC": ("an", "ORC file", CONVERT),
    b"Obj\x01": ("an", "Avro file", CONVERT),
    b"\x89HDF\r\n\x1a\n": ("an", "HDF5 file", CONVERT),
    b"7z\xbc\xaf\x27\x1c": ("a", "7z archive", UNPACK),
    b"Rar!\x1a\x07": ("a", "RAR archive", UNPACK),
    b"\x04\x22\x4d\x18": ("an", "lz4 file", UNPACK),
}
TAR_MAGIC, TAR_AT = b"ustar", 257
MAGIC_BYTES, START_BYTES = 8, 4096


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
        SourceError: they are an archive or a file of another format.
    """
    with source.open() as file:
        plain = unpacked(file, compression)
        start = _read_all(plain, TAR_AT + len(TAR_MAGIC))
        _require_text(source.name, start, is_compressed=compression != "none")
        pending = [start]

        def read(size: int) -> bytes:
            before = pending.pop() if pending else b""
            return before + _read_all(plain, size - len(before))

        yield Stream(read, lambda: file.tell() / source.size if source.size else 1.0)


@dataclass(frozen=True, slots=True)
class Look:
    """How an input begins: its compression, and its first bytes without it."""

    compression: Compression
    start: bytes

    @property
    def is_tar(self) -> bool:
        """Whether it is a tar file."""
        return self.start[TAR_AT:].startswith(TAR_MAGIC)


def look_at(source: Input, given: Compression | None) -> Look:
    """Look at the first bytes of an input, whose compression may be given."""
    with source.open() as file:
        found = given or find_compression(file.read(MAGIC_BYTES))
    with source.open() as file:
        return Look(found, _read_all(unpacked(file, found), START_BYTES))


def unpacked(file: BinaryIO, compression: Compression) -> Readable:
    """The bytes of a file without their compression; those of a zip file stay as they are."""
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


def _require_text(name: str, start: bytes, *, is_compressed: bool) -> None:
    if start[TAR_AT:] == TAR_MAGIC:
        raise SourceError(f"{name} is a tar archive. {UNPACK}.")
    found = next((words for magic, words in OTHERS.items() if start.startswith(magic)), None)
    # A column's name may begin with these letters.
    if found is None or (start.startswith(b"ORC") and b"\0" not in start):
        return
    article, what, advice = found
    if is_compressed:
        raise SourceError(f"{name} is a compressed {what}. Decompress it first.")
    raise SourceError(f"{name} is {article} {what}. {advice}.")
