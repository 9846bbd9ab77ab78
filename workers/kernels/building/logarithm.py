"""Logarithm, exponential and powers, made of additions, multiplications and divisions alone.

Those of a C library or of numpy are other code on other processors, and differ in the last bit. IEEE 754 fixes what the
four operations give, so these are the same everywhere; they are within two units in the last place.
"""

from math import factorial

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.compiled import READ_FLOAT64, compiled

# ln 2 in two parts: the first has zeros for its last 32 bits, so that a small whole number times it is exact.
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

    x = 2^k m with m between the root of 1/2 and that of 2; with s = (m - 1) / (m + 1), ln m is
    2 (s + s^3/3 + s^5/5 + ...), of which eleven terms are enough as |s| is below 0.172.
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
    """e to the power of x; 0 where x is below -700 and infinite above 700, which float32 has no numbers for either.

    x = k ln 2 + r with |r| at most ln(2) / 2; e^r is its Taylor series up to r^13.
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
    """x, above zero, to the power of an exponent; exactly x or 1 where the exponent is 1 or 0."""
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
