"""The chunk task: finds the best of one item range for a job's histories, or makes one part of a fit or evaluation."""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.redis.scripts import LeaseLostError
from reckoner.shared.store.models import Model
from reckoner.shared.store.snapshots import Snapshot
from reckoner.shared.wire.jobs import Chunk
from reckoner.shared.wire.shapes import (
    BasketSpec,
    Best,
    BlockSpec,
    EvaluationSpec,
    FitSpec,
    Frozen,
    Lane,
    Part,
    Record,
    ScoringSpec,
    StoreSpec,
    Trace,
    UserSpec,
    digest_context,
)
from reckoner.workers.engine.lease import Lease
from reckoner.workers.kernels.scoring.merge import Partial
from reckoner.workers.kernels.scoring.score import score_users
from reckoner.workers.runtime.layout_files import Layout
from reckoner.workers.runtime.runtime import Runtime
from reckoner.workers.tasks.evaluate import leaves_no_parts, score_part
from reckoner.workers.tasks.fit import build_part
from reckoner.workers.tasks.histories import Histories, no_history, snapshot_histories, with_recent


async def chunk(runtime: Runtime, flow: Flow, task: Chunk, lease: Lease) -> None:
    """Compute one partial and store it. Storing the last one enqueues the reduce."""
    if flow.plan is None or not isinstance(flow.spec, StoreSpec | ScoringSpec):
        return
    started_ms = time.time() * 1000
    first, last = flow.plan.bounds[task.index : task.index + 2]
    partial: Best | Part
    if isinstance(flow.spec, FitSpec):
        partial = await build_part(runtime, flow.spec, first, last, flow.plan.popular)
    elif isinstance(flow.spec, EvaluationSpec):
        partial = await score_part(runtime, flow.spec, first, last)
    else:
        partial = await score_range(
            runtime, flow.spec, flow.block or 0, first, last, flow.lane, frozen=flow.plan.frozen
        )
    trace = Trace(runtime.worker_id, started_ms, time.time() * 1000)
    place = digest_context(flow.id, task.index, flow.plan.bounds, flow.block)
    try:
        await runtime.flows.store_partial(task, partial, trace, place, lease=lease)
    except LeaseLostError:
        await _delete_if_cancelled(runtime, flow, partial)
        raise


async def _delete_if_cancelled(runtime: Runtime, flow: Flow, partial: Best | Part) -> None:
    """Delete a part whose evaluation was cancelled before its name was stored: nobody else knows it."""
    if isinstance(partial, Part) and isinstance(flow.spec, StoreSpec) and leaves_no_parts(flow.spec):
        [now] = await runtime.flows.load_many([flow.id])
        if now is None or (isinstance(now, Flow) and now.state == "cancelled"):
            await runtime.in_store(lambda: runtime.store.delete("parts", partial.name))


def users_of(spec: UserSpec | BlockSpec, block: int, snapshot: Snapshot) -> range:
    """The indices of a job's users: one user, or a block of consecutive ones."""
    if isinstance(spec, BlockSpec):
        start = block * spec.block_size
        return range(start, min(start + spec.block_size, snapshot.n_users))
    user = snapshot.users.find(spec.user)
    return range(0) if user is None else range(user, user + 1)


def known_items(spec: BasketSpec, snapshot: Snapshot) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The indices of a basket's items that the snapshot knows, uint32, ascending, and their places among them."""
    found = [snapshot.items.find(item) for item in spec.items]
    return np.unique(np.array([index for index in found if index is not None], np.uint32), return_index=True)


def histories_of(spec: ScoringSpec, block: int, snapshot: Snapshot, frozen: Frozen | None = None) -> Histories:
    """The histories of a job's users, with their frozen events. A basket is one history with weights of 1."""
    if isinstance(spec, BasketSpec):
        items, places = known_items(spec, snapshot)
        ptr = np.array([0, items.size], np.int64)
        histories = Histories(ptr, items, None, places if spec.ordered else None)
    else:
        users = users_of(spec, block, snapshot)
        histories = snapshot_histories(snapshot, users) if users else no_history(snapshot)
    return histories if frozen is None else with_recent(histories, frozen, snapshot.repeats)


def places_of(spec: ScoringSpec, record: Record) -> int:
    """The number of the best places that a job looks at."""
    pool = 0 if isinstance(spec, BlockSpec) or spec.filter is None else spec.filter.pool
    return max(record.places, pool)


class ScoringJob(NamedTuple):
    """What the tasks of a scoring job read."""

    record: Record
    model: Model
    snapshot: Snapshot
    histories: Histories
    hidden: NDArray[np.uint8] | None
    """uint8[I], not 0 for an item that no list may hold; None for no such item."""


async def scoring_job(runtime: Runtime, spec: ScoringSpec, block: int, frozen: Frozen | None) -> ScoringJob:
    """Open what the tasks of a scoring job read."""
    record = await runtime.record(spec.generation)
    model, snapshot = await runtime.model(record.model), await runtime.snapshot(record.snapshot)
    hidden = await runtime.masks.load(frozen.mask, snapshot) if frozen else None
    return ScoringJob(record, model, snapshot, histories_of(spec, block, snapshot, frozen), hidden)


async def score_range(
    runtime: Runtime, spec: ScoringSpec, block: int, first: int, last: int, lane: Lane, *, frozen: Frozen | None = None
) -> Best:
    """The best of the candidates first..last-1 for each history of the job."""
    job = await scoring_job(runtime, spec, block, frozen)
    model, is_block = job.model, isinstance(spec, BlockSpec)
    laid_out = runtime.layouts.cached(model, first, last) is not None
    layout = await runtime.layout(model, first, last, lane)
    # A block, and what follows making a layout, runs in a thread.
    short = not is_block and laid_out
    additions = model.most_additions(job.histories.held.size) * model.share(first, last) if short else math.inf
    score = scoring(runtime, layout, job.record, job.histories, job.hidden, places_of(spec, job.record))
    best = await runtime.kernel(lane, score, additions)
    await runtime.require_current(model, job.snapshot, layout=layout, closely=is_block or not laid_out)
    return Best(*(array.tobytes() for array in best))


def scoring(
    runtime: Runtime,
    layout: Layout,
    record: Record,
    histories: Histories,
    hidden: NDArray[np.uint8] | None = None,
    places: int = 0,
) -> Callable[[NDArray[np.uint8]], Partial | None]:
    """A function that scores a layout's candidates, except the hidden ones, which are not 0 in `hidden`, uint8[I].

    It finds the best `places`, by default those of the lists of the generation.

    It takes a stop flag, uint8[1], and returns None if it was set.
    """
    # Evaluating a nested function's annotations would take a tenth of a click's kernel.
    return lambda stop: _score(runtime, layout, record, histories, hidden, places or record.places, stop)


def _score(
    runtime: Runtime,
    layout: Layout,
    record: Record,
    histories: Histories,
    hidden: NDArray[np.uint8] | None,
    places: int,
    stop: NDArray[np.uint8],
) -> Partial | None:
    weighed = histories.weighed(record.options.recency, stop)
    if weighed is None:
        return None
    return score_users(
        *(layout.candidates, *weighed, places),
        left=histories.left_out if record.options.exclude_history else None,
        hidden=hidden,
        scratch=runtime.layouts.scratch.room_for(layout.candidates),
        stop=stop,
    )
