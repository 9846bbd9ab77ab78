"""Identifiers: tables that map an index to a text and back, through memory maps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

PAGE = 10_000
# A few megabytes of ids.
MAX_CACHED_TEXTS = 50_000


@dataclass(frozen=True, slots=True)
class TextTable:
    """n texts one after the other: `offsets` is int64[n + 1], `blob` uint8 of their UTF-8; both may be memory maps.

    `find` needs a table whose texts are distinct and sorted by their bytes.
    """

    offsets: NDArray[np.int64]
    blob: NDArray[np.uint8]
    _recalled: dict[int, str] = field(default_factory=dict, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._encoded(index).decode()

    def recall(self, index: int) -> str:
        """The same, cached for frequent texts."""
        text = self._recalled.get(index)
        if text is None:
            if len(self._recalled) >= MAX_CACHED_TEXTS:
                self._recalled.clear()
            self._recalled[index] = text = self[index]
        return text

    def find(self, text: str) -> int | None:
        """The index of `text` by bisection, None if the table does not hold it."""
        # A lone surrogate has no UTF-8: encode it to bytes that no table holds.
        wanted = text.encode("utf-8", "surrogatepass")
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._encoded(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self) and self._encoded(low) == wanted else None

    def take(self, kept: NDArray[np.intp]) -> "TextTable":
        """The table of some texts, by their indices in the order wanted."""
        starts, lengths = self.offsets[kept], self.offsets[kept + 1] - self.offsets[kept]
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        return TextTable(offsets, self.blob[np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])])

    def pages(self, skipped: int = 0) -> Iterator[list[bytes]]:
        """Yield the UTF-8 of all texts after the first `skipped` in pages."""
        for start in range(skipped, len(self), PAGE):
            offsets = self.offsets[start : start + PAGE + 1].tolist()
            blob = self.blob[offsets[0] : offsets[-1]].tobytes()
            yield [blob[first - offsets[0] : last - offsets[0]] for first, last in pairwise(offsets)]

    def _encoded(self, index: int) -> bytes:
        return self.blob[self.offsets[index] : self.offsets[index + 1]].tobytes()


def build(texts: Sequence[str]) -> TextTable:
    """The table of `texts`, in the order given.

    Raises:
        UnicodeEncodeError: a text has no UTF-8 (a lone surrogate).
    """
    encoded = [text.encode() for text in texts]
    offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    return TextTable(offsets, np.frombuffer(b"".join(encoded), dtype=np.uint8))
