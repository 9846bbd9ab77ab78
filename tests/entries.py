"""Entries (items with values), and the keys that kernels use for them."""

import numpy as np
from hypothesis import strategies as st

from reckoner.workers.kernels.ranking import key_of, value_of

VALUES = st.sampled_from([0.5, 1.0, 2.0]) | st.floats(0.0, 2.0**100, width=32)
ITEMS = st.integers(0, 2**32 - 1)
ENTRIES = st.dictionaries(ITEMS, VALUES)


def best(entries: dict[int, float], length: int) -> list[tuple[int, float]]:
    return sorted(entries.items(), key=lambda entry: (-entry[1], entry[0]))[:length]


def keys_of(entries: dict[int, float]) -> np.ndarray:
    """Keys, followed by others that no function may read."""
    keys = [key_of(np.float32(value), item) for item, value in entries.items()]
    return np.array([*keys, 0, 2**64 - 1], np.uint64)


def entries_in(keys: np.ndarray) -> list[tuple[int, float]]:
    return [(key & 0xFFFFFFFF, float(value_of(key))) for key in keys.tolist()]
