"""Similarities of two items, one function per name; all stand on the same counting kernel in `build`."""

from collections.abc import Callable, Mapping
from math import sqrt
from types import MappingProxyType

from numba import types

from workers.kernels.compiled import compiled

Formula = Callable[[float, float, float, float], float]

FORMULA = types.float64(types.float64, types.float64, types.float64, types.float64)


@compiled(FORMULA)
def cosine(dot: float, square_i: float, square_j: float, shrink: float) -> float:
    """Cosine of the items' user vectors with a shrink term: dot / (sqrt(square_i * square_j) + shrink), in float64.

    `dot` is the sum of w_ui * w_uj over the users of both items, `square_i` and `square_j` are the sums of squared
    weights. Source: Deshpande and Karypis, "Item-Based Top-N Recommendation Algorithms", ACM TOIS 22(1), 2004, the
    cosine-based similarity; the shrink term in the denominator as in the item kNN of Ferrari Dacrema et al., "A
    Troubling Analysis of Reproducibility and Progress in Recommender Systems Research", ACM TOIS 39(2), 2021.
    """
    # One root of a product instead of a product of two roots: with weights of 1 the product is an exact integer.
    return dot / (sqrt(square_i * square_j) + shrink)


SIMILARITIES: Mapping[str, Formula] = MappingProxyType({"cosine": cosine})
