"""The sides of a comparison: what a text names, and that its lists are read or computed and leave nothing behind."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import numpy as np
import pytest

from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.evaluation.preview import draw, preview
from reckoner.producer.evaluation.sides import Place, Side, find_side, lists_of
from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.errors import NothingFittedError, UsageError, UserUnknownError
from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.store.snapshots import write_snapshot
from reckoner.shared.wire.shapes import RESULT, EvaluationSpec, Result, ScoredItem
from tests.integration.producer.evaluation.test_training_part import held, show_nothing
from tests.reference import reference_lists, reference_rows
from tests.world import ITEMS, LIST_LENGTH, USERS, Generation, Hand, World, make_known

SLIM = "slim neighbours=3 candidates=9"


@pytest.fixture
def world(own_world: World) -> World:
    """The worker's store is the test's own."""
    return own_world


@asynccontextmanager
async def working(hand: Hand) -> AsyncIterator[None]:
    """Jobs are done as they come, the last one to its end: it deletes its parts after its flow has ended.

    Generations are adopted before: the worker would take their pretended fits.
    """

    async def work() -> None:
        while not stopping.is_set():
            await hand.deliver_all()
            await asyncio.sleep(0.01)

    stopping, task = asyncio.Event(), asyncio.create_task(work())
    yield
    stopping.set()
    await task


def decoded(generation: Generation) -> dict[str, list[Place]]:
    """The expected lists of a generation of the world."""
    found = {user: RESULT.decode(data) for user, data in generation.lists.items()}
    return {user: [Place(place.item, place.because) for place in result.items] for user, result in found.items()}


def expected(world: World, config: ModelConfig) -> dict[str, list[Place]]:
    """The lists of a model of the world's snapshot, by brute force."""
    data = world.snapshot
    rows = reference_rows(
        data.item_ptr, data.item_users, None, data.user_ptr, data.user_items, None,
        neighbours=config.neighbours, shrink=config.shrink,
    )  # fmt: skip
    lists = reference_lists(*rows, data.user_ptr, data.user_items, None, length=LIST_LENGTH)
    return {
        user: [Place(ITEMS[entry.item], ITEMS[entry.reason]) for entry in found]
        for user, found in zip(USERS, lists, strict=True)
    }


async def lists(reckoner: OpenReckoner, world: World, side: Side, users: list[str]) -> Mapping[str, list[Place] | None]:
    return await lists_of(reckoner, world.store, side, users, LIST_LENGTH, show_nothing)


async def find(reckoner: OpenReckoner, world: World, text: str) -> Side:
    return await find_side(reckoner, world.store, text)


async def test_a_model_as_text_is_fitted_and_forgotten(hand: Hand, own_world: World, reckoner: OpenReckoner) -> None:
    """Its lists and reasons are those of brute force. Store, pointers and keys are as before, but for ended jobs."""
    await hand.adopt(own_world)
    before, keys = held(own_world.store), set(await hand.dump())
    side = await find(reckoner, own_world, "cosine neighbours=7 shrink=1")
    assert (side.generation, side.recency) == (None, 0.0)
    async with working(hand):
        found = await lists(reckoner, own_world, side, [*USERS[::-1], "nobody"])
    assert found == expected(own_world, ModelConfig(neighbours=7, shrink=1.0)) | {"nobody": None}
    assert held(own_world.store) == before
    assert {name for name in await hand.dump() if ":flow:" not in name} <= keys


async def test_cached_lists_are_read_and_missing_ones_computed(
    hand: Hand, own_world: World, reckoner: OpenReckoner
) -> None:
    """Of the live generation and of one that never was live; what is computed is not cached."""
    live, refused = await hand.adopt(own_world), await hand.adopt(own_world, 1)
    planted = RESULT.encode(Result(2, [ScoredItem(ITEMS[0], 1.0, ITEMS[1])]))
    before = held(own_world.store)
    async with working(hand):
        for text, generation in (("live", live), (live.id, live), (refused.id, refused)):
            await reckoner.results.write(generation.id, [(USERS[0], planted)], 60)
            side = await find(reckoner, own_world, text)
            assert side.generation == generation.id
            assert side.name == f"{'live' if generation is live else 'generation'} {generation.id}"
            found = await lists(reckoner, own_world, side, USERS)
            assert found == decoded(generation) | {USERS[0]: [Place(ITEMS[0], ITEMS[1])]}
            assert await reckoner.results.read(generation.id, USERS[1:]) == [None] * (len(USERS) - 1)
    assert held(own_world.store) == before


async def test_the_lists_of_a_stored_model_are_computed(hand: Hand, own_world: World, reckoner: OpenReckoner) -> None:
    """By the id of a model that is in no generation; it stays."""
    third = own_world.generations[2]
    before = held(own_world.store)
    side = await find(reckoner, own_world, third.record.model)
    assert side.name == f"cosine neighbours=9 shrink=2.5, model {third.record.model}"
    async with working(hand):
        assert await lists(reckoner, own_world, side, USERS) == decoded(third)
    assert held(own_world.store) == before


