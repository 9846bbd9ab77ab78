"""Turns the bytes of a text file into blocks of whole lines in UTF-8; the encoding is found by looking.

One rule holds for invalid bytes, wherever they are: their line is bad. A block keeps them as bytes that are invalid
UTF-8 too, so that the reader of records finds them.
"""

import codecs
from collections.abc import Callable, Iterator

import numpy as np

from reckoner.shared.errors import SourceError, UsageError

# Longer marks first: the mark of UTF-16 begins that of UTF-32.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
UTF_8, LATIN_1 = "utf-8", "latin-1"
# Of a text in UTF-16, so many of the first bytes are looked at, and at least such a share of every second one is zero.
LOOKED_AT, ZEROS = 4096, 0.4
# Windows-1252, which latin-1 means on the web too; the five bytes without a character stay control characters.
LATIN_TABLE = "".join(bytes([byte]).decode("cp1252", errors="ignore") or chr(byte) for byte in range(256))
INVALID = "reckoner-invalid"
PROBE = "user,1\n"

# An invalid byte becomes a lone surrogate, which is invalid in UTF-8.
codecs.register_error(INVALID, lambda error: ("\udcff", getattr(error, "end", 0)))


def find_encoding(named: str) -> str:
    """The codec of a named encoding.

    Raises:
        UsageError: there is none.
    """
    try:
        codec = codecs.lookup(named).name
        if PROBE.encode(codec).decode(codec) != PROBE:
            raise LookupError
    except (LookupError, UnicodeError, ValueError) as error:
        raise UsageError(f"There is no encoding {named!r}. Try utf-8, utf-16, latin-1 or cp1251.") from error
    return LATIN_1 if codec in ("iso8859-1", "cp1252") else codec


class Text:
    """The lines of a text file.

    The encoding is the given one, else that of a byte order mark, else UTF-16 if every second byte is zero. Otherwise
    the first block with a byte above 127 decides between UTF-8 and latin-1; before it, both are the same.
    """

    def __init__(self, read: Callable[[int], bytes], encoding: str | None) -> None:
        self.encoding = encoding
        self._read = read

    def start(self, size: int) -> bytes:
        """About the first `size` bytes, in UTF-8; the text cannot be read afterwards."""
        return next(self._chunks(size), b"")

    def blocks(self, size: int, limit: int, too_long: str) -> Iterator[bytes]:
        """Blocks of about `size` bytes, UTF-8 but for invalid bytes; each ends with a line.

        Raises:
            SourceError: a line has over `limit` bytes; `too_long` says so.
        """
        rest = b""
        for chunk in self._chunks(size):
            cut = _line_end(chunk)
            if cut == 0:
                rest += chunk
            else:
                yield self._decided(b"".join((rest, memoryview(chunk)[:cut])))
                rest = chunk[cut:]
            if len(rest) > limit:
                raise SourceError(too_long)
        if rest:
            yield self._decided(rest)

    def _chunks(self, size: int) -> Iterator[bytes]:
        """Chunks of bytes in an encoding that has ASCII's line ends."""
        chunk = self._read(size)
        mark = next((mark for mark in MARKS if chunk.startswith(mark)), b"")
        found = MARKS.get(mark) or _wide_encoding(chunk)
        if self.encoding in (None, "utf-16", "utf-32"):
            # Without a mark their bytes are in either order.
            usual = f"{self.encoding}-le" if self.encoding else None
            self.encoding = found if found and found.startswith(self.encoding or "") else usual
        if self.encoding == UTF_8:
            chunk = chunk.removeprefix(codecs.BOM_UTF8)
        if self.encoding in (None, UTF_8, LATIN_1):
            while chunk:
                yield chunk
                chunk = self._read(size)
            return
        decoder = codecs.getincrementaldecoder(self.encoding)(INVALID)
        is_first = True
        while True:
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeError as error:
                raise SourceError(f"The file cannot be read as {self.encoding}. Try another --encoding.") from error
            yield (text.removeprefix("\ufeff") if is_first else text).encode(UTF_8, "surrogatepass")
            if not chunk:
                return
            is_first, chunk = is_first and not text, self._read(size)

    def _decided(self, block: bytes) -> bytes:
        """The block in UTF-8."""
        if self.encoding == LATIN_1 or self.encoding is None:
            if block.isascii():
                return block
            self.encoding = self.encoding or _narrow_encoding(block)
            if self.encoding == LATIN_1:
                return codecs.charmap_decode(block, "strict", LATIN_TABLE)[0].encode()
        return block


def _line_end(chunk: bytes) -> int:
    """The place after the last line end, 0 without one."""
    # A carriage return may be the first half of a line end.
    return chunk.rfind(b"\n") + 1 or chunk.rfind(b"\r", 0, -1) + 1


def _wide_encoding(start: bytes) -> str | None:
    """UTF-16 without a byte order mark, or None."""
    is_zero = np.frombuffer(start[: LOOKED_AT & -2], dtype=np.uint8) == 0
    if len(is_zero) < 2:
        return None
    even, odd = is_zero[0::2].mean(), is_zero[1::2].mean()
    if max(even, odd) < ZEROS or min(even, odd) > ZEROS / 4:
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _narrow_encoding(block: bytes) -> str:
    """UTF-8, or latin-1 if more bytes are invalid as UTF-8 than there are characters beyond ASCII."""
    characters = np.frombuffer(block.decode(UTF_8, "surrogateescape").encode("utf-32-le", "surrogatepass"), np.uint32)
    invalid = np.count_nonzero((characters >= 0xDC80) & (characters <= 0xDCFF))
    return LATIN_1 if invalid > np.count_nonzero(characters >= 0x80) - invalid else UTF_8
