"""Dead letters: whatever lies among them is read and dropped, and what failed can be asked for again, once."""

import asyncio

import pytest

from reckoner.shared.errors import LetterUnknownError, RetryRefusedError
from reckoner.shared.flows.dead_letters import LETTERS_AT_ONCE, DeadLetters, Retried
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.generations import generation_id
from reckoner.shared.wire.filters import Filter
from reckoner.shared.wire.shapes import (
    SPEC,
    BasketSpec,
    EvaluationSpec,
    FitSpec,
    HistorySpec,
    Options,
    QuestionSpec,
    SimilarSpec,
    StoreSpec,
    UserSpec,
)
from reckoner.workers.maintenance.sweeper import Sweeper
from tests.world import USERS, Hand, World

ClickSpec = UserSpec | BasketSpec | QuestionSpec


@pytest.fixture
def letters(hand: Hand) -> DeadLetters:
    return DeadLetters(hand.redis, hand.runtime.flows)


def join_of(hand: Hand, spec: ClickSpec | StoreSpec, generation: str) -> str:
    """The name under which the client asks for it."""
    keys = hand.runtime.keys
    match spec:
        case UserSpec(filter=Filter()) | BasketSpec(filter=Filter()):
            return keys.join_filtered(generation, SPEC.encode(spec))
        case UserSpec():
            return keys.join_user(generation, spec.user)
        case BasketSpec():
            return keys.join_basket(generation, spec.items)
        case FitSpec():
            return keys.join_model(generation) if spec.only_model else keys.join_fit(generation)
        case EvaluationSpec():
            return keys.join_evaluation(SPEC.encode(spec))
        case _:
            return keys.join_question(generation, SPEC.encode(spec))


async def fail(hand: Hand, spec: ClickSpec | StoreSpec, generation: str) -> str:
    """Ask for something and have it fail; returns the flow."""
    flows = hand.runtime.flows
    [flow_id] = await flows.create([spec], [join_of(hand, spec, generation)])
    flow = await flows.load(flow_id)
    assert flow is not None
    assert await flows.fail(flow, "failed by the test", lease=None)
    await ask(hand.redis, "DEL", hand.runtime.keys.click)
    return flow_id


async def plant(hand: Hand, *fields: str | bytes) -> str:
    """Put an entry among the dead letters; returns its id."""
    entry: bytes = await ask(hand.redis, "XADD", hand.runtime.keys.dead, "*", *fields)
    return entry.decode()


async def refused(letters: DeadLetters, letter_id: str) -> str:
    """Why a dead letter cannot be retried; trying it changes nothing."""
    before = await ask(letters._redis, "XRANGE", letters.keys.dead, "-", "+")
    with pytest.raises(RetryRefusedError) as caught:
        await letters.retry(letter_id)
    assert await ask(letters._redis, "XRANGE", letters.keys.dead, "-", "+") == before
    return str(caught.value)


async def test_a_user_is_computed_by_a_new_flow(hand: Hand, world: World, letters: DeadLetters) -> None:
    """The letter is gone, the flow has an id of its own and does what the old one did not."""
    generation = await hand.adopt(world)
    failed = await fail(hand, UserSpec(USERS[0], generation.id), generation.id)
    [letter] = await letters.newest(10)
    assert (letter.kind, letter.of, letter.subject, letter.reason) == ("flow", "user", failed, "failed by the test")
    assert letter.spec == UserSpec(USERS[0], generation.id)
    retried = await letters.retry(letter.id)
    assert retried == Retried(letter, retried.job, is_new=True)
    assert retried.job != failed
    await hand.deliver_all()
    flow = await hand.runtime.flows.load(retried.job)
    assert flow is not None
    assert flow.state == "done"
    state = await hand.dump()
    assert state[hand.runtime.keys.result(generation.id, USERS[0])] == generation.lists[USERS[0]]
    assert await letters.newest(10) == []


