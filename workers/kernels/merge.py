"""Reduces the partials of a block's chunk tasks into each user's best candidates."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Partial(NamedTuple):
    """Best candidates of some users, user after user, best first.

    `counts` uint32[users] says how many each user has; `items` uint32, `scores` float32 (above zero) and `reasons`
    uint32 (the history item with the largest share of the score) are flat, counts.sum() long.
    """

    counts: NDArray[np.uint32]
    items: NDArray[np.uint32]
    scores: NDArray[np.float32]
    reasons: NDArray[np.uint32]


def merge(partials: Sequence[Partial], length: int) -> Partial:
    """The best `length` candidates of each user over all partials: the higher score first, then the smaller index.

    The partials are of the same users in the same order and of ranges of candidates that do not overlap. Each holds
    its range's own best `length`, so that nothing of the whole list can be missing; their order does not matter.
    Raises ValueError if there is no partial, or if they are not of equally many users.
    """
    if not partials:
        raise ValueError("there is no partial to merge")
    user_count = partials[0].counts.size
    if any(partial.counts.size != user_count for partial in partials):
        raise ValueError("the partials are not of the same users")
    users = np.concatenate([np.repeat(np.arange(user_count), partial.counts) for partial in partials])
    items = np.concatenate([partial.items for partial in partials])
    scores = np.concatenate([partial.scores for partial in partials])
    reasons = np.concatenate([partial.reasons for partial in partials])
    order = np.lexsort((items, -scores, users))
    offered = np.bincount(users, minlength=user_count)
    starts = np.cumsum(offered) - offered
    best = order[np.arange(order.size) - np.repeat(starts, offered) < length]
    counts = np.minimum(offered, length).astype(np.uint32)
    return Partial(counts, items[best], scores[best], reasons[best])
