"""Reads tags: those of an item in one value, separated, or in a list."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reckoner.producer.importing.judging.ids import BLANKS
from reckoner.producer.importing.judging.values import as_booleans
from reckoner.producer.importing.reading.nesting import LIST
from reckoner.shared.ids import MAX_ID_BYTES, TOO_LONG

TOO_LONG_TAG = f"a tag {TOO_LONG}"


def split_tags(text: str, separator: str) -> set[str]:
    """The tags in a text or, see `LIST`, in that of a list; without blanks around, and without empty ones."""
    parts = text[len(LIST) :].split(LIST) if text.startswith(LIST) else text.split(separator)
    return {tag for part in parts if (tag := part.strip(BLANKS))}


def have_long_tags(texts: pa.Array, separator: str) -> NDArray[np.bool_]:
    """Which of string[n] have a tag that is too long, bool[n]."""
    found = as_booleans(pc.greater(pc.binary_length(texts), MAX_ID_BYTES))
    for row in np.flatnonzero(found):
        found[row] = any(len(tag.encode()) > MAX_ID_BYTES for tag in split_tags(texts[int(row)].as_py(), separator))
    return found
