"""Logarithm, exponential and powers from the four basic operations only.

Those of a C library or of numpy differ in the last bit between processors. IEEE 754 defines the four operations
exactly, so these give the same bits everywhere. Their error is below two units in the last place.
"""

from math import factorial

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.compiled import READ_FLOAT64, compiled

# ln 2 in two parts: the last 32 bits of the first are zeros, so that its product with a small integer is exact.
LN2_HIGH = float.fromhex("0x1.62e42feep-1")
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
ROOT_OF_2 = float.fromhex("0x1.6a09e667f3bcdp+0")
MANTISSA_BITS, MANTISSA, BIAS = np.int64(52), np.int64((1 << 52) - 1), np.int64(1023)
ODD_PARTS = tuple(1.0 / n for n in range(21, 1, -2))
MOST = 700.0
INVERSE_FACTORIALS = tuple(1.0 / factorial(n) for n in range(13, -1, -1))


@compiled(types.float64(types.float64))
def log(x: float) -> float:
    """The natural logarithm of a normal number above zero.

    x = 2^k m with m between sqrt(1/2) and sqrt(2). With s = (m - 1) / (m + 1), ln m = 2 (s + s^3/3 + s^5/5 + ...).
    Eleven terms are enough, as |s| < 0.172.
    """
    bits = np.float64(x).view(np.int64)
    k = (bits >> MANTISSA_BITS) - BIAS
    m = np.int64((bits & MANTISSA) | (BIAS << MANTISSA_BITS)).view(np.float64)
    if m > ROOT_OF_2:
        m *= 0.5
        k += np.int64(1)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    series = 0.0
    for part in ODD_PARTS:
        series = (series + part) * z
    return np.float64(k) * LN2_HIGH + (np.float64(k) * LN2_LOW + (2.0 * s + 2.0 * s * series))


@compiled(types.float64(types.float64))
def exp(x: float) -> float:
    """e to the power of x; 0 below -700 and infinite above 700, both outside the range of float32.

    x = k ln 2 + r with |r| <= ln(2) / 2; e^r is its Taylor series up to r^13.
    """
    if x < -MOST:
        return 0.0
    if x > MOST:
        return np.inf
    k = np.floor(x / (LN2_HIGH + LN2_LOW) + 0.5)
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    series = 0.0
    for part in INVERSE_FACTORIALS:
        series = series * r + part
    return series * np.int64((np.int64(k) + BIAS) << MANTISSA_BITS).view(np.float64)


@compiled(types.float64(types.float64, types.float64))
def power(x: float, exponent: float) -> float:
    """x, above zero, to the power of an exponent; exactly x for 1 and 1 for 0."""
    if exponent == 0.0:
        return 1.0
    return x if exponent == 1.0 else exp(exponent * log(x))


@compiled(types.float64[::1](READ_FLOAT64), allocates=True)
def logs(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """The natural logarithms of numbers above zero, float64[n]."""
    found = np.empty(numbers.size, np.float64)
    for at in range(numbers.size):
        found[at] = log(numbers[at])
    return found


@compiled(types.float64[::1](READ_FLOAT64, types.float64), allocates=True)
def powers(numbers: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """Numbers to the power of an exponent, float64[n]; 0 stays 0."""
    found = np.zeros(numbers.size, np.float64)
    for at in range(numbers.size):
        if numbers[at] > 0.0:
            found[at] = power(numbers[at], exponent)
    return found
