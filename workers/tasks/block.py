"""Computes a block that fits one task: scores its users and caches their lists, without a partial in Redis."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from reckoner.shared.wire.shapes import BlockSpec, Frozen, Outcome
from reckoner.workers.engine.lease import Lease
from reckoner.workers.runtime.runtime import Runtime
from reckoner.workers.tasks.chunk import scoring, scoring_job, users_of
from reckoner.workers.tasks.publish import Block, MadeLists, make_lists, publish_block


async def compute_block(runtime: Runtime, spec: BlockSpec, block: int, frozen: Frozen | None, lease: Lease) -> Outcome:
    """Score a block's users over all candidates and write their lists to the cache. Returns the counts."""
    record, model, snapshot, histories, hidden = await scoring_job(runtime, spec, block, frozen)
    of = Block(users_of(spec, block, snapshot), snapshot, record)
    layout = await runtime.layout(model, 0, snapshot.n_items, "batch")
    score = scoring(runtime, layout, record, histories, hidden)

    def compute(stop: NDArray[np.uint8]) -> MadeLists | None:
        return make_lists(runtime, of, score(stop), stop)

    made = await runtime.kernel("batch", compute)
    await runtime.require_current(model, snapshot, layout=layout, closely=True)
    outcome = await publish_block(runtime, made, lease)
    return msgspec.structs.replace(outcome, tasks={runtime.worker_id: 1})
