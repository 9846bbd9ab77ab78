"""Questions: a split answers them without another task and without a lasting key."""

import numpy as np
import pytest

from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.redis.keys import job_key
from reckoner.shared.redis.scripts import ask
from reckoner.shared.store.models import Model, open_model
from reckoner.shared.store.snapshots import Snapshot, open_snapshot
from reckoner.shared.wire.jobs import Split
from reckoner.shared.wire.shapes import (
    REPLY,
    SPEC,
    FitSpec,
    History,
    HistoryItem,
    HistorySpec,
    Neighbours,
    Pair,
    Plan,
    QuestionSpec,
    Record,
    Reply,
    SimilarItem,
    SimilarSpec,
    Unknown,
)
from reckoner.workers.maintenance.sweeper import Sweeper
from reckoner.workers.runtime import environment_trouble
from reckoner.workers.tasks.question import similar
from tests.world import ITEMS, LIST_LENGTH, USERS, Hand, World


async def ask_for(hand: Hand, spec: QuestionSpec) -> str:
    join = hand.runtime.keys.join_question(spec.generation, SPEC.encode(spec))
    [flow] = await hand.runtime.flows.create([spec], [join])
    return flow


async def load(hand: Hand, flow_id: str) -> Flow:
    flow = await hand.runtime.flows.load(flow_id)
    assert flow is not None
    return flow


async def reply(hand: Hand, spec: QuestionSpec) -> Reply:
    flow_id = await ask_for(hand, spec)
    await hand.deliver(Split(flow_id).job_id)
    flow = await load(hand, flow_id)
    assert flow.state == "done"
    return REPLY.decode(flow.answer)


def artifacts(world: World, record: Record) -> tuple[Model, Snapshot]:
    model = open_model(world.store.fetch("models", record.model))
    return model, open_snapshot(world.store.fetch("snapshots", record.snapshot))


def users_of(snapshot: Snapshot, item: int) -> set[int]:
    return set(snapshot.item_users[snapshot.item_ptr[item] : snapshot.item_ptr[item + 1]].tolist())


async def unlimited(hand: Hand, record: Record, shrink: float) -> Record:
    """A generation of the same data whose model keeps every pair."""
    spec = FitSpec(record.snapshot, "cosine", 40, shrink, LIST_LENGTH)
    await hand.runtime.flows.create([spec], [hand.runtime.keys.join_fit("unlimited")])
    await hand.deliver_all()
    newest = await hand.runtime.results.generations.pointer(hand.runtime.keys.newest)
    assert newest is not None
    return await hand.runtime.record(newest)


async def check_neighbours(hand: Hand, world: World, record: Record) -> None:
    model, snapshot = artifacts(world, record)
    for item in range(snapshot.n_items):
        row = range(model.row_ptr[item], model.row_ptr[item + 1])
        ranked = sorted((-model.row_values[at], model.row_items[at]) for at in row)
        for n in (1, 3, 1000):
            found = await reply(hand, SimilarSpec(ITEMS[item], None, record.generation, n))
            expected = [SimilarItem(ITEMS[other], float(str(-value))) for value, other in ranked[:n]]
            assert found == Neighbours(len(users_of(snapshot, item)), expected)


async def test_an_item_has_the_neighbours_of_its_row(own_world: World, hand: Hand, weighted: Record) -> None:
    """The best n, then the smaller index, with the number of the item's users."""
    await check_neighbours(hand, own_world, (await hand.adopt(own_world, 1)).record)
    await check_neighbours(hand, own_world, weighted)


async def check_pairs(hand: Hand, world: World, record: Record, shrink: float) -> None:
    everything, _ = artifacts(world, await unlimited(hand, record, shrink))
    model, snapshot = artifacts(world, record)
    for item in range(snapshot.n_items):
        row = range(everything.row_ptr[item], everything.row_ptr[item + 1])
        stored = {int(everything.row_items[at]): float(str(everything.row_values[at])) for at in row}
        for other in range(snapshot.n_items):
            spec = SimilarSpec(ITEMS[item], ITEMS[other], record.generation, 1)
            found = similar(model, snapshot, spec, np.zeros(1, np.uint8))
            mine, others = users_of(snapshot, item), users_of(snapshot, other)
            assert isinstance(found, Pair)
            assert (found.users, found.other_users, found.shared_users) == (len(mine), len(others), len(mine & others))
            if item != other:
                assert found.similarity == stored.get(other, 0.0)
            if item == other // 2:
                assert await reply(hand, spec) == found


async def test_two_items_have_the_similarity_that_a_model_would_store(
    own_world: World, hand: Hand, weighted: Record
) -> None:
    """Even if this model did not keep it; 0 without common users."""
    await check_pairs(hand, own_world, (await hand.adopt(own_world, 2)).record, own_world.generations[2].config.shrink)
    await check_pairs(hand, own_world, weighted, 1.5)


async def test_an_item_compared_with_itself_is_put_into_the_formula(own_world: World, hand: Hand) -> None:
    """Its cosine is 1."""
    generation = await hand.adopt(own_world)
    count = len(users_of(own_world.snapshot, 0))
    assert await reply(hand, SimilarSpec(ITEMS[0], ITEMS[0], generation.id, 1)) == Pair(1.0, count, count, count)


