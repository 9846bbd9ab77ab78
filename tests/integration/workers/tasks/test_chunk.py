"""The chunk task: what it stores is of the artifacts that lie in the store at that moment."""

from typing import Any

import pytest

import workers.shelf
from shared.wire import BlockSpec, ScoringSpec, UserSpec
from tests.tampering import flip
from tests.world import ITEMS, USERS, Generation, Hand, World, publish_model
from workers.engine.outcomes import NotNowError
from workers.layouts import Layouts
from workers.tasks.chunk import score_range


def specs(generation: Generation) -> list[ScoringSpec]:
    return [UserSpec(USERS[0], generation.id), BlockSpec("r", generation.id, 2, "")]


@pytest.mark.parametrize("number", [0, 1], ids=["click", "block"])
async def test_nothing_is_made_of_old_bytes_once_a_model_was_published_anew(
    hand: Hand, own_world: World, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """However lately the store was looked at, and though it is published while a kernel computes."""
    monkeypatch.setattr(workers.shelf, "LOOK_S", 3600.0)
    generation = await hand.adopt(own_world)
    spec, model = specs(generation)[number], generation.record.model
    rows = await hand.runtime.model(model)
    right = await score_range(hand.runtime, spec, 0, 0, len(ITEMS), "click")
    candidates = Layouts.candidates

    def publish_and_go_on(*arguments: Any) -> Any:
        monkeypatch.setattr(Layouts, "candidates", candidates)
        store = own_world.store
        store.set_aside("models", model, store.seal("models", model), "of a test")
        publish_model(store, own_world.snapshot, generation.config, (rows.row_ptr, rows.row_items, rows.row_values))
        return candidates(*arguments)

    monkeypatch.setattr(Layouts, "candidates", publish_and_go_on)
    with pytest.raises(NotNowError):
        await score_range(hand.runtime, spec, 0, 0, len(ITEMS), "click")
    assert await score_range(hand.runtime, spec, 0, 0, len(ITEMS), "click") == right
    assert await hand.runtime.model(model) is not rows


async def test_nothing_is_made_of_bytes_that_were_damaged_while_a_block_was_scored(
    hand: Hand, own_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written to is seen when its kernel ends, and then it is verified."""
    monkeypatch.setattr(workers.shelf, "LOOK_S", 3600.0)
    generation = await hand.adopt(own_world)
    path = own_world.store.fetch("models", generation.record.model) / "row_values.npy"
    candidates = Layouts.candidates

    def damage_and_go_on(*arguments: Any) -> Any:
        flip(path, path.stat().st_size - 1, 5)
        return candidates(*arguments)

    monkeypatch.setattr(Layouts, "candidates", damage_and_go_on)
    with pytest.raises(NotNowError):
        await score_range(hand.runtime, specs(generation)[1], 0, 0, len(ITEMS), "batch")
