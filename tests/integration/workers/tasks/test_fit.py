"""The fit: an existing model is reused, a damaged one rebuilt, and its generation stays."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from structlog.testing import capture_logs

import reckoner.workers.runtime.building
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.history import ENTRY, Entry, History, entry_file
from reckoner.shared.store.catalogue import make_catalogue
from reckoner.shared.store.model_config import ModelConfig, fit_spec, model_id
from reckoner.shared.store.models import Model, open_model
from reckoner.shared.store.snapshots import Snapshot, open_snapshot, write_snapshot
from reckoner.shared.wire.jobs import Split
from reckoner.shared.wire.shapes import FitSpec
from reckoner.workers.runtime import environment_trouble
from tests.building import same_bytes
from tests.interactions import Interactions, from_pairs
from tests.reference import reference_rows
from tests.slim import Options, reference_slim
from tests.world import ITEMS, Generation, Hand, World


async def fit(hand: Hand, generation: Generation) -> str:
    [flow] = await hand.runtime.flows.create([generation.fit], [hand.runtime.keys.join_fit(generation.id)])
    return flow


async def answer(hand: Hand, flow_id: str) -> tuple[str, str]:
    flow = await hand.runtime.flows.load(flow_id)
    assert flow is not None
    return flow.state, flow.answer.decode()


async def test_a_model_that_is_there_is_not_built_again(hand: Hand, own_world: World) -> None:
    """Its fit has no chunk tasks, and answers with the generation."""
    generation = own_world.generations[0]
    flow = await fit(hand, generation)
    await hand.deliver(Split(flow).job_id)
    assert await hand.queued() == [f"reduce:{flow}:0"]
    await hand.deliver_all()
    assert await answer(hand, flow) == ("done", generation.id)


async def test_a_model_that_takes_long_to_verify_is_waited_for_again(
    hand: Hand, own_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if it takes longer than a task may run; once per fit."""
    generation, runtime, end, verified = own_world.generations[0], hand.runtime, threading.Event(), list[str]()
    await runtime.model(generation.record.model)

    def verify(directory: Path, *, verify: bool = False) -> Model:
        end.wait()
        verified.append(directory.name)
        return open_model(directory, verify=verify)

    monkeypatch.setattr("reckoner.workers.runtime.runtime.open_model", verify)
    monkeypatch.setattr(runtime.scheduler, "patience_s", 0.05)
    flow = await fit(hand, generation)
    for _ in range(2):
        assert await hand.deliver(Split(flow).job_id) == "split"
        assert await hand.queued() == [Split(flow).job_id]
    end.set()
    await hand.deliver_all()
    assert await answer(hand, flow) == ("done", generation.id)
    assert verified == [generation.record.model]
    await fit(hand, generation)
    await hand.deliver_all()
    assert verified == [generation.record.model] * 2


