"""The scoring of an evaluation: its lists by brute force, for any number of tasks, and after damage and repetition."""

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from reckoner.shared.redis.scripts import LeaseLostError
from reckoner.shared.store.evaluation_parts import get_lists, put_users
from reckoner.shared.wire.jobs import Split
from reckoner.shared.wire.shapes import SPEC, EvaluationSpec
from reckoner.workers.tasks.evaluate import histories_of
from tests.reference import reference_lists
from tests.world import ITEMS, Hand, World

# The model's lists are compared with those of the world, which have five places.
LENGTH = 5
ASKED = np.array([0, 2, 3, 5], np.uint32)


@pytest.fixture
def spec(own_world: World) -> EvaluationSpec:
    """The lists of four users by the world's second model."""
    users = put_users(own_world.store, own_world.snapshot.id, ASKED)
    return EvaluationSpec(own_world.snapshot.id, own_world.generations[1].record.model, users, LENGTH)


async def begin(hand: Hand, spec: EvaluationSpec) -> str:
    [flow] = await hand.runtime.flows.create([spec], [hand.runtime.keys.join_evaluation(SPEC.encode(spec))], "batch")
    return flow


async def answer(hand: Hand, flow_id: str) -> str:
    flow = await hand.runtime.flows.load(flow_id)
    assert flow is not None
    assert flow.state == "done", flow.reason
    return flow.answer.decode()


def parts(world: World) -> set[str]:
    return {entry.id for entry in world.store.entries("parts")}


@pytest.mark.parametrize(("tasks", "with_reasons"), [(1, True), (2, False), (3, True), (9, True)])
async def test_lists_are_the_same_for_any_number_of_tasks(
    hand: Hand, own_world: World, spec: EvaluationSpec, tasks: int, with_reasons: bool
) -> None:
    """Those of the reference, with reasons if asked. Only the joined part is left beside the users."""
    spec = msgspec.structs.replace(spec, with_reasons=with_reasons)
    hand.runtime = replace(hand.runtime, settings=msgspec.structs.replace(hand.runtime.settings, tasks_per_job=tasks))
    hand.worker.ctx["runtime"] = hand.runtime
    flow = await begin(hand, spec)
    await hand.deliver(Split(flow).job_id)
    assert len(await hand.queued()) == min(tasks, ASKED.size)
    await hand.deliver_all()
    name = await answer(hand, flow)
    lists = get_lists(own_world.store, name)
    found = [part.tolist() for part in np.split(lists.items, np.cumsum(lists.counts)[:-1])]
    data, model = own_world.snapshot, await hand.runtime.model(spec.model)
    wanted = reference_lists(
        model.row_ptr, model.row_items, model.row_values, data.user_ptr, data.user_items, None, length=LENGTH
    )
    assert found == [[entry.item for entry in wanted[user]] for user in ASKED.tolist()]
    reasons = [entry.reason for user in ASKED.tolist() for entry in wanted[user]]
    assert lists.reasons.tolist() == (reasons if with_reasons else [])
    assert parts(own_world) == {spec.users, name}


@pytest.mark.parametrize("how", ["gone", "damaged"])
async def test_a_part_that_is_lost_is_made_again(hand: Hand, own_world: World, spec: EvaluationSpec, how: str) -> None:
    """In the next round, with the same answer."""
    first = await begin(hand, spec)
    await hand.deliver_all()
    name = await answer(hand, first)
    own_world.store.delete("parts", name)
    flow = await begin(hand, spec)
    await hand.deliver_all(but=lambda job: job.startswith("reduce:"))
    for part in parts(own_world) - {spec.users}:
        path = own_world.store.root / "parts" / part
        path.unlink()
        if how == "damaged":
            path.write_bytes(b"damaged")
    await hand.deliver_all()
    assert await answer(hand, flow) == name
    assert get_lists(own_world.store, name).counts.size == ASKED.size


