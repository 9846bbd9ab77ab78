"""What kernels cost: the rows of a model to build, and lists to score."""

import numpy as np
from numpy.typing import NDArray

# How many additions the scoring kernel does in a millisecond, measured with the data of the demonstration; the call and
# what it writes are paid beside that.
ADDITIONS_PER_MS = 140_000


def row_work(
    item_ptr: NDArray[np.int64], item_users: NDArray[np.uint32], user_ptr: NDArray[np.int64]
) -> NDArray[np.int64]:
    """What a row of the model costs to build, int64[I]: the history lengths of the item's users, summed."""
    done = np.concatenate(([0], np.cumsum(np.diff(user_ptr)[item_users], dtype=np.int64)))
    work: NDArray[np.int64] = np.diff(done[item_ptr])
    return work
