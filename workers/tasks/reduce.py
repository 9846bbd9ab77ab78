"""The reduce: merges a flow's partials into cached lists, or a fit's parts into a published model."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec
import numpy as np

from reckoner.shared.errors import FlowFailedError, WireError
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.flows.flows import MAX_REWORK
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
from reckoner.workers.tasks.decimals import shortest
from reckoner.workers.tasks.fit import join_fit

# Of lists that are made in one go, in about a millisecond.
PLACES_AT_ONCE = 500


async def reduce(runtime: Runtime, flow: Flow, task: Reduce, lease: Lease) -> None:
    """Merge and publish; partials that are missing or cannot be used are computed again in the next round."""
    stored = await _usable(runtime, flow, lease)
    if stored is None:
        return
    if isinstance(flow.spec, FitSpec):
        unusable, answer = await join_fit(runtime, flow, flow.spec, stored, lease)
        if unusable:
            await again(runtime, flow, lease, unusable)
        else:
            # Who waited for it asks at once for lists.
            await runtime.note_published(model_id(flow.spec.snapshot, config_of(flow.spec)))
            await runtime.flows.finish(flow, answer, lease=lease)
    elif isinstance(flow.spec, ScoringSpec):
        outcome = await _publish(runtime, flow, flow.spec, stored)
        await runtime.flows.finish(flow, outcome=outcome, lease=lease)


async def _usable(runtime: Runtime, flow: Flow, lease: Lease) -> list[StoredPartial] | None:
    """The partials of all chunk tasks in order; None when some were missing and the flow was sent back for them."""
    found: dict[int, StoredPartial] = {}
    bounds = flow.plan.bounds if flow.plan else []
    unusable: list[bytes] = []
    wanted = {b"%d" % index: index for index in range(flow.tasks)}
    kind = Part if isinstance(flow.spec, FitSpec) else Best
    for name, data in (await runtime.flows.partials(flow.id)).items():
        try:
            if name not in wanted:
                raise WireError("A partial is not one that this flow asked for.")
            partial = PARTIAL.decode(data, digest_context(flow.id, wanted[name], bounds, flow.block))
            if not isinstance(partial, kind):
                raise WireError("A partial is of another kind of flow.")
            found[wanted[name]] = partial
        except WireError:
            await runtime.flows.refusals.field("partial", flow.id, runtime.keys.partials(flow.id), name, data)
            unusable.append(name)
    if len(found) == flow.tasks and not unusable:
        return [found[index] for index in range(flow.tasks)]
    await again(runtime, flow, lease, [index for index in range(flow.tasks) if index not in found], unusable)
    return None


async def again(
    runtime: Runtime, flow: Flow, lease: Lease, missing: Sequence[int], unusable: Sequence[bytes] | None = None
) -> None:
    """Send a flow back for chunk tasks whose partial is missing or cannot be used.

    Raises:
        FlowFailedError: that was done too often.
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
    # What was written of names that are not right any more is written again.
    await runtime.require_current(snapshot, closely=isinstance(spec, BlockSpec))
    if not isinstance(spec, BlockSpec):
        return None
    tasks = Counter(trace.worker for trace in (await runtime.flows.traces(flow.id)).values())
    return msgspec.structs.replace(written, tasks=tasks)


async def _publish_lists(
    runtime: Runtime, spec: ScoringSpec, partials: Sequence[Best], users: range, snapshot: Snapshot, record: Record
) -> Outcome:
    """Put the lists of a job's users into the cache, and count them and their places.

    Some users at a time: their lists are made here in about a millisecond, and while their bytes are on the way it is
    the turn of whatever else this worker does. (In a thread it would wait for the interpreter's lock time and again,
    for 5 ms each.)
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
    """The lists of some users: beside the user's id as it is cached, and the ids of its items."""

    encoded: list[tuple[str, bytes]]
    items: list[tuple[str, ...]]


def merged_lists(partials: Sequence[Partial], users: range, snapshot: Snapshot, record: Record) -> Lists:
    """The lists of `users`, from what all chunk tasks of their job have found for them."""
    best = merge(partials, record.options.list_length)
    lists = Lists([], [])
    for user, result in zip(users, as_results(best, snapshot, record.generation), strict=True):
        lists.encoded.append((snapshot.users[user], RESULT.encode(result)))
        lists.items.append(tuple(place.item for place in result.items))
    return lists


def merged_basket(partials: Sequence[Best], spec: BasketSpec, snapshot: Snapshot, record: Record) -> BasketResult:
    """The list of a basket, from the partials of all its chunk tasks; there are none where no item is known."""
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
    """The lists of a job's users with the ids that the caller knows, and scores that print as a float32 does."""
    # The popular ones are in most lists.
    name = snapshot.items.recall
    places = zip(best.items.tolist(), map(shortest, best.scores), best.reasons.tolist(), strict=True)
    for count in best.counts.tolist():
        own = islice(places, count)
        yield Result(1, generation, [ScoredItem(name(item), score, name(reason)) for item, score, reason in own])


class Churn(NamedTuple):
    """Over the users who had a list when the run began: the places of their new lists, and how many of them are new."""

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
