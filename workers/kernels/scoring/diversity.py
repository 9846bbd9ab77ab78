"""Diversity: orders the places of a list so that the first ones are not alike.

Maximal marginal relevance (Carbonell and Goldstein 1998): the next place is the one with the largest
(1 - D) * score / largest score - D * similarity / largest similarity, where the similarity is the largest one to a
place that was chosen before. Both terms are between 0 and 1, whatever the scale of a model's similarities.
"""

import numpy as np
from numpy.typing import NDArray


def choose_diverse(
    items: NDArray[np.uint32],
    scores: NDArray[np.float32],
    row_ptr: NDArray[np.int64],
    row_items: NDArray[np.uint32],
    row_values: NDArray[np.float32],
    diversity: float,
    length: int,
) -> NDArray[np.int64]:
    """The places of a list in their new order, int64[min(m, length)]; ties by the smaller item.

    `items`[m] are distinct, `scores`[m] above 0; the rows are those of a model. `diversity` is D, from 0 to 1.
    """
    order = np.argsort(items)
    if not items.size:
        return order
    similar = similarities_among(items[order], row_ptr, row_items, row_values)
    worth = (1.0 - diversity) * (scores[order].astype(np.float64) / np.float64(scores.max()))
    scale = diversity / similar.max() if similar.max() > 0 else 0.0
    nearest = np.zeros(items.size)
    chosen = np.empty(min(items.size, length), np.int64)
    for place in range(chosen.size):
        chosen[place] = best = int(np.argmax(worth - scale * nearest))
        nearest = np.maximum(nearest, similar[best])
        worth[best] = -np.inf
    return order[chosen]


def similarities_among(
    items: NDArray[np.uint32],
    row_ptr: NDArray[np.int64],
    row_items: NDArray[np.uint32],
    row_values: NDArray[np.float32],
) -> NDArray[np.float64]:
    """The similarities of ascending items, float64[m, m]: the larger one of both directions, 0 where there is none."""
    starts, counts = row_ptr[items], row_ptr[items + np.uint32(1)] - row_ptr[items]
    rows = np.repeat(np.arange(items.size), counts)
    entries = np.arange(rows.size) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
    columns = np.minimum(np.searchsorted(items, row_items[entries]), items.size - 1)
    known = items[columns] == row_items[entries]
    found = np.zeros((items.size, items.size))
    found[rows[known], columns[known]] = row_values[entries[known]]
    np.fill_diagonal(found, 0.0)
    return np.maximum(found, found.T)
