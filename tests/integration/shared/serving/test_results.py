"""Results: what readers get, and how long records, titles and lists live as the pointers move."""

import pytest
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from reckoner.shared.errors import NothingFittedError
from reckoner.shared.redis.scripts import ask
from reckoner.shared.redis.scripts.constants import UNREFERENCED_TTL_MS
from reckoner.shared.serving.hidden import mask_of
from reckoner.shared.serving.results import Reading
from reckoner.shared.wire.shapes import RESULT, Result, ScoredItem
from reckoner.workers.maintenance.sweeper import Sweeper
from tests.answers import answers_of
from tests.damages import DAMAGES, Damage
from tests.world import ITEMS, LIST_LENGTH, USERS, Hand, World, begin_reduce, make_known


async def life(hand: Hand, name: str) -> str:
    left = await ask(hand.redis, "PTTL", name)
    return {-2: "gone", -1: "for ever"}.get(left, "a while")


async def test_without_a_model_there_is_no_answer(hand: Hand) -> None:
    """The sentence says what to do."""
    with pytest.raises(NothingFittedError, match="reckoner fit"):
        await answers_of(hand.runtime.results, ["u"], 3)


async def test_a_reader_gets_the_list_or_the_popular_items(hand: Hand, world: World) -> None:
    """The first n places with titles; who has no list, or an empty one, gets the popular items and is told so."""
    generation, results = await hand.adopt(world), hand.runtime.results
    await results.write(generation.id, list(generation.lists.items()), 100)
    answers = await answers_of(results, [*USERS, "nobody"], 2)
    for answer in answers:
        stored = RESULT.decode(generation.lists[answer.user]).items if answer.user in generation.lists else []
        if stored:
            assert answer.source == "cache"
            assert [(e.item, e.score, e.because) for e in answer.items] == [
                (place.item, place.score, place.because) for place in stored[:2]
            ]
        else:
            assert answer.source == "popular"
            assert [(e.item, e.score) for e in answer.items] == [(item, None) for item in generation.record.popular[:2]]
        assert all(entry.title == world.titles.get(entry.item) for entry in answer.items)
    assert {answer.user for answer in answers if answer.source == "popular"} == {"with an empty history", "nobody"}


async def test_an_unreadable_list_is_a_miss_and_is_quarantined(hand: Hand, world: World) -> None:
    """Once: the second reader finds nothing there any more."""
    generation, results = await hand.adopt(world), hand.runtime.results
    await results.write(generation.id, [("u", b"\x80\x05bomb.")], 100)
    for _ in range(2):
        assert await results.read(generation.id, ["u"]) == [None]
    assert await ask(hand.redis, "HGETALL", hand.runtime.keys.refused) == {b"result": b"1"}


async def test_a_key_of_another_type_is_a_miss(hand: Hand, world: World) -> None:
    """And the next result takes its place."""
    generation, results = await hand.adopt(world), hand.runtime.results
    await ask(hand.redis, "HSET", hand.runtime.keys.result(generation.id, "Ada"), "a", "b")
    assert await results.read(generation.id, ["Ada"]) == [None]
    await results.write(generation.id, [("Ada", generation.lists["Ada"])], 100)
    assert await results.read(generation.id, ["Ada"]) == [RESULT.decode(generation.lists["Ada"])]


async def test_lists_are_read_and_written_in_slices(hand: Hand) -> None:
    """1,203 users at once, in their order; each has its time to live."""
    results, users = hand.runtime.results, [f"u{number}" for number in range(1203)]
    lists = [Result(2, [ScoredItem(user, 1.0, "x")]) for user in users]
    await results.write("g", [(user, RESULT.encode(one)) for user, one in zip(users, lists, strict=True)], 100)
    assert await results.read("g", users) == lists
    assert 0 < await ask(hand.redis, "TTL", hand.runtime.keys.result("g", "u1202")) <= 100


async def test_a_record_never_changes(hand: Hand, world: World) -> None:
    """A second fit of the same model changes nothing."""
    generation = await hand.adopt(world)
    later = replace(generation.record, made_ms=1_800_000_000_000)
    await make_known(hand.redis, hand.runtime.keys, later, world.titles)
    assert await hand.runtime.results.generations.record(generation.id) == generation.record


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("pointer", ["current", "newest"])
async def test_a_pointer_that_names_nothing_counts_as_none(
    hand: Hand, world: World, pointer: str, damage: Damage
) -> None:
    """Its value is no id, or its generation's record is gone, cannot be read, or is another's: readers find none."""
    generation, results = await hand.adopt(world), hand.runtime.results
    key = getattr(hand.runtime.keys, pointer)
    await damage(hand.redis, hand.runtime.keys, key, generation.id)
    pointed = await results.generations.follow(key)
    assert (pointed.named, pointed.record) == (None, None)
    with pytest.raises(NothingFittedError, match=r"model.* `reckoner fit`\.$"):
        pointed.require()
    if pointer == "current":
        assert await results.generations.current() is None
        with pytest.raises(NothingFittedError):
            await answers_of(results, ["Ada"], 3)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("pointer", ["current", "newest"])
