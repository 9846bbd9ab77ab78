"""Writes a float32 as the shortest decimal that reads back as the same float32, in the form of the JSON codec.

Adams, "Ryu: Fast Float-to-String Conversion", PLDI 2018: the shortest decimal within the interval that rounds to the
number, and the closest one among those.
"""

from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.compiled import WRITE_UINT8, Index, compiled

ZERO, ONE, TWO, FOUR, FIVE, TEN = (np.uint64(number) for number in (0, 1, 2, 4, 5, 10))
HALF, LOWER_HALF = np.uint64(32), np.uint64(0xFFFFFFFF)
MANTISSA_BITS = np.uint64(23)
MANTISSA = (ONE << MANTISSA_BITS) - ONE
# The exponent of a float32's last mantissa bit is its biased exponent minus this; two more bits separate the bounds.
BIAS = 127 + 23 + 2
# Powers of five are scaled to so many bits, and inverse ones to two fewer.
SCALED_BITS, INVERSE_BITS = 61, 59
# Numbers with a decimal exponent in this range are written without an exponent.
LEAST_PLAIN, MOST_PLAIN = -5, 15
# A sign, nine digits, a point and an exponent; or sixteen digits before the point.
MOST_BYTES = 24
DIGIT, POINT, MINUS, EXPONENT = np.uint8(48), np.uint8(46), np.uint8(45), np.uint8(101)


def _bits_of_power(exponent: int) -> int:
    return int(5**exponent).bit_length()