async def test_a_history_without_times_and_weights_is_in_index_order(own_world: World, hand: Hand) -> None:
    """Its length and its first items; a user with an empty history is not unknown."""
    generation, snapshot = await hand.adopt(own_world), own_world.snapshot
    for user in range(len(USERS)):
        items = snapshot.user_items[snapshot.user_ptr[user] : snapshot.user_ptr[user + 1]].tolist()
        found = await reply(hand, HistorySpec(USERS[user], generation.id, 4))
        assert found == History(len(items), [HistoryItem(ITEMS[item], None, None) for item in items[:4]])


async def test_a_history_with_times_has_the_newest_first(own_world: World, hand: Hand, weighted: Record) -> None:
    """Of the same moment the smaller index; weights are the decimals that read back as the float32 they are."""
    _, snapshot = artifacts(own_world, weighted)
    assert snapshot.user_weights is not None
    assert snapshot.user_times is not None
    for user in range(0, snapshot.n_users, 4):
        row = range(snapshot.user_ptr[user], snapshot.user_ptr[user + 1])
        ranked = sorted((-int(snapshot.user_times[at]), int(snapshot.user_items[at]), at) for at in row)
        for n in (2, 1000):
            found = await reply(hand, HistorySpec(snapshot.users[user], weighted.generation, n))
            assert isinstance(found, History)
            assert found.count == len(row)
            assert [(i.item, i.time_ms) for i in found.items] == [(ITEMS[item], -time) for time, item, _ in ranked[:n]]
            weights = [snapshot.user_weights[at] for _, _, at in ranked[:n]]
            assert [np.float32(i.weight) for i in found.items] == weights
            assert [i.weight for i in found.items] == [float(str(weight)) for weight in weights]


async def test_what_the_snapshot_does_not_know_is_named(own_world: World, hand: Hand) -> None:
    """A user, an item, the other item or both; each once."""
    generation = (await hand.adopt(own_world)).id
    assert await reply(hand, HistorySpec("nobody", generation, 3)) == Unknown(["nobody"])
    for item, other, ids in (
        ("x", None, ["x"]),
        ("", ITEMS[0], [""]),
        (ITEMS[0], "ンテ", ["ンテ"]),
        ("x", "y", ["x", "y"]),
        ("x", "x", ["x"]),
    ):
        assert await reply(hand, SimilarSpec(item, other, generation, 3)) == Unknown(ids)


async def test_a_question_is_joined_while_it_is_under_way_and_leaves_its_answer_alone(
    own_world: World, hand: Hand
) -> None:
    """One split answers all callers of the same question, and is idempotent; later callers start a new one."""
    generation = await hand.adopt(own_world)
    spec = SimilarSpec(ITEMS[0], None, generation.id, 3)
    before = await hand.dump()
    flow = await ask_for(hand, spec)
    assert await ask_for(hand, spec) == flow
    assert await ask_for(hand, HistorySpec(USERS[0], generation.id, 3)) != flow
    await hand.run("split", [flow], Split(flow).job_id)
    answered = await hand.dump()
    await hand.run("split", [flow], Split(flow).job_id)
    assert await hand.dump() == answered
    await hand.deliver_all()
    assert await ask_for(hand, spec) != flow
    await hand.deliver_all()
    assert {name for name in await hand.dump() if ":flow:" not in name} == before.keys()


async def test_a_question_about_a_model_that_is_gone_fails_with_a_reason(
    own_world: World, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time that a mount may hide it. The history is in the snapshot, which exists."""
    monkeypatch.setattr(environment_trouble, "HIDDEN_S", 0.0)
    generation = await hand.adopt(own_world)
    own_world.store.delete("models", generation.record.model)
    flow = await ask_for(hand, SimilarSpec(ITEMS[0], None, generation.id, 3))
    await hand.deliver_all()
    ended = await load(hand, flow)
    assert ended.state == "failed"
    assert ended.reason.endswith(
        f" holds no model {generation.record.model}; run `reckoner fit` with the same options to rebuild it"
    )
    assert isinstance(await reply(hand, HistorySpec(USERS[0], generation.id, 3)), History)


@pytest.mark.parametrize("bounds", [[0], [0, 40]])
async def test_a_question_with_a_plan_is_damaged(own_world: World, hand: Hand, bounds: list[int]) -> None:
    """No worker would ever do the tasks of such a plan, so the flow ends."""
    generation = await hand.adopt(own_world)
    flow = await ask_for(hand, HistorySpec(USERS[0], generation.id, 3))
    assert await hand.runtime.flows.plan(flow, Plan(bounds), lease=None)
    await ask(hand.redis, "DEL", hand.runtime.keys.click, job_key(Split(flow).job_id))
    await hand.make_due()
    await Sweeper(hand.runtime).sweep()
    await hand.deliver_all()
    assert (await load(hand, flow)).state == "failed"
    assert not await ask(hand.redis, "EXISTS", *hand.runtime.keys.all_live)
