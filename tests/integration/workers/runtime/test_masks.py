"""Masks: what hidden items and a filter's tags leave out, the same for all workers."""

import numpy as np
import pytest

from reckoner.shared.redis.scripts import ask
from reckoner.shared.store.catalogue import make_catalogue
from reckoner.shared.store.snapshots import Snapshot, open_snapshot, write_snapshot
from reckoner.shared.wire.filters import Filter
from reckoner.workers.runtime import masks
from reckoner.workers.runtime.masks import Mask, Masks
from tests.world import ITEMS, Hand, World

TAGS = [["shoes", "sale"], ["shoes"], [], ["häts"], ["sale"]] * 8


@pytest.fixture
def snapshot(own_world: World) -> Snapshot:
    """A snapshot whose items have tags, in the store."""
    store, at = own_world.store, np.arange(len(ITEMS))
    with store.scratch() as scratch:
        made = write_snapshot(
            scratch, user_ids=["u"], item_ids=ITEMS, users=at * 0, items=at, catalogue=make_catalogue(TAGS)
        )
        store.publish("snapshots", made, scratch)
    return open_snapshot(store.fetch("snapshots", made))


def workers_masks(hand: Hand, world: World) -> Masks:
    """The masks of another worker."""
    runtime = hand.runtime
    return Masks(runtime.results.hidden, runtime.results.tags, world.store, runtime.in_store)


@pytest.mark.parametrize("tagged", [True, False])
async def test_a_mask_leaves_out_what_does_not_pass(
    own_world: World, hand: Hand, snapshot: Snapshot, world: World, tagged: bool
) -> None:
    """By the tags of now, or by live ones alone, and with hidden items; every worker reads the same."""
    results = hand.runtime.results
    of, tags = (snapshot, [set(some) for some in TAGS]) if tagged else (world.snapshot, [set[str]() for _ in TAGS])
    await results.tags.write(of.id, {item: sorted(some) for item, some in zip(ITEMS, tags, strict=True) if some})
    hidden = {ITEMS[7], "not in the data"}
    await results.hidden.hide([*hidden])
    for item, add, remove in ((3, "shoes", "häts"), (0, "new", "sale"), (8, "sale", "häts"), (2, "häts", "no")):
        await results.tags.change(of.id, ITEMS[item], add=[add], remove=[remove])
        tags[item] = (tags[item] | {add}) - {remove}
    for wanted in (
        Filter(("shoes",)),
        Filter((), ("sale",)),
        Filter(("häts", "new", "shoes"), ("sale",)),
        Filter(("no",)),
    ):
        made = await workers_masks(hand, own_world).current(of, wanted)
        assert made.tagging == await ask(hand.redis, "GET", results.keys.tagging_version)
        read = await workers_masks(hand, own_world).load(made.part, of)
        assert read is not None
        left_out = [
            item in hidden or bool(wanted.only and not some & {*wanted.only}) or bool(some & {*wanted.without})
            for item, some in zip(ITEMS, tags, strict=True)
        ]
        assert read.astype(bool).tolist() == left_out


async def test_a_filter_without_tags_needs_no_mask(own_world: World, hand: Hand, snapshot: Snapshot) -> None:
    """Excluded items are in the plan, so that each request does not add a part to the store."""
    for wanted in (None, Filter(exclude=(ITEMS[0],)), Filter(long=True)):
        assert await workers_masks(hand, own_world).current(snapshot, wanted) == Mask(None)
    assert (await workers_masks(hand, own_world).current(snapshot, Filter((), ("no item has it",)))).part is None


async def test_a_mask_is_put_again_before_its_part_is_deleted(
    own_world: World, hand: Hand, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts without a reference are deleted after a day; a worker keeps their names for an hour."""
    kept, wanted, now = workers_masks(hand, own_world), Filter(("shoes",)), 1000.0
    monkeypatch.setattr(masks, "monotonic", lambda: now)
    part = (await kept.current(snapshot, wanted)).part
    assert part is not None
    own_world.store.delete("parts", part)
    now += masks.NAMED_S - 1
    assert (await kept.current(snapshot, wanted)).part == part
    assert part not in {entry.id for entry in own_world.store.entries("parts")}
    now += 2
    assert (await kept.current(snapshot, wanted)).part == part
    assert part in {entry.id for entry in own_world.store.entries("parts")}
