"""The reduce task: merges a flow's partials into cached lists, or joins the parts of a fit or an evaluation."""

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from reckoner.shared.errors import FlowFailedError, WireError
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.redis.scripts import Cached
from reckoner.shared.redis.scripts.constants import MAX_REWORK
from reckoner.shared.store.model_config import config_of, model_id
from reckoner.shared.wire.filters import Filter
from reckoner.shared.wire.jobs import Reduce
from reckoner.shared.wire.shapes import (
    PARTIAL,
    Best,
    BlockSpec,
    FitSpec,
    Frozen,
    Outcome,
    Part,
    Record,
    ScoringSpec,
    StoreSpec,
    digest_context,
)
from reckoner.shared.wire.shapes import Partial as StoredPartial
from reckoner.workers.engine.lease import Lease
from reckoner.workers.kernels.scoring.diversity import choose_diverse
from reckoner.workers.kernels.scoring.merge import Partial, merge
from reckoner.workers.runtime.history import remember_fit
from reckoner.workers.runtime.runtime import Runtime
from reckoner.workers.tasks.chunk import places_of, users_of
from reckoner.workers.tasks.evaluate import join_evaluation, leaves_no_parts
from reckoner.workers.tasks.fit import join_fit
from reckoner.workers.tasks.publish import (
    Block,
    MadeLists,
    make_lists,
    one_list,
    publish_block,
)


async def reduce(runtime: Runtime, flow: Flow, task: Reduce, lease: Lease) -> None:
    """Merge and publish. Missing or invalid partials are computed again in the next round."""
    stored = await _load_partials(runtime, flow, lease)
    if stored is None:
        return
    if isinstance(flow.spec, StoreSpec):
        await _join(runtime, flow, flow.spec, stored, lease)
    elif isinstance(flow.spec, ScoringSpec):
        outcome, cached = await _publish(runtime, flow, flow.spec, stored, lease)
        await runtime.flows.finish(flow, outcome=outcome, cached=cached, lease=lease)


async def _join(runtime: Runtime, flow: Flow, spec: StoreSpec, stored: Sequence[StoredPartial], lease: Lease) -> None:
    """Join the parts of a fit or an evaluation."""
    if isinstance(spec, FitSpec):
        unusable, answer = await join_fit(runtime, flow, spec, stored, lease)
    else:
        unusable, answer = await join_evaluation(runtime, spec, stored)
    if unusable:
        return await rework(runtime, flow, lease, unusable)
    if isinstance(spec, FitSpec):
        # Waiting clients will ask for lists at once.
        await runtime.note_published(model_id(spec.snapshot, config_of(spec)))
    if await runtime.flows.finish(flow, answer, lease=lease):
        await remember_fit(runtime, flow)
        if leaves_no_parts(spec):
            await _delete_parts(runtime, stored, answer)
    return None


async def _delete_parts(runtime: Runtime, stored: Sequence[StoredPartial], answer: bytes) -> None:
    """Delete the parts of an evaluation, which leaves nothing behind. Retention deletes those of other fits."""

    def delete() -> None:
        for name in {part.name for part in stored if isinstance(part, Part)} - {answer.decode()}:
            runtime.store.delete("parts", name)

    await runtime.in_store(delete)


async def _load_partials(runtime: Runtime, flow: Flow, lease: Lease) -> list[StoredPartial] | None:
    """The partials of all chunk tasks in order. None if some were unusable and the flow was sent back."""
    found: dict[int, StoredPartial] = {}
    bounds = flow.plan.bounds if flow.plan else []
    unusable: list[bytes] = []
    wanted = {b"%d" % index: index for index in range(flow.tasks)}
    kind = Part if isinstance(flow.spec, StoreSpec) else Best
    sizes = await _sizes(runtime, flow)
    for name, data in (lease.prefetched or await runtime.flows.partials(flow.id)).items():
        try:
            if name not in wanted:
                raise WireError("The partial has no chunk task in this flow.")
            partial = PARTIAL.decode(data, digest_context(flow.id, wanted[name], bounds, flow.block))
            if not isinstance(partial, kind):
                raise WireError("The partial belongs to another kind of flow.")
            if isinstance(partial, Best):
                check_best(partial, *sizes)
            found[wanted[name]] = partial
        except WireError:
            await runtime.flows.refusals.field("partial", flow.id, runtime.keys.partials(flow.id), name, data)
            unusable.append(name)
    if len(found) == flow.tasks and not unusable:
        return [found[index] for index in range(flow.tasks)]
    await rework(runtime, flow, lease, [index for index in range(flow.tasks) if index not in found], unusable)
    return None


