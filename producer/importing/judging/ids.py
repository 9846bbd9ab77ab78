"""Reads ids: which values are missing, and which text a number has."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reckoner.producer.importing.judging.rules import MISSING, Rules
from reckoner.producer.importing.judging.values import as_booleans, as_plain, as_texts
from reckoner.producer.importing.reading.tables import EXACT_BELOW
from reckoner.shared.errors import ReadAgainError, SourceError
from reckoner.shared.ids import EMPTY, MAX_ID_BYTES, TOO_LONG

# Blanks, and characters without width.
BLANKS = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\u200b\u200c\u200d\u2060\ufeff"
WHOLE_PATTERN = r"^-?[0-9]+(\.0*)?$"
# A large number as a spreadsheet or pandas writes it: its last digits are lost.
ROUNDED_PATTERN = r"^-?[0-9](\.[0-9]+[eE]\+?|[eE]\+)[0-9]+$"
# From here on, neighbouring whole numbers are the same float.
LIMITS = {pa.float16(): 2**11, pa.float32(): 2**24, pa.float64(): EXACT_BELOW}


class Fault(NamedTuple):
    """Why some ids do not count."""

    reason: str
    is_missing: bool


class Ids(NamedTuple):
    """The ids of n rows: `texts` dictionary[n], and `faults` with `codes` int64[n], -1 for good ids."""

    texts: pa.DictionaryArray
    codes: NDArray[np.int64]
    faults: list[Fault]


class IdReader:
    """Reads the ids of one column, batch by batch.

    Numbers lose the zeros after the point if every id of the column is a whole number, so that 17850.0 and 17850 are
    one id, whatever file they are in. Otherwise, each text stays as it is. `earlier_are_whole` says whether all ids of
    earlier rows are whole numbers; None if there are none.
    """

    def __init__(self, role: str, rules: Rules, earlier_are_whole: bool | None = None) -> None:
        self.role = role
        self.drops_zeros = earlier_are_whole is not False
        self._earlier_are_whole = earlier_are_whole
        self.dropped: str | None = None
        """The first id that lost its zeros, as it was."""
        self._words = pa.array(sorted(MISSING - rules.keep), pa.string())

    def read(self, column: pa.Array) -> Ids:
        """The ids of the next batch.

        Raises:
            SourceError: the column has an unsupported type, floats that are not exact, or numbers that may be earlier
                ids or not.
            ReadAgainError: an id is no whole number, so earlier ones should have kept their zeros.
        """
        plain = as_plain(column)
        encoded = self._encoded(plain)
        distinct = encoded.dictionary
        codes = np.full(len(distinct) + 1, -1, dtype=np.int64)
        # The last code is of null.
        faults, codes[-1] = [Fault(f"the {self.role} {EMPTY}", True)], 0
        self._add_fault(pc.greater(pc.binary_length(distinct), MAX_ID_BYTES), TOO_LONG, codes, faults)
        if not pc.all(pc.ascii_is_decimal(distinct)).as_py():
            self._find_faults(distinct, codes, faults)
            distinct = self._without_zeros(distinct, codes[:-1] < 0)
        indices = np.asarray(pc.fill_null(encoded.indices, len(codes) - 1).to_numpy(zero_copy_only=False))
        if distinct is not encoded.dictionary:
            again = distinct.dictionary_encode()
            encoded = pa.DictionaryArray.from_arrays(again.indices.take(encoded.indices), again.dictionary)
        return Ids(encoded, codes[indices], faults)

    def _encoded(self, plain: pa.Array) -> pa.DictionaryArray:
        if not pa.types.is_integer(plain.type):
            return self._texts(plain).dictionary_encode()
        # Numbers are compared sooner than texts.
        numbers = plain.dictionary_encode()
        return pa.DictionaryArray.from_arrays(numbers.indices, as_texts(numbers.dictionary), safe=False)

    def _texts(self, plain: pa.Array) -> pa.Array:
        texts = as_texts(plain)
        if not pa.types.is_floating(plain.type):
            return texts
        values = plain.to_numpy(zero_copy_only=False)
        is_finite, limit = np.isfinite(values), LIMITS[plain.type]
        inexact = np.flatnonzero(is_finite & (np.abs(values) >= limit))
        if len(inexact):
            raise SourceError(
                f"The {self.role} {float(values[inexact[0]])!r} is a float of {limit:,} or more, where neighbouring "
                f"ids are the same float. Write the {self.role} column as integers or text."
            )
        is_whole = np.rint(values) == values
        if not is_whole[is_finite].all():
            self._keep_zeros()
        if self.drops_zeros:
            if is_finite.any():
                self.dropped = self.dropped or f"{texts.drop_null()[0]}.0"
            return texts
        return pc.if_else(pa.array(is_whole & is_finite), pc.binary_join_element_wise(texts, ".0", ""), texts)

    def _find_faults(self, distinct: pa.Array, codes: NDArray[np.int64], faults: list[Fault]) -> None:
        trimmed = pc.utf8_trim(distinct, BLANKS)
        length = pc.binary_length(distinct)
        codes[:-1][as_booleans(pc.equal(length, 0))] = 0
        is_blank = pc.and_(pc.equal(pc.binary_length(trimmed), 0), pc.greater(length, 0))
        self._add_fault(is_blank, "is blank", codes, faults, is_missing=True)
        words = pc.index_in(trimmed, self._words)
        for word in pc.unique(words.drop_null()).to_pylist():
            is_word = pc.equal(words, word)
            self._add_fault(is_word, f"is missing: {self._words[word]}", codes, faults, is_missing=True)
        is_rounded = pc.match_substring_regex(distinct, ROUNDED_PATTERN)
        self._add_fault(is_rounded, "is a rounded number; write all its digits", codes, faults)

    def _add_fault(
        self, mask: pa.Array, what: str, codes: NDArray[np.int64], faults: list[Fault], *, is_missing: bool = False
    ) -> None:
        found = as_booleans(mask) & (codes[:-1] < 0)
        if found.any():
            codes[:-1][found] = len(faults)
            faults.append(Fault(f"the {self.role} {what}", is_missing))

    def _without_zeros(self, distinct: pa.Array, is_good: NDArray[np.bool_]) -> pa.Array:
        is_whole = as_booleans(pc.match_substring_regex(distinct, WHOLE_PATTERN)) & is_good
        if self.drops_zeros and not is_whole[is_good].all():
            self._keep_zeros()
        if not self.drops_zeros:
            if self._earlier_are_whole:
                self._require_no_zeros(distinct, is_whole)
            return distinct
        has_zeros = as_booleans(pc.match_substring(distinct, ".")) & is_good
        if not has_zeros.any():
            return distinct
        self.dropped = self.dropped or distinct[int(np.flatnonzero(has_zeros)[0])].as_py()
        shortened = pc.replace_substring_regex(distinct, r"\.0*$", "")
        return pc.if_else(pa.array(has_zeros), shortened, distinct)

    def _require_no_zeros(self, distinct: pa.Array, is_whole: NDArray[np.bool_]) -> None:
        found = np.flatnonzero(as_booleans(pc.match_substring(distinct, ".")) & is_whole)
        if len(found):
            text = distinct[int(found[0])].as_py()
            raise SourceError(
                f"The {self.role} {text} may be the {self.role} {text.partition('.')[0]} of the current snapshot, "
                f"where each {self.role} is a whole number, but not each new one is. Write ids as in the snapshot, or "
                "import all rows at once."
            )

    def _keep_zeros(self) -> None:
        self.drops_zeros = False
        if self.dropped is not None:
            self.dropped = None
            raise ReadAgainError