@pytest.mark.parametrize("kind", ["user", "basket", "filtered", "similar", "history", "fit", "model", "evaluation"])
async def test_a_retry_joins_and_is_joined(hand: Hand, world: World, letters: DeadLetters, kind: str) -> None:
    """Under the name by which everybody asks for the same, whatever kind it is."""
    generation = await hand.adopt(world)
    config, name = world.unfitted.config, generation.id
    specs: dict[str, tuple[ClickSpec | StoreSpec, str]] = {
        "user": (UserSpec("Ada", name), name),
        "basket": (BasketSpec(["item 01", "item 02"], name), name),
        "filtered": (BasketSpec(["x" * 1024] * 63, name, filter=Filter(exclude=("y" * 1024,) * 63)), name),
        "similar": (SimilarSpec("item 01", None, name, 5), name),
        "history": (HistorySpec("Ada", name, 5), name),
        "fit": (
            FitSpec(world.snapshot.id, "cosine", config.neighbours, config.shrink, 5),
            generation_id(world.unfitted.record.model, Options(5)),
        ),
        "model": (
            FitSpec(world.snapshot.id, "cosine", config.neighbours, config.shrink, 5, only_model=True),
            world.unfitted.record.model,
        ),
        "evaluation": (EvaluationSpec(world.snapshot.id, world.unfitted.record.model, "0" * 64, 5), ""),
    }
    spec, bound_to = specs[kind]
    for _ in range(2):
        await fail(hand, spec, bound_to)
    newer, older = await letters.newest(10)
    first = await letters.retry(older.id)
    assert first.is_new
    assert await letters.retry(newer.id) == Retried(newer, first.job, is_new=False)
    assert await hand.runtime.flows.create([spec], [join_of(hand, spec, bound_to)]) == [first.job]
    flow = await hand.runtime.flows.load(first.job)
    assert flow is not None
    assert flow.spec == spec
    assert await letters.newest(10) == []


