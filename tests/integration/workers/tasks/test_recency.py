"""Recency: later items of a history count more, with the same bytes however the work is divided."""

from collections.abc import Mapping
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from reckoner.shared.store.evaluation_parts import get_lists, put_users
from reckoner.shared.store.models import open_model
from reckoner.shared.store.snapshots import open_snapshot
from reckoner.shared.wire.shapes import RESULT, EvaluationSpec, FitSpec, Record, Result, UserSpec
from tests.reference import reference_lists, reference_weights
from tests.world import ITEMS, LIST_LENGTH, Hand, World, places


def expected_lists(world: World, record: Record) -> Mapping[str, bytes]:
    """The cached bytes of all users."""
    snapshot = open_snapshot(world.store.fetch("snapshots", record.snapshot))
    model = open_model(world.store.fetch("models", record.model))
    assert snapshot.user_times is not None
    assert record.options.recency
    weights = reference_weights(snapshot.user_ptr, snapshot.user_times, snapshot.user_weights, record.options.recency)
    lists = reference_lists(
        *(model.row_ptr, model.row_items, model.row_values, snapshot.user_ptr, snapshot.user_items, weights),
        length=LIST_LENGTH,
    )
    users = [snapshot.users[user] for user in range(snapshot.n_users)]
    return {user: RESULT.encode(Result(2, places(found))) for user, found in zip(users, lists, strict=True)}


async def cached_lists(hand: Hand, record: Record, users: Mapping[str, bytes]) -> dict[str, bytes]:
    names = [hand.runtime.keys.result(record.generation, user) for user in users]
    return dict(zip(users, await hand.redis.mget(names), strict=True))


@pytest.mark.parametrize("tasks", [1, 3, 40])
async def test_clicks_have_the_lists_of_the_reference(own_world: World, hand: Hand, recent: Record, tasks: int) -> None:
    """Byte for byte, for any number of chunk tasks; imported weights count too."""
    settings = msgspec.structs.replace(hand.runtime.settings, tasks_per_job=tasks, chunks=40)
    hand.runtime = replace(hand.runtime, settings=settings)
    expected = expected_lists(own_world, recent)
    for user in expected:
        join = hand.runtime.keys.join_user(recent.generation, user)
        await hand.runtime.flows.create([UserSpec(user, recent.generation)], [join])
    await hand.deliver_all()
    assert await cached_lists(hand, recent, expected) == expected


@pytest.mark.parametrize("block", [1, 7, 25])
@pytest.mark.parametrize("task_ms", [1e-6, 20.0], ids=["many tasks", "one task"])
async def test_blocks_have_the_lists_of_the_reference(
    own_world: World, hand: Hand, recent: Record, block: int, task_ms: float
) -> None:
    """Byte for byte, for any size of a block and any number of tasks."""
    settings = msgspec.structs.replace(hand.runtime.settings, batch_task_ms=task_ms, chunks=5)
    hand.runtime = replace(hand.runtime, settings=settings)
    await hand.runtime.runs.start(recent, block, 3)
    await hand.deliver_all()
    expected = expected_lists(own_world, recent)
    assert await cached_lists(hand, recent, expected) == expected


async def test_an_evaluation_has_the_lists_of_the_reference(own_world: World, hand: Hand, recent: Record) -> None:
    """Those of the users that it asks for, in one task or several."""
    users, expected = np.arange(1, 25, 3, dtype=np.uint32), list(expected_lists(own_world, recent).values())
    for tasks in (1, 4):
        settings = msgspec.structs.replace(hand.runtime.settings, tasks_per_job=tasks)
        hand.runtime = replace(hand.runtime, settings=settings)
        part = put_users(own_world.store, recent.snapshot, users)
        spec = EvaluationSpec(recent.snapshot, recent.model, part, LIST_LENGTH, recent.options.recency)
        [flow_id] = await hand.runtime.flows.create([spec], [hand.runtime.keys.join_evaluation(b"%d" % tasks)], "batch")
        await hand.deliver_all()
        flow = await hand.runtime.flows.load(flow_id)
        assert flow is not None
        assert (flow.state, flow.tasks) == ("done", tasks)
        found = get_lists(own_world.store, flow.answer.decode())
        lists = [items.tolist() for items in np.split(found.items, np.cumsum(found.counts)[:-1])]
        wanted = [[place.item for place in RESULT.decode(expected[user]).items] for user in users]
        assert [[ITEMS[item] for item in items] for items in lists] == wanted


async def test_recency_changes_the_generation_and_not_the_model(weighted: Record, recent: Record) -> None:
    """Its record says it; without recency there is no such option."""
    assert (recent.model, recent.snapshot) == (weighted.model, weighted.snapshot)
    assert recent.generation != weighted.generation
    assert msgspec.to_builtins(recent.options) == msgspec.to_builtins(weighted.options) | {"recency": 0.5}


async def test_a_fit_with_recency_of_data_without_times_fails_in_one_sentence(own_world: World, hand: Hand) -> None:
    """Whoever asked for it; the model may be there already."""
    record = (await hand.adopt(own_world)).record
    spec = FitSpec(record.snapshot, "cosine", 4, 0.0, LIST_LENGTH, recency=0.5)
    [flow_id] = await hand.runtime.flows.create([spec], [hand.runtime.keys.join_fit("recent")])
    await hand.deliver_all()
    flow = await hand.runtime.flows.load(flow_id)
    assert flow is not None
    assert (flow.state, flow.reason) == (
        "failed", f"a recency of 0.5 needs times, and snapshot {record.snapshot} has none",
    )  # fmt: skip