async def test_a_fit_takes_the_place_of_a_pointer_that_names_nothing(
    hand: Hand, world: World, pointer: str, damage: Damage, number: int
) -> None:
    """That of the same model, whose record is written anew, and that of another one."""
    generation, keys = await hand.adopt(world), hand.runtime.keys
    await damage(hand.redis, keys, getattr(keys, pointer), generation.id)
    fitted = await hand.adopt(world, number)
    assert await hand.runtime.results.generations.record(fitted.id) == fitted.record
    assert await life(hand, keys.record(fitted.id)) == "for ever"
    named = await hand.runtime.results.generations.follow(getattr(keys, pointer))
    assert named.named == fitted.id


async def test_the_first_model_is_current_and_a_later_one_the_newest(hand: Hand, world: World) -> None:
    """Readers do not follow a model whose lists are not there."""
    results, keys = hand.runtime.results, hand.runtime.keys
    first, second = await hand.adopt(world), await hand.adopt(world, 1)
    assert await results.generations.current() == first.id
    assert await results.generations.pointer(keys.newest) == second.id
    assert await results.generations.pointer(keys.previous) is None


async def test_a_fit_moves_pointers_once(hand: Hand, world: World) -> None:
    """Its worker died before the commit, a later fit came to its end, and only then is the reduce delivered again."""
    results, keys = hand.runtime.results, hand.runtime.keys
    first, second = (generation.record for generation in world.generations[:2])
    fit = await begin_reduce(hand.redis, keys, first)
    assert await results.generations.adopt(fit.id, fit.round, first, lease=None)
    await hand.adopt(world, 1)
    before = await hand.dump()
    assert await results.generations.adopt(fit.id, fit.round, first, lease=None)
    assert await hand.dump() == before
    assert await results.generations.pointer(keys.newest) == second.generation
    await ask(hand.redis, "DEL", keys.record(first.generation))
    assert await results.generations.adopt(fit.id, fit.round, first, lease=None)
    assert await results.generations.record(first.generation) == first
    assert await life(hand, keys.record(first.generation)) == "for ever", "it is current"


async def test_a_fit_that_has_moved_on_makes_nothing_known(hand: Hand, world: World) -> None:
    """One that is not yet in its reduce, one that is in another round, and one that has ended."""
    results, record = hand.runtime.results, world.generations[0].record
    [split] = await hand.runtime.flows.create([world.generations[0].fit], [hand.runtime.keys.join_fit("x")])
    fit = await begin_reduce(hand.redis, hand.runtime.keys, record)
    assert not await results.generations.adopt(split, 0, record, lease=None)
    assert not await results.generations.adopt(fit.id, fit.round + 1, record, lease=None)
    await hand.runtime.flows.fail(fit, "told to", lease=None)
    before = await hand.dump()
    assert not await results.generations.adopt(fit.id, fit.round, record, lease=None)
    assert await hand.dump() == before
    assert await results.generations.current() is None


async def test_records_with_a_pointer_stay_and_others_expire(hand: Hand, world: World, sweeper: Sweeper) -> None:
    """Records of current, previous and newest for ever; one that no pointer names any more for eight days at most."""
    keys = hand.runtime.keys
    first, second = await hand.adopt(world), await hand.adopt(world, 1)
    titles = keys.titles(world.snapshot.id)
    assert [await life(hand, keys.record(g.id)) for g in (first, second)] == ["for ever"] * 2
    third = await hand.adopt(world, 2)
    assert [await life(hand, keys.record(g.id)) for g in (first, second, third)] == ["for ever", "a while", "for ever"]
    assert await ask(hand.redis, "PTTL", keys.record(second.id)) > UNREFERENCED_TTL_MS - 100_000
    assert await life(hand, titles) == "for ever"
    for generation in (second, third):
        await hand.runtime.runs.start(generation.record, 6, 1)
        await hand.deliver_all()
    # current is the third, previous the second, newest the third
    assert [await life(hand, keys.record(g.id)) for g in (first, second, third)] == ["a while", "for ever", "for ever"]
    assert await life(hand, titles) == "for ever"