async def test_a_model_that_was_there_stays(hand: Hand, own_world: World, reckoner: OpenReckoner) -> None:
    there = own_world.generations[0]
    side = await find(reckoner, own_world, "cosine neighbours=4")
    assert side.model == there.record.model
    async with working(hand):
        assert await lists(reckoner, own_world, side, USERS) == decoded(there)
    assert own_world.store.fetch("models", there.record.model)


@pytest.mark.parametrize("use", ["adopted", "renewed"])
async def test_a_model_that_somebody_else_uses_meanwhile_stays(
    hand: Hand, own_world: World, reckoner: OpenReckoner, monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    """A fit of the same model makes a generation of it, or renews it in order to make one."""
    absent, create = own_world.unfitted, reckoner.asking.create_evaluation

    async def use_and_create(spec: EvaluationSpec) -> str:
        if use == "adopted":
            await make_known(hand.redis, reckoner.keys, absent.record, own_world.titles)
        else:
            # Longer than the file system's clock may be behind.
            await asyncio.sleep(0.05)
            own_world.store.renew("models", absent.record.model)
        return await create(spec)

    monkeypatch.setattr(reckoner.asking, "create_evaluation", use_and_create)
    side = await find(reckoner, own_world, "cosine neighbours=40")
    async with working(hand):
        assert await lists(reckoner, own_world, side, USERS) == decoded(absent)
    assert own_world.store.fetch("models", absent.record.model)


async def test_a_comparison_that_is_stopped_leaves_nothing_behind(own_world: World, reckoner: OpenReckoner) -> None:
    """Without a worker its fit never ends; its jobs are cancelled."""
    before, seen = held(own_world.store), asyncio.Event()
    side = await find(reckoner, own_world, SLIM)
    looking = asyncio.create_task(lists_of(reckoner, own_world.store, side, USERS, LIST_LENGTH, lambda *_: seen.set()))
    await seen.wait()
    with pytest.raises(UsageError, match="Another comparison with the same model is under way"):
        await lists(reckoner, own_world, side, USERS)
    await cancel_and_wait(looking)
    assert held(own_world.store) == before
    assert not await reckoner.redis.exists(*reckoner.keys.all_live, *reckoner.keys.lanes)


async def test_what_names_nothing_is_said(hand: Hand, own_world: World, reckoner: OpenReckoner) -> None:
    """In one sentence each."""
    with pytest.raises(NothingFittedError):
        await find(reckoner, own_world, "live")
    for text, message in [
        ("previous", "There is no previous generation"),
        ("0123456789abcdef", "is no generation and no model"),
        ("../models", "is no generation and no model"),
        ("", "is empty"),
        ("slim k1=2", "MODEL 'slim k1=2': slim takes no k1"),
        ("cosine recency=1", "A recency of 1 needs times"),
    ]:
        with pytest.raises(UsageError, match=re.escape(message)):
            await find(reckoner, own_world, text)


async def test_users_are_drawn_from_both_sides_by_a_seed(hand: Hand, own_world: World, reckoner: OpenReckoner) -> None:
    """Equal seeds draw equal users; who is in one side's data only is not drawn, and has one list if asked for."""
    data = own_world.snapshot
    await hand.adopt(own_world)
    live = await find(reckoner, own_world, "live")
    kept = np.repeat(np.arange(data.n_users), np.diff(data.user_ptr)) > 1
    users = np.repeat(np.arange(data.n_users), np.diff(data.user_ptr))[kept] - 2
    with own_world.store.scratch() as scratch:
        made = write_snapshot(
            scratch, user_ids=USERS[2:], item_ids=ITEMS, users=users, items=data.user_items[kept]
        )  # fmt: skip
        own_world.store.publish("snapshots", made, scratch)
    own_world.store.set_current_snapshot(made)
    fewer = await find(reckoner, own_world, "cosine neighbours=4")
    for sides in ((live, fewer), (fewer, live)):
        assert sorted(draw(sides, 99, 1)) == USERS[2:]
        drawn = [tuple(draw(sides, 3, seed)) for seed in (1, 1, 2, 3, 4)]
        assert drawn[0] == drawn[1]
        assert len(set(drawn)) > 1
        assert draw(sides, 99, 1)[:3] == list(drawn[0])
    async with working(hand):
        found = await preview(
            *(reckoner, own_world.store, (fewer, live), USERS[:1]),
            random=2,
            sample=99,
            seed=1,
            places=3,
            progress=show_nothing,
        )
    assert list(found.shown) == [USERS[0], *draw((fewer, live), 2, 1)]
    of_live = {user: places[:3] for user, places in decoded(own_world.generations[0]).items()}
    assert found.shown[USERS[0]] == (None, of_live[USERS[0]])
    assert all(pair[1] == of_live[user] for user, pair in found.shown.items())
    assert (found.sampled, found.without_list[1]) == (4, 1)
    with pytest.raises(UserUnknownError, match="User nobody is not in the data"):
        await preview(
            *(reckoner, own_world.store, (fewer, live), ["nobody"]),
            random=0,
            sample=1,
            seed=0,
            places=3,
            progress=show_nothing,
        )
