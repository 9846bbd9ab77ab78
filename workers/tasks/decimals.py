"""Numbers as they are given to callers: the shortest decimals that read back as the same float32."""

import numpy as np


def shortest(value: np.float32) -> float:
    """The float64 that prints as the shortest decimal which reads back as `value`."""
    # numpy prints the shortest digits that tell a float32 from its neighbours; a float64 of them prints the same.
    return float(str(value))
