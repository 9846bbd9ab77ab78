"""Tasks store only results of the artifacts that are in the store at that moment."""

import sys
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

import reckoner.workers.runtime.artifact_cache
import reckoner.workers.tasks.publish
from reckoner.shared.store.directory import SEEN_WITHIN_S
from reckoner.shared.wire.shapes import BlockSpec, FitSpec, Options, ScoringSpec, UserSpec
from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.kernels.encoding.lists import encode_lists
from reckoner.workers.kernels.scoring.score import LeftOut, score_users
from reckoner.workers.runtime.layouts import Layouts
from reckoner.workers.tasks.chunk import histories_of, score_range, scoring
from reckoner.workers.tasks.fit import build_part
from tests.building import flag
from tests.tampering import flip
from tests.world import ITEMS, USERS, Generation, Hand, World, publish_model


def specs(generation: Generation) -> list[ScoringSpec]:
    return [UserSpec(USERS[0], generation.id), BlockSpec("r", generation.id, 2, "")]


async def test_lists_hold_nothing_that_is_left_out_or_hidden(hand: Hand, own_world: World) -> None:
    """What is left out is the history unless it is named, and nothing where the options say so."""
    generation = await hand.adopt(own_world)
    histories = histories_of(UserSpec(USERS[0], generation.id), 0, own_world.snapshot)
    layout = await hand.runtime.layout(await hand.runtime.model(generation.record.model), 0, len(ITEMS), "click")

    def found(options: Options, left: LeftOut | None = None, hidden: int | None = None) -> list[int]:
        mask = None if hidden is None else (np.arange(len(ITEMS)) == hidden).astype(np.uint8)
        best = scoring(
            hand.runtime,
            layout,
            msgspec.structs.replace(generation.record, options=options),
            histories._replace(left=left),
            mask,
        )(flag())
        assert best is not None
        return [int(item) for item in best.items]

    whole = found(Options(len(ITEMS), exclude_history=False))
    listed, had = found(Options(len(ITEMS))), set(histories.held.tolist())
    assert had & set(whole)
    assert listed == [item for item in whole if item not in had]
    first = LeftOut(np.array([0, 1]), np.array(whole[:1], np.uint32))
    assert found(Options(len(ITEMS)), first) == whole[1:]
    assert found(Options(len(ITEMS)), None, listed[0]) == listed[1:]


