"""Scores are written as the shortest decimals that give the float32 back, in the codec's form."""

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reckoner.workers.kernels.encoding.decimals import MOST_BYTES, write_decimal

LARGEST = float(np.finfo(np.float32).max)
POWERS_OF_TWO = [float(np.float32(2.0) ** np.float32(n)) for n in range(-149, 128)]
POWERS_OF_TEN = [float(np.float32(f"1e{n}")) for n in range(-44, 39)]


def written(value: float) -> bytes:
    buffer = np.zeros(MOST_BYTES + 1, np.uint8)
    end = int(write_decimal(buffer, np.uint64(0), np.float32(value)))
    assert end <= MOST_BYTES
    return buffer[:end].tobytes()


def expected(value: float) -> bytes:
    """numpy's shortest digits, and the form of the codec."""
    return msgspec.json.encode(float(str(np.float32(value))))


@given(st.floats(0, LARGEST, width=32, exclude_min=True))
@example(LARGEST)
@example(2.0**-149)
@example(16_777_216.0)
def test_a_decimal_is_the_codec_s(value: float) -> None:
    """For all numbers above zero, even those below the smallest normal one."""
    assert written(value) == expected(value)


@pytest.mark.parametrize("values", [POWERS_OF_TWO, POWERS_OF_TEN], ids=["two", "ten"])
def test_decimals_of_powers_and_their_neighbours_are_the_codec_s(values: list[float]) -> None:
    """The interval that rounds to a power of two is narrower below it; the form changes at powers of ten."""
    around = [np.nextafter(np.float32(v), np.float32(to)) for v in values for to in (0, v, 3e38)]
    for value in around:
        if value > 0:
            assert written(float(value)) == expected(float(value))


def test_decimals_of_all_scores_in_a_row_differ() -> None:
    """No two of 10,000 neighbouring float32 share their digits."""
    bits = np.arange(np.float32(0.3).view(np.uint32), np.float32(0.3).view(np.uint32) + 10_000, dtype=np.uint32)
    texts = [written(float(value)) for value in bits.view(np.float32)]
    assert all(first != second for first, second in pairwise(texts))
    assert [float(np.float32(text.decode())) for text in texts] == bits.view(np.float32).astype(float).tolist()