async def test_of_many_retries_at_once_one_is_made(hand: Hand, world: World, letters: DeadLetters) -> None:
    """The letter is removed in the script that creates the flow; all others find none."""
    generation = await hand.adopt(world)
    await fail(hand, UserSpec("Ada", generation.id), generation.id)
    [letter] = await letters.newest(10)
    answers = await asyncio.gather(*(letters.retry(letter.id) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(answer, Retried) for answer in answers) == 1
    assert sum(isinstance(answer, LetterUnknownError) for answer in answers) == 19
    assert len(await hand.queued()) == 1


async def test_a_retry_keeps_its_record_alive(hand: Hand, world: World, letters: DeadLetters) -> None:
    """A generation that no pointer names is not forgotten while its flow is under way."""
    await hand.adopt(world)
    generation, later = await hand.adopt(world, 1), await hand.adopt(world, 2)
    await fail(hand, UserSpec("Ada", generation.id), generation.id)
    record = hand.runtime.keys.record(generation.id)
    await ask(hand.redis, "PEXPIRE", record, 10_000)
    [letter] = await letters.newest(1)
    await letters.retry(letter.id)
    assert await ask(hand.redis, "PTTL", record) > 6 * 86_400_000
    assert await ask(hand.redis, "PTTL", hand.runtime.keys.record(later.id)) == -1


async def test_a_generation_that_is_forgotten_is_not_asked_for(hand: Hand, world: World, letters: DeadLetters) -> None:
    """The letter stays, and the answer says what to do."""
    generation = await hand.adopt(world)
    await fail(hand, UserSpec("Ada", generation.id), generation.id)
    await ask(hand.redis, "DEL", hand.runtime.keys.record(generation.id))
    [letter] = await letters.newest(1)
    assert "`reckoner enqueue`" in await refused(letters, letter.id)
    assert not await hand.queued()


async def test_what_was_refused_is_not_retried(hand: Hand, letters: DeadLetters) -> None:
    """Bytes are no job; they can be looked at, and dropped."""
    await ask(hand.redis, "SET", "arq:job:planted", b"\x80\x05bomb.")
    assert await hand.runtime.flows.refusals.string("job", "planted", "arq:job:planted", b"\x80\x05bomb.", "no job")
    [letter] = await letters.newest(1)
    assert (letter.kind, letter.of, letter.subject, letter.data) == ("refused", "job", "planted", b"\x80\x05bomb.")
    assert "Drop it" in await refused(letters, letter.id)
    await letters.drop(letter.id)
    with pytest.raises(LetterUnknownError):
        await letters.find(letter.id)


@pytest.mark.parametrize(
    "fields",
    [
        ("kind", "flow", "id", "f", "of", "user", "reason", "r", "data", b"\x80\x05bomb."),
        ("kind", "flow", "id", "f", "of", "block", "reason", "r", "data", SPEC.encode(UserSpec("u", "g"))),
        ("kind", "flow", "id", "f", "of", "fit", "reason", "r", "data", SPEC.encode(FitSpec("s", "taxi", 1, 0.0, 1))),
        ("kind", "flow"),
        ("kind", b"\xff", b"\xff", b"\xff"),
        ("kind", "refused", "kind", "flow"),
        ("", ""),
    ],
)
async def test_planted_letters_are_shown_and_never_retried(
    hand: Hand, letters: DeadLetters, fields: tuple[str | bytes, ...]
) -> None:
    """It is one dead letter more, of no job that could be asked for, and can be dropped."""
    entry = await plant(hand, *fields)
    [letter] = await letters.newest(10)
    assert letter == await letters.find(entry)
    assert letter.spec is None
    assert await refused(letters, entry)
    await letters.drop(entry)
    assert await letters.newest(10) == []


@pytest.mark.parametrize("letter_id", ["", "1", "-", "+", "1-1", "*", "1-1 ", "99999999999999999999-0", "١-١", "a\nb"])
async def test_an_invalid_id_names_no_letter(hand: Hand, letters: DeadLetters, letter_id: str) -> None:
    """Whatever a user may type."""
    await plant(hand, "kind", "flow")
    for work in (letters.find, letters.drop, letters.retry):
        with pytest.raises(LetterUnknownError, match="reckoner dead list"):
            await work(letter_id)
    assert len(await letters.newest(10)) == 1


async def test_many_are_read_and_dropped_in_pages(hand: Hand, letters: DeadLetters) -> None:
    """The newest first, each once; what comes meanwhile is not among them, and stays."""
    ids = [await plant(hand, "kind", "flow") for _ in range(2 * LETTERS_AT_ONCE + 5)]
    assert [letter.id for letter in await letters.newest(3)] == ids[:-4:-1]
    seen, late = list[str](), ""
    async for page in letters.pages():
        seen += [letter.id for letter in page]
        late = late or await plant(hand, "kind", "flow")
    assert seen == ids[::-1]
    assert await letters.drop_all() == len(ids) + 1
    assert await letters.drop_all() == 0


async def test_another_type_at_the_key_of_the_letters_is_quarantined(hand: Hand, letters: DeadLetters) -> None:
    """Only the letter about it is left."""
    await ask(hand.redis, "SET", hand.runtime.keys.dead, "planted")
    assert await letters.newest(10) == []
    [letter] = await letters.newest(10)
    assert (letter.kind, letter.of, letter.subject) == ("refused", "key", hand.runtime.keys.dead)


async def test_the_letter_of_a_damaged_flow_holds_its_spec(
    hand: Hand, world: World, letters: DeadLetters, sweeper: Sweeper
) -> None:
    """If only another field was damaged, it can be retried. Waiting clients read that it failed."""
    generation, flows = await hand.adopt(world), hand.runtime.flows
    [flow_id] = await flows.create(
        [UserSpec("Ada", generation.id)], [hand.runtime.keys.join_user(generation.id, "Ada")]
    )
    await ask(hand.redis, "HSET", hand.runtime.keys.flow(flow_id), "looks", "many")
    await hand.make_due()
    await sweeper.sweep()
    flow = await flows.load(flow_id)
    assert flow is not None
    assert flow.state == "failed"
    letter = next(letter for letter in await letters.newest(10) if letter.kind == "flow")
    retried = await letters.retry(letter.id)
    await hand.deliver_all()
    assert await hand.runtime.results.read(generation.id, ["Ada"]) != [None]
    assert retried.job != flow_id
