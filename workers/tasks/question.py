"""Answers questions: an item's neighbours, the similarity of two items, a user's history."""

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.store.models import Model
from reckoner.shared.store.snapshots import Snapshot
from reckoner.shared.wire.shapes import (
    History,
    HistoryItem,
    HistorySpec,
    Lane,
    Neighbours,
    Pair,
    QuestionSpec,
    Reply,
    SimilarItem,
    SimilarSpec,
    Unknown,
)
from reckoner.workers.kernels.building.pair import compare
from reckoner.workers.runtime.runtime import Runtime
from reckoner.workers.tasks.decimals import shortest_decimal


async def answer_question(runtime: Runtime, spec: QuestionSpec) -> Reply:
    """The answer to a question, from its generation's model and snapshot."""
    record = await runtime.record(spec.generation)
    snapshot = await runtime.snapshot(record.snapshot)
    if isinstance(spec, HistorySpec):
        past: Reply = await runtime.kernel("click", lambda _: history(snapshot, spec))
        await runtime.require_current(snapshot, closely=False)
        return past
    model = await runtime.model(record.model)
    # Comparing two items may visit a whole snapshot for up to a second, so it must not delay clicks.
    lane: Lane = "click" if spec.other is None else "batch"
    reply: Reply = await runtime.kernel(lane, lambda stop: similar(model, snapshot, spec, stop))
    await runtime.require_current(model, snapshot, closely=False)
    return reply


def similar(model: Model, snapshot: Snapshot, spec: SimilarSpec, stop: NDArray[np.uint8]) -> Reply | None:
    """An item's neighbours, or its similarity to another item. `Unknown` for items outside the snapshot.

    None if `stop`, uint8[1], was set.
    """
    wanted = [spec.item] if spec.other is None else [spec.item, spec.other]
    found = {item: snapshot.items.find(item) for item in wanted}
    unknown = [item for item, index in found.items() if index is None]
    indices = [index for index in map(found.get, wanted) if index is not None]
    if unknown:
        return Unknown(unknown)
    if spec.other is None:
        return neighbours(model, snapshot, indices[0], spec.n)
    return pair(model, snapshot, *indices, stop=stop)


def neighbours(model: Model, snapshot: Snapshot, item: int, n: int) -> Neighbours:
    """The best `n` of an item's row: the highest value first, then the smaller index."""
    row = slice(model.row_ptr[item], model.row_ptr[item + 1])
    items, values = model.row_items[row], model.row_values[row]
    # Rows are in index order, so a stable sort breaks ties by index.
    best = np.argsort(-values, kind="stable")[:n]
    users = int(snapshot.item_ptr[item + 1] - snapshot.item_ptr[item])
    return Neighbours(users, [SimilarItem(snapshot.items[int(items[at])], shortest_decimal(values[at])) for at in best])


def pair(model: Model, snapshot: Snapshot, item: int, other: int, *, stop: NDArray[np.uint8]) -> Pair | None:
    """The similarity of two items under the model's configuration, even if the model did not keep it."""
    compared = compare(
        snapshot.item_ptr,
        snapshot.item_users,
        snapshot.item_weights,
        snapshot.user_ptr,
        item,
        other,
        model.config,
        stop=stop,
    )
    if compared is None:
        return None
    return Pair(shortest_decimal(compared.similarity), compared.users, compared.other_users, compared.shared_users)


def history(snapshot: Snapshot, spec: HistorySpec) -> Reply:
    """A user's history: the newest first, then the smaller index. Without times it is in index order."""
    user = snapshot.users.find(spec.user)
    if user is None:
        return Unknown([spec.user])
    row = slice(snapshot.user_ptr[user], snapshot.user_ptr[user + 1])
    items = snapshot.user_items[row]
    weights = None if snapshot.user_weights is None else snapshot.user_weights[row]
    times = None if snapshot.user_times is None else snapshot.user_times[row]
    # Rows are in index order, so a stable sort breaks ties by index.
    first = (np.arange(items.size) if times is None else np.argsort(-times, kind="stable"))[: spec.n]
    return History(
        items.size,
        [
            HistoryItem(
                snapshot.items[int(items[at])],
                None if weights is None else shortest_decimal(weights[at]),
                None if times is None else int(times[at]),
            )
            for at in first
        ],
    )
