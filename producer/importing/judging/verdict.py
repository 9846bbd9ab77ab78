"""The reasons for which rows of a batch do not count."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reckoner.producer.importing.judging.ids import BLANKS
from reckoner.producer.importing.judging.rejected import Kind, RejectedRows
from reckoner.producer.importing.judging.rules import MISSING
from reckoner.producer.importing.judging.values import as_booleans, as_plain, as_texts, is_number
from reckoner.producer.importing.reading.tables import Batch

WORDS = pa.array(["", *sorted(MISSING)])


def without_words(texts: pa.Array) -> pa.Array:
    """The texts, null where they are empty or words for missing values."""
    is_word = pc.is_in(texts, WORDS)
    return pc.if_else(is_word, pa.scalar(None, texts.type), texts) if pc.any(is_word).as_py() else texts


def is_missing(column: pa.Array) -> NDArray[np.bool_]:
    """Which values are null, NaN, empty, blank, or words for missing values."""
    column = as_plain(column)
    is_null = as_booleans(column.is_null(nan_is_null=True))
    if is_number(column.type) or pa.types.is_temporal(column.type):
        return is_null
    return is_null | as_booleans(pc.is_in(pc.utf8_trim(as_texts(column), BLANKS), WORDS))


class Verdict:
    """The first reason for which each row of a batch does not count."""

    def __init__(self, n: int) -> None:
        self._reasons = np.full(n, -1, dtype=np.int64)
        self._named: list[tuple[Kind, str, str | None]] = []

    @property
    def good(self) -> NDArray[np.bool_]:
        """bool[n]: which rows are good."""
        return self._reasons < 0

    def reject(self, mask: NDArray[np.bool_], kind: Kind, reason: str, column: str | None = None) -> None:
        """Reject the rows of `mask` that are good so far; the value in `column` explains the reason."""
        self._reasons[self.good & mask] = len(self._named)
        self._named.append((kind, reason, column))

    def report(self, batch: Batch, rejected: RejectedRows) -> None:
        """Add the rows that are not good to `rejected`."""
        if self.good.all():
            return
        for code, (kind, reason, column) in enumerate(self._named):
            rows = np.flatnonzero(self._reasons == code)
            if len(rows):
                rejected.add_rows(kind, reason, batch, rows, column)
