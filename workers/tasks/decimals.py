"""Formats scores: the shortest decimal that reads back as the same float32."""

import numpy as np


def shortest_decimal(value: np.float32) -> float:
    """The float64 that prints as the shortest decimal which reads back as `value`."""
    # numpy prints the shortest digits of a float32, and the float64 of these digits prints the same.
    return float(str(value))