@pytest.mark.parametrize("number", [0, 1], ids=["click", "block"])
async def test_no_list_uses_old_bytes_after_a_model_was_republished(
    hand: Hand, own_world: World, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """However recent the last check, and even if it is published during a kernel."""
    monkeypatch.setattr(reckoner.workers.runtime.artifact_cache, "FRESH_S", SEEN_WITHIN_S)
    generation = await hand.adopt(own_world)
    spec, model = specs(generation)[number], generation.record.model
    rows = await hand.runtime.model(model)
    right = await score_range(hand.runtime, spec, 0, 0, len(ITEMS), "click")
    # The package has a function of this name too.
    chunk = sys.modules[score_range.__module__]

    def publish_and_go_on(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(chunk, "score_users", score_users)
        store = own_world.store
        store.quarantine("models", model, store.fingerprint("models", model), "of a test")
        publish_model(store, own_world.snapshot, generation.config, (rows.row_ptr, rows.row_items, rows.row_values))
        return score_users(*arguments, **options)

    monkeypatch.setattr(chunk, "score_users", publish_and_go_on)
    with pytest.raises(NotNowError):
        await score_range(hand.runtime, spec, 0, 0, len(ITEMS), "click")
    assert await score_range(hand.runtime, spec, 0, 0, len(ITEMS), "click") == right
    assert await hand.runtime.model(model) is not rows


async def test_nothing_is_made_of_bytes_that_were_damaged_while_a_block_was_scored(
    hand: Hand, own_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed file is noticed when the kernel ends, and then verified."""
    monkeypatch.setattr(reckoner.workers.runtime.artifact_cache, "FRESH_S", 3600.0)
    generation = await hand.adopt(own_world)
    path = own_world.store.fetch("models", generation.record.model) / "row_values.npy"
    make = Layouts.make

    def damage_and_go_on(*arguments: Any) -> Any:
        flip(path, path.stat().st_size - 1, 5)
        return make(*arguments)

    monkeypatch.setattr(Layouts, "make", damage_and_go_on)
    with pytest.raises(NotNowError):
        await score_range(hand.runtime, specs(generation)[1], 0, 0, len(ITEMS), "batch")


@pytest.mark.parametrize("number", [0, 1], ids=["click", "block"])
async def test_nothing_is_made_of_a_layout_whose_file_was_damaged(
    hand: Hand, own_world: World, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It is noticed at the next check, and the layout is made again."""
    generation = await hand.adopt(own_world)
    spec = specs(generation)[number]
    right = await score_range(hand.runtime, spec, 0, 0, len(ITEMS), "click")
    [path] = (hand.runtime.settings.home_path / "layouts").rglob("*.0-40")
    monkeypatch.setattr(reckoner.workers.runtime.artifact_cache, "FRESH_S", 0.0)
    flip(path, path.stat().st_size - 80, 3)
    with pytest.raises(NotNowError):
        await score_range(hand.runtime, spec, 0, 0, len(ITEMS), "click")
    assert await score_range(hand.runtime, spec, 0, 0, len(ITEMS), "click") == right


async def test_no_part_of_a_fit_is_made_of_bytes_that_were_damaged_meanwhile(
    hand: Hand, own_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a new import of the same data it would be joined with the others."""
    monkeypatch.setattr(reckoner.workers.runtime.artifact_cache, "FRESH_S", 3600.0)
    spec = FitSpec(own_world.snapshot.id, "cosine", 4, 0.0, 5)
    path = own_world.store.fetch("snapshots", own_world.snapshot.id) / "user_items.npy"
    counting = Layouts.counting

    def damage_and_go_on(*arguments: Any) -> Any:
        flip(path, path.stat().st_size - 1, 5)
        return counting(*arguments)

    await build_part(hand.runtime, spec, 0, 1, 40)
    monkeypatch.setattr(Layouts, "counting", damage_and_go_on)
    with pytest.raises(NotNowError):
        await build_part(hand.runtime, spec, 0, 1, 40)


@pytest.mark.parametrize(("task", "task_ms"), [("split", 20.0), ("reduce", 1e-6)])
async def test_no_block_is_done_if_its_names_were_damaged_while_its_lists_were_encoded(
    hand: Hand, own_world: World, monkeypatch: pytest.MonkeyPatch, task: str, task_ms: float
) -> None:
    """Its lists would name other items, and the run would pass. In one job, and after the reduce of several tasks."""
    monkeypatch.setattr(reckoner.workers.runtime.artifact_cache, "FRESH_S", 3600.0)
    settings = msgspec.structs.replace(hand.runtime.settings, batch_task_ms=task_ms)
    hand.runtime = replace(hand.runtime, settings=settings)
    generation = await hand.adopt(own_world)
    run_id, _ = await hand.runtime.runs.start(generation.record, len(USERS), 1)
    await hand.deliver_all(but=lambda job: job.startswith(f"{task}:"))
    path = own_world.store.fetch("snapshots", own_world.snapshot.id) / "item_ids_blob.npy"

    def damage_and_encode(*arguments: Any) -> Any:
        flip(path, path.stat().st_size - 1, 0)
        return encode_lists(*arguments)

    monkeypatch.setattr(reckoner.workers.tasks.publish, "encode_lists", damage_and_encode)
    [job] = await hand.queued()
    name, flow, *rest = job.split(":")
    with pytest.raises(NotNowError):
        await hand.run(name, [flow, *map(int, rest)], job)
    assert await hand.runtime.runs.progress(run_id) == 0
    assert not any(key.startswith(hand.runtime.keys.result(generation.id, "")) for key in await hand.dump())