async def test_many_titles_are_read_in_slices(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    """No command holds up the server, though hundreds of users' lists are asked for at once."""
    results, read = hand.runtime.results, hand.redis.execute_command
    titles = {f"item {number}": f"title {number}" for number in range(1, 1101)}
    await results.write_titles("many", titles)
    sizes: list[int] = []

    async def seen(*command: object) -> object:
        sizes.append(len(command) - 2)
        return await read(*command)  # type: ignore[no-untyped-call] # redis-py has it without types

    monkeypatch.setattr(hand.redis, "execute_command", seen)
    assert await results.titles("many", [*titles, "item 0"]) == titles
    assert sizes == [500, 500, 101]


async def test_late_titles_do_not_make_the_live_ones_expire(hand: Hand, world: World) -> None:
    """A worker that stood still before it wrote them put an end to those of the live generation, eight days later."""
    titles = hand.runtime.keys.titles(world.snapshot.id)
    await hand.runtime.results.write_titles(world.snapshot.id, world.titles)
    assert await life(hand, titles) == "a while"
    await hand.adopt(world)
    await hand.runtime.results.write_titles(world.snapshot.id, world.titles)
    assert await life(hand, titles) == "for ever"
    assert await hand.runtime.results.titles(world.snapshot.id, ITEMS) == world.titles


async def test_titles_are_a_hash_beside_the_results(hand: Hand, world: World) -> None:
    """Titles of a snapshot that no pointer names any more expire."""
    generation, results, keys = await hand.adopt(world), hand.runtime.results, hand.runtime.keys
    titles = await results.titles(world.snapshot.id, ITEMS)
    assert titles == world.titles
    assert await results.titles(world.snapshot.id, []) == {}
    for number, snapshot in enumerate(("other", "third")):
        made = replace(generation.record, generation=f"g{number}", snapshot=snapshot)
        await make_known(hand.redis, keys, made, {"item": f"of {snapshot}"})
    assert await ask(hand.redis, "HGETALL", keys.titles("third")) == {b"item": b"of third"}
    lives = [await life(hand, keys.titles(snapshot)) for snapshot in (world.snapshot.id, "other", "third")]
    assert lives == ["for ever", "a while", "for ever"]


async def test_titles_that_were_left_half_written_are_written_again(hand: Hand, world: World) -> None:
    """Until a pointer names their snapshot nobody relies on them."""
    key = hand.runtime.keys.titles(world.snapshot.id)
    await ask(hand.redis, "HSET", key, ITEMS[0], "half")
    await ask(hand.redis, "PEXPIRE", key, 10_000)
    await hand.adopt(world)
    assert await hand.runtime.results.titles(world.snapshot.id, ITEMS) == world.titles


async def test_an_unreadable_record_is_quarantined(hand: Hand, world: World) -> None:
    """There is no answer then, in a sentence, until a model is fitted again."""
    generation = await hand.adopt(world)
    await ask(hand.redis, "SET", hand.runtime.keys.record(generation.id), b"\x80bomb")
    with pytest.raises(NothingFittedError):
        await answers_of(hand.runtime.results, ["u"], LIST_LENGTH)
    assert await ask(hand.redis, "HGETALL", hand.runtime.keys.refused) == {b"record": b"1"}
    await hand.adopt(world)
    assert (await answers_of(hand.runtime.results, ["u"], LIST_LENGTH))[0].source == "popular"


@pytest.mark.parametrize("at_run", [(), ("old",)], ids=["without a mask", "with a mask"])
@pytest.mark.parametrize("noted", [UNSET, "", "another", "now"])
async def test_a_list_is_short_if_a_job_would_find_more(
    hand: Hand, world: World, at_run: tuple[str, ...], noted: str | UnsetType
) -> None:
    """It lacks what was hidden when it was computed, which its mask or the record's names; now another item is."""
    await hand.adopt(world)
    results, now = hand.runtime.results, frozenset({"sold out"})
    record = replace(await hand.runtime.record(str(await results.generations.current())), mask=mask_of(at_run) or UNSET)
    mask = mask_of(now) if noted == "now" else noted
    places = [ScoredItem(item, 0.5, "h") for item in ITEMS[: record.places]]
    lists = [
        Result(2, some, [], mask) for some in (places, places[:2], [*places[:2], ScoredItem("sold out", 0.1, "h")])
    ]
    reading = Reading([*lists, None], [frozenset[str]()] * 4, now)
    lacks = noted == "another" or (noted is UNSET and bool(at_run))
    assert results.short(reading, 3, record) == ([1, 2] if lacks else [2])
    assert results.short(reading, 2, record) == []
    assert results.is_whole(lists[1], record.places, reading, record) != lacks
    assert not results.is_whole(lists[0], record.places, reading, record)