# floor(5^n / 2^(bits - SCALED_BITS)) and ceil(2^(bits - 1 + INVERSE_BITS) / 5^n), for all float32 numbers.
POWERS = np.array([(5**n << SCALED_BITS) >> _bits_of_power(n) for n in range(48)], np.uint64)
INVERSES = np.array([(1 << (_bits_of_power(n) - 1 + INVERSE_BITS)) // 5**n + 1 for n in range(32)], np.uint64)


@compiled(types.int64(types.int64), inner=True)
def _power_bits(exponent: int) -> int:
    """The number of bits of 5^exponent, for exponents up to 3,528."""
    return ((exponent * 1_217_359) >> 19) + 1


@compiled(types.uint64(types.uint64, types.uint64, types.int64), inner=True)
def _multiply(mantissa: Index, factor: Index, shift: int) -> Index:
    """floor(mantissa * factor / 2^shift) for a mantissa of 32 bits and a shift of at least 32."""
    low, high = mantissa * (factor & LOWER_HALF), mantissa * (factor >> HALF)
    return ((low >> HALF) + high) >> np.uint64(shift - 32)


@compiled(types.boolean(types.uint64, types.int64), inner=True)
def _divides_power(number: Index, exponent: int) -> bool:
    """Whether 5^exponent divides the number."""
    for _ in range(exponent):
        if number % FIVE != ZERO:
            return False
        number //= FIVE
    return True


class Scaled(NamedTuple):
    """A float32 and the bounds of what rounds to it, as decimals: integers times 10^`power`, cut off.

    `is_exact` and `is_lower_exact`: whether nothing was cut off the number and the lower bound; only computed where a
    tie or a bound can decide. `removed` is the last digit that was cut off the number.
    """

    digits: Index
    upper: Index
    lower: Index
    removed: Index
    power: int
    is_exact: bool
    is_lower_exact: bool


SCALED = types.NamedTuple(  # type: ignore[no-untyped-call]
    [*[types.uint64] * 4, types.int64, types.boolean, types.boolean], Scaled
)


@compiled(SCALED(types.uint64, types.uint64, types.int64, types.boolean), inner=True)
def _scale_large(middle: Index, lower: Index, exponent: int, is_even: bool) -> Scaled:
    """Scale `middle`, four times the mantissa, times 2^`exponent`, which is 0 or more."""
    power = (exponent * 78_913) >> 18
    shift = power - exponent + INVERSE_BITS + _power_bits(power) - 1
    factor = INVERSES[power]
    digits, most = _multiply(middle, factor, shift), _multiply(middle + TWO, factor, shift)
    least, removed = _multiply(lower, factor, shift), ZERO
    if power != 0 and (most - ONE) // TEN <= least // TEN:
        shift = power - 1 - exponent + INVERSE_BITS + _power_bits(power - 1) - 1
        removed = _multiply(middle, INVERSES[power - 1], shift) % TEN
    is_exact, is_lower_exact = False, False
    if power <= 9 and middle % FIVE == ZERO:
        is_exact = _divides_power(middle, power)
    elif power <= 9 and is_even:
        is_lower_exact = _divides_power(lower, power)
    elif power <= 9:
        most -= np.uint64(_divides_power(middle + TWO, power))
    return Scaled(digits, most, least, removed, power, is_exact, is_lower_exact)


@compiled(SCALED(types.uint64, types.uint64, types.int64, types.boolean), inner=True)
def _scale_small(middle: Index, lower: Index, exponent: int, is_even: bool) -> Scaled:
    """Scale `middle`, four times the mantissa, times 2^`exponent`, which is negative."""
    power = (-exponent * 732_923) >> 20
    five = -exponent - power
    shift = power - (_power_bits(five) - SCALED_BITS)
    factor = POWERS[five]
    digits, most = _multiply(middle, factor, shift), _multiply(middle + TWO, factor, shift)
    least, removed = _multiply(lower, factor, shift), ZERO
    if power != 0 and (most - ONE) // TEN <= least // TEN:
        shift = power - 1 - (_power_bits(five + 1) - SCALED_BITS)
        removed = _multiply(middle, POWERS[five + 1], shift) % TEN
    is_exact, is_lower_exact = power <= 1, False
    if power <= 1 and is_even:
        is_lower_exact = middle - lower == TWO
    elif power <= 1:
        most -= ONE
    elif power < 31:
        is_exact = middle & ((ONE << np.uint64(power - 1)) - ONE) == ZERO
    return Scaled(digits, most, least, removed, power + exponent, is_exact, is_lower_exact)


@compiled(types.Tuple((types.uint64, types.int64))(types.float32), inner=True)  # type: ignore[no-untyped-call]
def shortest_digits(value: np.float32) -> tuple[Index, int]:
    """The digits, as an integer, and the decimal exponent of the shortest decimal of a float32 above zero."""
    bits = np.uint64(np.float32(value).view(np.uint32))
    fraction, biased = bits & MANTISSA, int(bits >> MANTISSA_BITS)
    mantissa = fraction | (ONE << MANTISSA_BITS) if biased > 0 else fraction
    exponent = (biased if biased > 1 else 1) - BIAS
    is_even = mantissa & ONE == ZERO
    # The interval of what rounds to the number is narrower below a power of two.
    lower = FOUR * mantissa - (ONE if fraction == ZERO and biased > 1 else TWO)
    if exponent >= 0:
        scaled = _scale_large(FOUR * mantissa, lower, exponent, is_even)
    else:
        scaled = _scale_small(FOUR * mantissa, lower, exponent, is_even)
    digits, most, least, removed, power, is_exact, is_lower_exact = scaled
    while most // TEN > least // TEN or (is_lower_exact and least % TEN == ZERO):
        is_lower_exact &= least % TEN == ZERO
        is_exact &= removed == ZERO
        removed = digits % TEN
        digits, most, least = digits // TEN, most // TEN, least // TEN
        power += 1
    if is_exact and removed == FIVE and digits % TWO == ZERO:
        # A tie goes to the even digit.
        removed = FOUR
    if (digits == least and not (is_even and is_lower_exact)) or removed >= FIVE:
        digits += ONE
    return digits, power


@compiled(types.uint64(WRITE_UINT8, types.uint64, types.uint64, types.int64, types.int64), inner=True)
def _write_digits(buffer: NDArray[np.uint8], at: Index, digits: Index, count: int, before_point: int) -> Index:
    """Write `count` digits, with a point after the first `before_point` unless these are all. Returns the end."""
    end = at + np.uint64(count) + np.uint64(before_point < count)
    place = end
    for n in range(count, 0, -1):
        place -= ONE
        buffer[place] = DIGIT + np.uint8(digits % TEN)
        digits //= TEN
        if n - 1 == before_point:
            place -= ONE
            buffer[place] = POINT
    return end


@compiled(types.uint64(WRITE_UINT8, types.uint64, types.uint8, types.int64), inner=True)
def _write_repeated(buffer: NDArray[np.uint8], at: Index, character: np.uint8, count: int) -> Index:
    """Write a character `count` times. Returns the end."""
    for _ in range(count):
        buffer[at] = character
        at += ONE
    return at


@compiled(types.uint64(WRITE_UINT8, types.uint64, types.float32))
def write_decimal(buffer: NDArray[np.uint8], at: Index, value: np.float32) -> Index:
    """Write a float32 above zero from `at` on, in at most MOST_BYTES. Returns the end."""
    digits, last = shortest_digits(value)
    while digits != ZERO and digits % TEN == ZERO:
        digits //= TEN
        last += 1
    count, rest = 0, digits
    while rest != ZERO:
        rest //= TEN
        count += 1
    # The decimal exponents of the first and the last digit.
    first = last + count - 1
    if LEAST_PLAIN <= first < 0:
        at = _write_digits(buffer, at, ZERO, 2, 1)
        at = _write_repeated(buffer, at - ONE, DIGIT, -first - 1)
        return _write_digits(buffer, at, digits, count, count)
    if 0 <= first <= MOST_PLAIN and last >= 0:
        at = _write_repeated(buffer, _write_digits(buffer, at, digits, count, count), DIGIT, last)
        return _write_digits(buffer, at, ZERO, 2, 0) - ONE
    if 0 <= first <= MOST_PLAIN:
        return _write_digits(buffer, at, digits, count, first + 1)
    at = _write_repeated(buffer, _write_digits(buffer, at, digits, count, 1), EXPONENT, 1)
    if first < 0:
        at = _write_repeated(buffer, at, MINUS, 1)
    exponent = np.uint64(abs(first))
    return _write_digits(buffer, at, exponent, 1 if exponent < TEN else 2, 2)