async def _sizes(runtime: Runtime, flow: Flow) -> tuple[int, int]:
    """The number of a scoring job's histories, and of the items that it can name; zeros for others."""
    if not isinstance(flow.spec, ScoringSpec):
        return 0, 0
    snapshot = await runtime.snapshot((await runtime.record(flow.spec.generation)).snapshot)
    histories = len(users_of(flow.spec, flow.block or 0, snapshot)) if isinstance(flow.spec, BlockSpec) else 1
    return histories, snapshot.n_items


def check_best(partial: Best, histories: int, items: int) -> None:
    """Check a partial for so many histories and items: kernels trust it.

    Raises:
        WireError: a size is wrong, an index is out of range, or a score is not above zero and finite.
    """
    try:
        best = _arrays(partial)
    except ValueError as error:
        raise WireError(f"The partial is invalid: {error}.") from error
    places = int(best.counts.sum(dtype=np.int64))
    if best.counts.size != histories or any(array.size != places for array in best[1:]):
        raise WireError("The partial has a wrong number of users or places.")
    if places and max(best.items.max(), best.reasons.max()) >= items:
        raise WireError("The partial names an item that does not exist.")
    if not (np.isfinite(best.scores).all() and (best.scores > 0).all()):
        raise WireError("The partial has a score that is not above zero.")


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


async def _publish(
    runtime: Runtime, flow: Flow, spec: ScoringSpec, stored: Sequence[StoredPartial], lease: Lease
) -> tuple[Outcome | None, Cached | None]:
    """Write a block's lists; the list of a user or a basket is written by the script that ends its flow."""
    record = await runtime.record(spec.generation)
    snapshot = await runtime.snapshot(record.snapshot)
    partials = [_arrays(partial) for partial in stored if isinstance(partial, Best)]
    length = places_of(spec, record)
    if not isinstance(spec, BlockSpec):
        best = merge(partials, length) if partials else NOTHING
        frozen = (flow.plan and flow.plan.frozen) or Frozen()
        if spec.filter:
            length = max(record.places, spec.filter.pool) if spec.filter.long else record.places
            if spec.filter.diversity:
                best = await _diverse(runtime, spec.filter, best, record, length)
        cached = runtime.results.cached(
            spec, one_list(spec, best, snapshot, frozen, length), runtime.settings.result_ttl_s
        )
        # If the snapshot has changed meanwhile, a retry encodes the list again.
        await runtime.require_current(snapshot, closely=False)
        return None, cached
    block = Block(users_of(spec, flow.block or 0, snapshot), snapshot, record)

    def compute(stop: NDArray[np.uint8]) -> MadeLists | None:
        return make_lists(runtime, block, merge(partials, length), stop)

    made = await runtime.kernel("batch", compute)
    await runtime.require_current(snapshot, closely=True)
    outcome = await publish_block(runtime, made, lease)
    tasks = Counter(trace.worker for trace in (await runtime.flows.traces(flow.id)).values())
    return msgspec.structs.replace(outcome, tasks=tasks), None


async def _diverse(runtime: Runtime, wanted: Filter, best: Partial, record: Record, length: int) -> Partial:
    """So many places of one list in an order in which the first ones are not alike."""
    model = await runtime.model(record.model)
    rows = model.row_ptr, model.row_items, model.row_values
    chosen = await runtime.in_thread(lambda: choose_diverse(best.items, best.scores, *rows, wanted.diversity, length))
    await runtime.require_current(model, closely=False)
    return Partial(np.array([chosen.size], np.uint32), best.items[chosen], best.scores[chosen], best.reasons[chosen])


# The list of a basket without known items.
NOTHING = Partial(np.zeros(1, np.uint32), np.empty(0, np.uint32), np.empty(0, np.float32), np.empty(0, np.uint32))


def _arrays(partial: Best) -> Partial:
    return Partial(
        np.frombuffer(partial.counts, np.uint32),
        np.frombuffer(partial.items, np.uint32),
        np.frombuffer(partial.scores, np.float32),
        np.frombuffer(partial.reasons, np.uint32),
    )
