"""Which ratings are positive."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, cast, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from reckoner.shared.errors import UsageError

Comparison: TypeAlias = Literal[">=", ">", "<=", "<", "="]
COMPARED: Final[Mapping[str, Callable[[Any, float], NDArray[np.bool_]]]] = MappingProxyType(
    {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt, "=": operator.eq}
)
PATTERN = re.compile(r"\s*(>=|<=|>|<|=)\s*([+-]?([0-9]+\.?[0-9]*|\.[0-9]+))\s*", re.ASCII)


class Positive(msgspec.Struct, frozen=True):
    """The ratings that are positive, such as those of 4 and above."""

    comparison: Comparison
    bound: float

    def meets(self, ratings: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which ratings are positive, bool[n]."""
        return COMPARED[self.comparison](ratings, self.bound)

    def __str__(self) -> str:
        return f"{self.comparison} {self.bound:.15g}"


def parse_positive(text: str) -> Positive:
    """The ratings that a text such as `>=4` means.

    Raises:
        UsageError: it is not a comparison and a decimal number.
    """
    found = PATTERN.fullmatch(text)
    if found is None or not math.isfinite(float(found[2])):
        raise UsageError(
            f"--positive {text[:40]} is invalid. Write one of {', '.join(get_args(Comparison))} and a number, as in "
            "'>=4', in quotes."
        )
    return Positive(cast("Comparison", found[1]), float(found[2]))
