"""Numbers texts in the order of their appearance, and ranks them in the order of their bytes."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reckoner.shared.store.identifiers import TextTable


class Numbering:
    """Texts and their numbers; `texts` is large_string[n], a text's number being its index."""

    def __init__(self) -> None:
        self.texts: pa.Array = pa.array([], pa.large_string())

    def __len__(self) -> int:
        return len(self.texts)

    def number(self, columns: Sequence[pa.DictionaryArray]) -> NDArray[np.uint32]:
        """The numbers uint32[n] of the texts of all columns together, none of them null; a new text gets the next."""
        known = pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), self.texts)
        # Unified dictionaries begin with the first one.
        unified = pa.chunked_array([known, *map(_as_large, columns)]).unify_dictionaries()
        self.texts = unified.chunk(0).dictionary
        indices = [chunk.indices.to_numpy() for chunk in unified.chunks[1:]]
        return np.concatenate(indices).astype(np.uint32) if indices else np.empty(0, np.uint32)

    def ranked(self) -> tuple[pa.Array, NDArray[np.uint32]]:
        """The texts sorted by their bytes, and the rank of each number among them, uint32[n]."""
        order = pc.array_sort_indices(self.texts)
        ranks = np.empty(len(order), dtype=np.uint32)
        ranks[order.to_numpy()] = np.arange(len(order), dtype=np.uint32)
        return self.texts.take(order), ranks


def _as_large(column: pa.DictionaryArray) -> pa.DictionaryArray:
    # The texts of many columns together may have more bytes than a string array holds.
    indices, texts = column.indices.cast(pa.int32()), column.dictionary.cast(pa.large_string())
    return pa.DictionaryArray.from_arrays(indices, texts, safe=False)


def as_table(texts: pa.Array) -> TextTable:
    """The table of large_string[n], without a copy.

    Raises:
        ValueError: the texts are a slice of an array.
    """
    if texts.offset:
        raise ValueError("the texts are a slice")
    _, offsets, blob = texts.buffers()
    ends = np.frombuffer(offsets, np.int64, len(texts) + 1)
    return TextTable(ends, np.frombuffer(blob, np.uint8, ends[-1]) if blob else np.empty(0, np.uint8))
