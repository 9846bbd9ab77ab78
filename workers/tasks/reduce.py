"""The reduce task: merges a flow's partials into cached lists, or a fit's parts into a published model."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec
import numpy as np

from reckoner.shared.errors import FlowFailedError, WireError
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.redis.scripts.constants import MAX_REWORK
from reckoner.shared.store.model_config import config_of, model_id
from reckoner.shared.store.snapshots import Snapshot
from reckoner.shared.wire.jobs import Reduce
from reckoner.shared.wire.shapes import (
    BASKET,
    PARTIAL,
    RESULT,
    BasketResult,
    BasketSpec,
    Best,
    BlockSpec,
    FitSpec,
    Outcome,
    Part,
    Record,
    Result,
    ScoredItem,
    ScoringSpec,
    digest_context,
)
from reckoner.shared.wire.shapes import Partial as StoredPartial
from reckoner.workers.engine.lease import Lease
from reckoner.workers.kernels.scoring.merge import Partial, in_slices, merge
from reckoner.workers.runtime.runtime import Runtime
from reckoner.workers.tasks.chunk import users_of
from reckoner.workers.tasks.decimals import shortest_decimal
from reckoner.workers.tasks.fit import join_fit

# List entries that are made in one step, in about a millisecond.
PLACES_AT_ONCE = 500


async def reduce(runtime: Runtime, flow: Flow, task: Reduce, lease: Lease) -> None:
    """Merge and publish. Missing or invalid partials are computed again in the next round."""
    stored = await _load_partials(runtime, flow, lease)
    if stored is None:
        return
    if isinstance(flow.spec, FitSpec):
        unusable, answer = await join_fit(runtime, flow, flow.spec, stored, lease)
        if unusable:
            await rework(runtime, flow, lease, unusable)
        else:
            # Waiting clients will ask for lists at once.
            await runtime.note_published(model_id(flow.spec.snapshot, config_of(flow.spec)))
            await runtime.flows.finish(flow, answer, lease=lease)
    elif isinstance(flow.spec, ScoringSpec):
        outcome = await _publish(runtime, flow, flow.spec, stored)
        await runtime.flows.finish(flow, outcome=outcome, lease=lease)


async def _load_partials(runtime: Runtime, flow: Flow, lease: Lease) -> list[StoredPartial] | None:
    """The partials of all chunk tasks in order. None if some were unusable and the flow was sent back."""
    found: dict[int, StoredPartial] = {}
    bounds = flow.plan.bounds if flow.plan else []
    unusable: list[bytes] = []
    wanted = {b"%d" % index: index for index in range(flow.tasks)}
    kind = Part if isinstance(flow.spec, FitSpec) else Best
    for name, data in (await runtime.flows.partials(flow.id)).items():
        try:
            if name not in wanted:
                raise WireError("The partial has no chunk task in this flow.")
            partial = PARTIAL.decode(data, digest_context(flow.id, wanted[name], bounds, flow.block))
            if not isinstance(partial, kind):
                raise WireError("The partial belongs to another kind of flow.")
            found[wanted[name]] = partial
        except WireError:
            await runtime.flows.refusals.field("partial", flow.id, runtime.keys.partials(flow.id), name, data)
            unusable.append(name)
    if len(found) == flow.tasks and not unusable:
        return [found[index] for index in range(flow.tasks)]
    await rework(runtime, flow, lease, [index for index in range(flow.tasks) if index not in found], unusable)
    return None


async def rework(
    runtime: Runtime, flow: Flow, lease: Lease, missing: Sequence[int], unusable: Sequence[bytes] | None = None
) -> None:
    """Send a flow back to recompute missing or invalid partials.

    Raises:
        FlowFailedError: the flow was sent back too often.
    """
    drop = unusable if unusable is not None else [b"%d" % index for index in missing]
    if await runtime.flows.rework(flow, drop, missing, lease=lease) == "spent":
        raise FlowFailedError(f"partials were missing or damaged {MAX_REWORK + 1} times")


async def _publish(runtime: Runtime, flow: Flow, spec: ScoringSpec, stored: Sequence[StoredPartial]) -> Outcome | None:
    record = await runtime.record(spec.generation)
    snapshot = await runtime.snapshot(record.snapshot)
    partials = [partial for partial in stored if isinstance(partial, Best)]
    if isinstance(spec, BasketSpec):
        basket = await runtime.in_thread(lambda: merged_basket(partials, spec, snapshot, record))
        await runtime.results.write_basket(spec.generation, spec.items, BASKET.encode(basket))
        return None
    users = users_of(spec, flow.block or 0, snapshot)
    written = await _publish_lists(runtime, spec, partials, users, snapshot, record)
    # If the snapshot changed meanwhile, a retry writes the lists again.
    await runtime.require_current(snapshot, closely=isinstance(spec, BlockSpec))
    if not isinstance(spec, BlockSpec):
        return None
    tasks = Counter(trace.worker for trace in (await runtime.flows.traces(flow.id)).values())
    return msgspec.structs.replace(written, tasks=tasks)


async def _publish_lists(
    runtime: Runtime, spec: ScoringSpec, partials: Sequence[Best], users: range, snapshot: Snapshot, record: Record
) -> Outcome:
    """Write the lists of a job's users to the cache. Returns the counts.

    It works on the event loop in steps of about a millisecond; a thread would keep waiting for the GIL, 5 ms each time.
    """
    size = max(1, PLACES_AT_ONCE // record.options.list_length)
    slices = zip(*(in_slices(_arrays(partial), size) for partial in partials), strict=True)
    empty = places = fresh = 0
    for first, some in zip(range(0, len(users), size), slices, strict=True):
        if isinstance(spec, BlockSpec):
            await runtime.scheduler.yield_to_clicks()
        lists = merged_lists(some, users[first : first + size], snapshot, record)
        new = await _churn(runtime, spec, lists) if isinstance(spec, BlockSpec) else Churn(0, 0)
        await runtime.results.write(record.generation, lists.encoded, runtime.settings.result_ttl_s)
        empty += sum(not items for items in lists.items)
        places, fresh = places + new.places, fresh + new.fresh
    return Outcome(done=len(users), empty=empty, places=places, fresh=fresh)


class Lists(NamedTuple):
    """The lists of some users: the encoded list with the user's id, and the ids of its items."""

    encoded: list[tuple[str, bytes]]
    items: list[tuple[str, ...]]