@pytest.mark.parametrize("how", ["flipped", "cut", "gone", "manifest", "facts"])
async def test_a_damaged_model_is_built_again(hand: Hand, own_world: World, how: str) -> None:
    """The fit repairs any damage; processes that have the model open read on."""
    generation = own_world.generations[0]
    directory = own_world.store.root / "models" / generation.record.model
    opened = open_model(directory)
    values = opened.row_values.copy()
    path = directory / ("manifest.json" if how in ("manifest", "facts") else "row_values.npy")
    data = path.read_bytes()
    path.unlink()
    if how == "flipped":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif how in ("cut", "manifest"):
        path.write_bytes(data[: len(data) // 2])
    elif how == "facts":
        path.write_bytes(data.replace(b'"cosine"', b'"nothing"'))
    flow = await fit(hand, generation)
    await hand.deliver_all()
    assert await answer(hand, flow) == ("done", generation.id)
    mended = open_model(own_world.store.fetch("models", generation.record.model), verify=True)
    assert (mended.row_values == values).all()
    assert (opened.row_values == values).all()


async def test_a_model_that_was_built_again_is_opened_again(hand: Hand, own_world: World) -> None:
    """A worker that has the damaged bytes mapped lets go of them at once when it has built it itself.

    While none lies in the store it keeps what it has.
    """
    generation = await hand.adopt(own_world)
    path = own_world.store.root / "models" / generation.record.model / "row_values.npy"
    opened = await hand.runtime.model(generation.record.model)
    good = opened.row_values.copy()
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x00")
    assert (opened.row_values != good).any()
    own_world.store.delete("models", generation.record.model)
    assert await hand.runtime.model(generation.record.model) is opened
    await fit(hand, generation)
    await hand.deliver_all()
    assert ((await hand.runtime.model(generation.record.model)).row_values == good).all()


async def test_titles_are_written_where_they_are_missing(hand: Hand, own_world: World) -> None:
    """The fit takes them from the snapshot; items without one have no field."""
    await fit(hand, own_world.generations[0])
    await hand.deliver_all()
    titles = await ask(hand.redis, "HGETALL", hand.runtime.keys.titles(own_world.snapshot.id))
    assert {item.decode(): title.decode() for item, title in titles.items()} == own_world.titles


async def test_what_a_fit_is_laid_out_as_is_kept_while_its_tasks_come(
    hand: Hand, own_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layout is released without further tasks, and not made by a planner without tasks."""
    lay_out, made = reckoner.workers.runtime.building.lay_out, []

    def laid_out(*arguments: Any) -> Any:
        made.append(lay_out(*arguments))
        return made[-1]

    monkeypatch.setattr(reckoner.workers.runtime.building, "lay_out", laid_out)
    monkeypatch.setattr("reckoner.workers.runtime.layouts.FIT_KEPT_S", 0.5)
    flow = await fit(hand, own_world.unfitted)
    await hand.deliver(Split(flow).job_id)
    first, second, third = await hand.queued()
    assert not made
    for job, times in ((first, 1), (second, 2)):
        await asyncio.sleep(1.0)
        await hand.deliver(job)
        assert len(made) == times
    await hand.deliver(third)
    assert len(made) == 2


@pytest.mark.parametrize("config", [ModelConfig(neighbours=20), ModelConfig("jaccard", 20)], ids=lambda c: c.similarity)
async def test_items_with_few_shared_users_have_sparse_rows(hand: Hand, own_world: World, config: ModelConfig) -> None:
    """In the parts of one fit, beside the dense rows of popular items, which get entries from sparse ones too."""
    n_users, n_items, rng = 500, 700, np.random.default_rng(5)
    # Everybody has some of the same few items, and one of many others.
    pairs = {(user, int(item)): 1.0 for user in range(n_users) for item in rng.choice(8, 3, replace=False)}
    pairs |= {(user, int(rng.integers(60, n_items))): 1.0 for user in range(n_users)}
    data = from_pairs(pairs, n_users=n_users, n_items=n_items)
    with own_world.store.scratch() as scratch:
        snapshot = write_snapshot(
            scratch,
            user_ids=[f"user {number:03}" for number in range(n_users)],
            item_ids=[f"item {number:03}" for number in range(n_items)],
            users=np.repeat(np.arange(n_users), np.diff(data.user_ptr)),
            items=data.user_items,
        )
        own_world.store.publish("snapshots", snapshot, scratch)
    spec = FitSpec(snapshot, config.similarity, config.neighbours, config.shrink, 20)
    [flow_id] = await hand.runtime.flows.create([spec], [hand.runtime.keys.join_fit("sparse")])
    await hand.deliver(Split(flow_id).job_id)
    flow = await hand.runtime.flows.load(flow_id)
    assert flow is not None
    assert flow.plan is not None
    assert 0 < flow.plan.popular < n_items
    assert flow.tasks > 1
    await hand.deliver_all()
    model = await hand.runtime.model(model_id(snapshot, config))
    assert same_bytes(
        (model.row_ptr, model.row_items, model.row_values), reference_rows(*data.arrays, **config.facts())
    )


@pytest.mark.parametrize("neighbours", [100, 3])
async def test_slim_is_built_by_ranges_of_targets(hand: Hand, own_world: World, neighbours: int) -> None:
    """The model has the reference's bytes, and a row may be longer than K."""
    made, config = own_world.unfitted.record.snapshot, ModelConfig("slim", neighbours, l1=0.25, l2=2.0, l2_share=0.1)
    [flow_id] = await hand.runtime.flows.create([fit_spec(made, config, 20)], [hand.runtime.keys.join_fit("slim")])
    await hand.deliver(Split(flow_id).job_id)
    flow = await hand.runtime.flows.load(flow_id)
    assert flow is not None
    assert flow.tasks > 1
    await hand.deliver_all()
    assert (await answer(hand, flow_id))[0] == "done"
    model, snapshot = await hand.runtime.model(model_id(made, config)), await hand.runtime.snapshot(made)
    options = Options(neighbours=neighbours, l1=0.25, l2=2.0, l2_share=0.1)
    data = Interactions(
        *(snapshot.user_ptr, snapshot.user_items, snapshot.user_weights),
        *(snapshot.item_ptr, snapshot.item_users, snapshot.item_weights),
    )
    expected = reference_slim(data, options)
    assert same_bytes((model.row_ptr, model.row_items, model.row_values), expected)
    assert neighbours == 100 or model.longest_row > neighbours


@pytest.mark.parametrize(("narrow", "loaded"), [(40, 0), (39, 1)])
async def test_kernels_for_many_items_are_compiled_before_a_task_computes(
    hand: Hand, own_world: World, monkeypatch: pytest.MonkeyPatch, narrow: int, loaded: int
) -> None:
    """For wide ranks, once, and outside the kernel's time."""
    threads: list[str] = []
    monkeypatch.setattr("reckoner.workers.runtime.model_kinds.NARROW", narrow)
    monkeypatch.setattr(
        "reckoner.workers.runtime.model_kinds.compile_rest", lambda: threads.append(threading.current_thread().name)
    )
    flow = await fit(hand, own_world.unfitted)
    await hand.deliver_all()
    assert (await answer(hand, flow))[0] == "done"
    assert len(threads) == loaded
    assert all(thread.startswith("blocking") for thread in threads)


async def remembered(hand: Hand) -> list[Entry]:
    return await History(hand.redis, hand.runtime.keys).newest()


async def test_a_fit_is_remembered(hand: Hand, own_world: World) -> None:
    """With what it made, once; the rebuild of a damaged model is not."""
    made = own_world.unfitted
    flow = await fit(hand, made)
    await hand.deliver(Split(flow).job_id)
    ended = await hand.runtime.flows.load(flow)
    await hand.deliver_all()
    await hand.run("reduce", [flow, 0], f"reduce:{flow}:0")
    [entry] = await remembered(hand)
    assert ended is not None
    assert (entry.id, entry.kind, entry.outcome, entry.reasons) == (flow, "fit", "done", [])
    assert (entry.snapshot, entry.model, entry.generation) == (made.fit.snapshot, made.record.model, made.id)
    assert ended.created_ms == entry.started_ms <= entry.ended_ms <= await hand.runtime.now_ms()
    kept = own_world.store.root / "history" / f"{entry_file(entry)}.json"
    assert ENTRY.decode(kept.read_bytes()) == entry
    heals = msgspec.structs.replace(made.fit, only_model=True)
    await hand.runtime.flows.create([heals], [hand.runtime.keys.join_model(made.record.model)])
    await hand.deliver_all()
    assert await remembered(hand) == [entry]


async def test_a_fit_that_fails_is_remembered_with_its_reason(
    hand: Hand, own_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its snapshot, or with a configuration that no release knows."""
    monkeypatch.setattr(environment_trouble, "HIDDEN_S", 0.0)
    spec, keys = own_world.unfitted.fit, hand.runtime.keys
    gone = msgspec.structs.replace(spec, snapshot="gone")
    foreign = msgspec.structs.replace(spec, similarity="foreign")
    reasons = dict[str, tuple[str, list[str]]]()
    for number, each in enumerate((gone, foreign)):
        [flow] = await hand.runtime.flows.create([each], [keys.join_fit(str(number))])
        await hand.deliver_all()
        failed = await hand.runtime.flows.load(flow)
        assert failed is not None
        assert failed.reason
        reasons[flow] = ("failed", [failed.reason])
    entries = await remembered(hand)
    assert {entry.id: (entry.outcome, entry.reasons) for entry in entries} == reasons
    assert [bool(entry.model) for entry in sorted(entries, key=lambda entry: entry.snapshot != "gone")] == [True, False]


async def test_a_fit_whose_history_is_not_kept_is_done(hand: Hand, own_world: World) -> None:
    """It is logged."""
    await ask(hand.redis, "SET", hand.runtime.keys.history, "planted")
    flow = await fit(hand, own_world.generations[0])
    with capture_logs() as logs:
        await hand.deliver_all()
    assert await answer(hand, flow) == ("done", own_world.generations[0].id)
    assert [log["id"] for log in logs if log["event"] == "history not kept"] == [flow]


async def test_fits_with_equal_parts_share_none(hand: Hand, own_world: World) -> None:
    """One that makes only a model deletes its own parts, so no task of the other is repeated."""
    configs, flows = [ModelConfig(neighbours=len(ITEMS)), ModelConfig(neighbours=len(ITEMS) + 1)], list[str]()
    for config in configs:
        spec = fit_spec(own_world.snapshot.id, config, 5, only_model=True)
        join = hand.runtime.keys.join_model(model_id(own_world.snapshot.id, config))
        flows += await hand.runtime.flows.create([spec], [join])
    await hand.deliver_all(but=lambda job: job.startswith("reduce:"))
    for flow in flows:
        await hand.deliver(f"reduce:{flow}:0")
        assert await answer(hand, flow) == ("done", "")
    assert not list(own_world.store.entries("parts"))


async def test_tags_and_named_lists_are_written_beside_the_titles(hand: Hand, own_world: World) -> None:
    """With the spare places, and with live changes of tags; a later fit with shorter lists leaves them as long."""
    keys, results, tagged = hand.runtime.keys, hand.runtime.results, publish_tags(own_world)
    popular = [ITEMS[item] for item in tagged.popular(len(ITEMS)).tolist()]
    evens = [item for item in popular if int(item[-2:]) % 2 == 0]
    for list_length, sale in ((20, None), (5, [ITEMS[0]])):
        spec = fit_spec(tagged.id, own_world.unfitted.config, list_length, spare=10)
        await hand.runtime.flows.create([spec], [keys.join_fit(f"of length {list_length}")])
        await hand.deliver_all()
        found = await results.named_lists.read(tagged.id, ["popular", "popular:even", "popular:sale", "trending"])
        assert found == [popular[:30], evens[:30], sale, None]
        assert await ask(hand.redis, "HGET", keys.tags(tagged.id), ITEMS[2]) == b'["even"]'
        assert await ask(hand.redis, "HEXISTS", keys.tags(tagged.id), ITEMS[1]) == 0
        assert [await ask(hand.redis, "TTL", stem + tagged.id) for stem in keys.snapshot_stems[1:]] == [-1, -1]
        await results.tags.change(tagged.id, ITEMS[0], add=["sale"])


def publish_tags(world: World) -> Snapshot:
    """The snapshot of the world with a tag for every second item."""
    snapshot = world.snapshot
    with world.store.scratch() as scratch:
        made = write_snapshot(
            scratch,
            user_ids=snapshot.users,
            item_ids=snapshot.items,
            users=np.repeat(np.arange(snapshot.n_users), np.diff(snapshot.user_ptr)),
            items=snapshot.user_items,
            catalogue=make_catalogue([["even"] if number % 2 == 0 else [] for number in range(len(ITEMS))]),
        )
        world.store.publish("snapshots", made, scratch)
    return open_snapshot(world.store.fetch("snapshots", made))