async def test_tasks_that_run_twice_change_nothing(hand: Hand, own_world: World, spec: EvaluationSpec) -> None:
    """A late delivery leaves the same state."""
    flow = await begin(hand, spec)
    ran = list[str]()
    while jobs := await hand.queued():
        for job in jobs:
            for _ in range(2):
                await hand.deliver(job)
        ran += jobs
    name, state = await answer(hand, flow), await hand.dump()
    for job in ran:
        await hand.deliver(job)
    assert await hand.dump() == state
    assert name in parts(own_world)


async def test_the_same_evaluation_is_joined(hand: Hand, spec: EvaluationSpec) -> None:
    """While it is under way."""
    assert await begin(hand, spec) == await begin(hand, spec)


async def test_an_evaluation_of_nobody_has_no_lists(hand: Hand, own_world: World, spec: EvaluationSpec) -> None:
    users = put_users(own_world.store, own_world.snapshot.id, np.empty(0, np.uint32))
    flow = await begin(hand, msgspec.structs.replace(spec, users=users))
    await hand.deliver_all()
    lists = get_lists(own_world.store, await answer(hand, flow))
    assert (lists.counts.size, lists.items.size) == (0, 0)


async def test_evaluations_with_equal_lists_share_no_part(hand: Hand, own_world: World, spec: EvaluationSpec) -> None:
    """One that ends deletes its own parts only, so no task of the other is repeated."""
    flows = [
        await begin(hand, msgspec.structs.replace(spec, list_length=length)) for length in (len(ITEMS), len(ITEMS) + 1)
    ]
    await hand.deliver_all(but=lambda job: job.startswith("reduce:"))
    names = list[str]()
    for flow in flows:
        await hand.deliver(f"reduce:{flow}:0")
        names.append(await answer(hand, flow))
    one, other = (get_lists(own_world.store, name) for name in names)
    assert one.items.tolist() == other.items.tolist()
    assert parts(own_world) == {spec.users, *names}


@pytest.mark.parametrize("spec_of", ["evaluation", "training fit", "fit"])
async def test_a_task_that_was_cancelled_meanwhile_deletes_its_part(
    hand: Hand, own_world: World, spec: EvaluationSpec, spec_of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else knows the part's name. That of another fit stays for the next one, until retention deletes it."""
    flows, before = hand.runtime.flows, parts(own_world)
    fit = msgspec.structs.replace(own_world.unfitted.fit, only_model=spec_of == "training fit")
    wanted = spec if spec_of == "evaluation" else fit
    [flow_id] = await flows.create([wanted], [hand.runtime.keys.join_model("a test")], "batch")
    await hand.deliver(Split(flow_id).job_id)
    store_partial = flows.store_partial

    async def cancel_first(*arguments: Any, **named: Any) -> str:
        flow = await flows.load(flow_id)
        assert flow is not None
        assert parts(own_world) > before
        await flows.cancel(flow)
        return await store_partial(*arguments, **named)

    monkeypatch.setattr(flows, "store_partial", cancel_first)
    [job, *_] = [name for name in await hand.queued() if name.startswith("chunk:")]
    with pytest.raises(LeaseLostError):
        await hand.deliver(job)
    assert (parts(own_world) == before) == (spec_of != "fit")


def test_an_evaluation_leaves_out_what_the_snapshot_says(own_world: World) -> None:
    """Of users in any order; without such items, their histories."""
    data, users = own_world.snapshot, np.array([3, 0, 5], np.uint32)
    assert histories_of(data, users).left is None
    ptr, items = np.array([0, 1, 1, 1, 3, 3, 4]), np.array([7, 2, 9, 4], np.uint32)
    left = histories_of(replace(data, left_ptr=ptr, left_items=items), users).left
    assert left is not None
    assert [part.tolist() for part in np.split(left.items, left.ptr[1:-1])] == [[2, 9], [7], [4]]