def merged_lists(partials: Sequence[Partial], users: range, snapshot: Snapshot, record: Record) -> Lists:
    """The lists of `users`, merged from the partials of all chunk tasks."""
    best = merge(partials, record.options.list_length)
    lists = Lists([], [])
    for user, result in zip(users, as_results(best, snapshot, record.generation), strict=True):
        lists.encoded.append((snapshot.users[user], RESULT.encode(result)))
        lists.items.append(tuple(place.item for place in result.items))
    return lists


def merged_basket(partials: Sequence[Best], spec: BasketSpec, snapshot: Snapshot, record: Record) -> BasketResult:
    """The list of a basket, merged from the partials of all chunk tasks; empty without partials."""
    items: list[ScoredItem] = []
    if partials:
        best = merge([_arrays(partial) for partial in partials], record.options.list_length)
        [result] = as_results(best, snapshot, record.generation)
        items = result.items
    unknown = [item for item in spec.items if snapshot.items.find(item) is None]
    return BasketResult(1, record.generation, items, unknown)


def _arrays(partial: Best) -> Partial:
    return Partial(
        np.frombuffer(partial.counts, np.uint32),
        np.frombuffer(partial.items, np.uint32),
        np.frombuffer(partial.scores, np.float32),
        np.frombuffer(partial.reasons, np.uint32),
    )


def as_results(best: Partial, snapshot: Snapshot, generation: str) -> Iterator[Result]:
    """The lists of a job's users, with the caller's item ids and shortest_decimal decimal scores."""
    # Cached: popular items are in most lists.
    name = snapshot.items.recall
    places = zip(best.items.tolist(), map(shortest_decimal, best.scores), best.reasons.tolist(), strict=True)
    for count in best.counts.tolist():
        own = islice(places, count)
        yield Result(1, generation, [ScoredItem(name(item), score, name(reason)) for item, score, reason in own])


class Churn(NamedTuple):
    """Of users who had a list when the run began: the entries of their new lists, and how many of these are new."""

    places: int
    fresh: int


async def _churn(runtime: Runtime, spec: BlockSpec, lists: Lists) -> Churn:
    if not spec.since or spec.since == spec.generation:
        return Churn(0, 0)
    places = fresh = 0
    befores = await runtime.results.read(spec.since, [name for name, _ in lists.encoded])
    for before, after in zip(befores, lists.items, strict=True):
        if before:
            places += len(after)
            fresh += len({*after} - {place.item for place in before.items})
    return Churn(places, fresh)
