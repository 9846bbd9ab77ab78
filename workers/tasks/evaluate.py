"""The scoring of an evaluation: its split, chunk and reduce tasks make lists for some users of a snapshot."""

import asyncio
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError
from reckoner.shared.redis.scripts.constants import MAX_TASKS
from reckoner.shared.store.balance import balance
from reckoner.shared.store.evaluation_parts import NOTHING, Lists, get_lists, get_users, put_lists
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.snapshots import Snapshot
from reckoner.shared.wire.shapes import EvaluationSpec, Part, Plan, StoreSpec
from reckoner.shared.wire.shapes import Partial as StoredPartial
from reckoner.workers.kernels.scoring.merge import Partial
from reckoner.workers.kernels.scoring.score import ADDITIONS_PER_MS, LeftOut, score_users
from reckoner.workers.runtime.runtime import Runtime
from reckoner.workers.tasks.histories import Histories

# The planned duration of a task: so long that putting its part into the store costs little beside it.
TASK_MS = 100


def leaves_no_parts(spec: StoreSpec) -> bool:
    """Whether the parts of a job are deleted at its end, as those of an evaluation and its fits."""
    return isinstance(spec, EvaluationSpec) or spec.only_model


async def plan_evaluation(runtime: Runtime, spec: EvaluationSpec) -> Plan:
    """The ranges of users of an evaluation's chunk tasks, of about equal cost."""
    users = await runtime.in_store(lambda: get_users(runtime.store, spec.users))
    model, snapshot = await runtime.model(spec.model), await runtime.snapshot(spec.snapshot)
    lengths = snapshot.user_ptr[users + np.uint32(1)] - snapshot.user_ptr[users]
    additions = int(lengths.sum()) * model.row_items.size // max(snapshot.n_items, 1)
    tasks = additions // (ADDITIONS_PER_MS * TASK_MS)
    least = runtime.settings.tasks_per_job
    # One more for each user, whose list costs something too.
    return Plan(balance(lengths + 1, min(max(tasks, least), MAX_TASKS)).tolist())


async def score_part(runtime: Runtime, spec: EvaluationSpec, first: int, last: int) -> Part:
    """Score the users first..last-1 over the whole catalogue, and put their lists into the store."""
    users = await runtime.in_store(lambda: get_users(runtime.store, spec.users))
    model, snapshot = await runtime.model(spec.model), await runtime.snapshot(spec.snapshot)
    layout = await runtime.layout(model, 0, snapshot.n_items, "batch")
    histories = histories_of(snapshot, users[first:last])

    def score(stop: NDArray[np.uint8]) -> Partial | None:
        weighed = histories.weighed(spec.recency, stop)
        if weighed is None:
            return None
        return score_users(
            *(layout.candidates, *weighed, spec.list_length),
            left=histories.left_out,
            with_reasons=spec.with_reasons,
            scratch=runtime.layouts.scratch.room_for(layout.candidates),
            stop=stop,
        )

    best = await runtime.kernel("batch", score)
    await runtime.require_current(model, snapshot, layout=layout, closely=True)
    lists = Lists(best.counts, best.items, best.reasons if spec.with_reasons else NOTHING)
    return Part(await runtime.in_store(lambda: put_lists(runtime.store, spec, lists)))


def histories_of(snapshot: Snapshot, users: NDArray[np.uint32]) -> Histories:
    """The histories of some users, uint32[n]."""
    ptr, taken = _rows(snapshot.user_ptr, users)
    weights, times, left = snapshot.user_weights, snapshot.user_times, None
    if snapshot.left_ptr is not None and snapshot.left_items is not None:
        left_ptr, left_taken = _rows(snapshot.left_ptr, users)
        left = LeftOut(left_ptr, snapshot.left_items[left_taken])
    return Histories(
        *(ptr, snapshot.user_items[taken]),
        None if weights is None else weights[taken],
        None if times is None else times[taken],
        left,
    )


def _rows(ptr: NDArray[np.int64], users: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pointers of some rows of a CSR matrix, int64[n + 1], and where their elements are, int64[]."""
    starts, ends = ptr[users], ptr[users + np.uint32(1)]
    new = np.concatenate(([0], np.cumsum(ends - starts)))
    return new, np.repeat(starts - new[:-1], ends - starts) + np.arange(new[-1])


async def join_evaluation(
    runtime: Runtime, spec: EvaluationSpec, stored: Sequence[StoredPartial]
) -> tuple[list[int], bytes]:
    """Join the lists of all users in one part of the store.

    Returns:
        The indices of missing or damaged parts; if there are any, nothing is put.
        The answer: the name of the part.
    """
    names = [part.name for part in stored if isinstance(part, Part)]
    reading = (runtime.in_store(partial(_read_lists, runtime.store, name)) for name in names)
    found = await asyncio.gather(*reading)
    lists = [part for part in found if part is not None]
    if len(lists) < len(found):
        return [index for index, part in enumerate(found) if part is None], b""
    joined = Lists(*map(np.concatenate, zip(Lists(NOTHING, NOTHING), *lists, strict=True)))
    answer = await runtime.in_store(lambda: put_lists(runtime.store, spec, joined))
    return [], answer.encode()


def _read_lists(store: Store, name: str) -> Lists | None:
    try:
        return get_lists(store, name)
    except (ArtifactMissingError, ArtifactDamagedError):
        return None
