"""What must hold when a system is quiet after faults: good or explained ends, exact bytes, nothing left behind."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import reckoner.shared.redis.keys as key_names
from reckoner.shared.flows.dead_letters import DeadLetters
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.flows.runs import Runs
from reckoner.shared.serving.events import Events, parse_mark
from reckoner.shared.serving.results import Results
from reckoner.shared.wire.shapes import EVENT, BasketSpec, UserSpec
from tests.chaos import Chaos
from tests.load import UNFITTED
from tests.plain_model import PlainEvent, PlainShop
from tests.recents import all_recent

# Allowed reasons when workers die or stall and partials are lost.
REASONS = (
    r"its worker died 3 times",
    r"partials were missing or damaged \d+ times",
    # A damaged artifact, with its remedy.
    r".*; (run `reckoner fit` with the same options to rebuild it|import the same data again to restore it)",
)
# The record of a generation was damaged.
UNFITTED_REASONS = (r"(The record of generation .* is gone; fit a model again|There is no model yet: .*)",)
OUTCOMES = {"passed", "refused", "superseded"}
# Keys of unfinished work.
PASSING = re.compile(
    r"^arq:|^[^:]+:(join:|run-of:|flow:[^:]+:partials$|run:[^:]+:flight$|queue(:(click|batch)(:leases)?)?$|live:(click|batch)$)"
)
TYPES = {"sorted set": "zset", "hash": "hash", "string": "string", "stream": "stream", "list": "list", "set": "set"}
# Seconds for the words of the table of keys, when all flows and runs have ended.
LIVES_S = {
    "ended": 3_600,
    "an hour": 3_600,
    "seven days": 7 * 86_400,
    "eight days": 8 * 86_400,
    "`RECKONER_RESULT_TTL_S`": 8 * 86_400,
    "`RECKONER_TROUBLE_S` twice": 660,
    "ten seconds": 10,
    "a lease and ten seconds": 15,
    "five seconds": 5,
    "a day afterwards": 86_400,
}


class Rule(NamedTuple):
    """A row of the table of keys: the names, their type, and their longest life in seconds."""

    name: re.Pattern[str]
    type: str
    most_s: int | None


def table(prefix: str) -> Iterator[Rule]:
    """The table of keys in the docstring of `keys.py`."""
    for row in re.findall(r"^\| (`.*?) \| (.*?) \| .*? \| (.*?) \|$", key_names.__doc__ or "", re.MULTILINE):
        names, kind, lives = row
        most_s = max((seconds for words, seconds in LIVES_S.items() if words in lives), default=None)
        for name in re.findall(r"`([^`]+)`", names):
            # Our ids have no colon; a caller's may have any.
            pattern = re.sub(r"[A-Z]{2,}", "[^:]+", re.escape(name).replace("USER", ".+"))
            pattern = re.sub(r"^p:", re.escape(prefix) + ":", pattern)
            yield Rule(re.compile(pattern + r"\Z", re.DOTALL), TYPES.get(kind.partition(",")[0], ""), most_s)


async def check(chaos: Chaos) -> str:
    """Check all invariants.

    Returns:
        A summary of the counts.

    Raises:
        AssertionError: an invariant is broken.
    """
    await _check_events(chaos)
    names = [name.decode() async for name in chaos.redis.scan_iter(count=10_000)]
    await _check_keys(chaos, names)
    flows = await _check_flows(chaos, names)
    runs = await _check_runs(chaos)
    lists = await _check_lists(chaos, names, flows)
    assert not chaos.listening.done(), "nobody counts the ends"
    again = {name: count for name, count in chaos.ends.counts.items() if count > 1}
    assert not again, f"these ended more than once: {again}"
    assert chaos.planted or not await chaos.ask("EXISTS", chaos.keys.refused), await chaos.ask(
        "HGETALL", chaos.keys.refused
    )
    assert chaos.unfitted or not chaos.counts[UNFITTED], "a generation to read was missing"
    for post in chaos.fleet.posts:
        log = post.log.read_text("utf-8", "replace")
        assert "Traceback" not in log, chaos.fleet.last_words()
    chaos.lossy = False
    if chaos.planted:
        await chaos.ask("DEL", chaos.keys.refused)
    chaos.planted = False
    seconds, _ = await chaos.ask("TIME")
    chaos.looked_ms, chaos.named = int(seconds) * 1000, await _named_now(chaos)
    chaos.load.fitted.clear()
    states, reasons = Counter[str](flow.state for flow in flows), Counter(flow.reason for flow in flows)
    return "; ".join([
        f"{len(flows):,} flows: {_told(states)}",
        _told(reasons) or "no failure",
        f"{runs.total()} runs: {_told(runs)}",
        f"{lists:,} cached lists equal the reference",
        _told(chaos.counts, "calls"),
    ])  # fmt: skip


async def _check_keys(chaos: Chaos, names: list[str]) -> None:
    """Every key is in the table, with its type and its life."""
    rules, for_ever = list(table(chaos.keys.prefix)), await chaos.system.keys_that_may_stay()
    for user in chaos.truths.shoppers:
        for_ever |= {chaos.keys.recent(user), chaos.keys.left(user), chaos.keys.hides(user)}
    if chaos.unfitted:
        # An unnamed generation's record is deleted with its lists, when all pointers are whole again.
        for_ever |= {chaos.keys.record(name.decode()) for name in await chaos.ask("HKEYS", chaos.keys.generations)}
    types = await chaos.ask_all([("TYPE", name) for name in names])
    lives = await chaos.ask_all([("TTL", name) for name in names])
    for name, kind, life_s in zip(names, types, lives, strict=True):
        if chaos.excused(name):
            assert life_s != -1, f"{name} has no expiry"
            continue
        assert not PASSING.match(name), f"{name} is left"
        rule = next((rule for rule in rules if rule.name.match(name)), None)
        assert rule, f"{name} is in no table"
        # A key that has just expired has no type.
        assert kind.decode() in (rule.type, "none"), f"{name} holds a {kind.decode()}"
        assert life_s != -1 or name in for_ever, f"{name} has no expiry"
        # arq gives its own key a second more.
        assert rule.most_s is None or life_s <= rule.most_s + 1, f"{name} lives {life_s} s"


async def _check_flows(chaos: Chaos, names: list[str]) -> list[Flow]:
    """Every flow has ended in an allowed way, and each failed one has one dead letter."""
    flows = chaos.system.flows(chaos.redis)
    start = re.escape(chaos.keys.flow(""))
    ids = sorted(name.rpartition(":")[2] for name in names if re.match(rf"{start}[^:]+$", name))
    assert chaos.lossy or chaos.load.asked <= set(ids), "jobs that were asked for are not known any more"
    chaos.load.asked &= set(ids)
    found = await flows.load_many(ids)
    for flow in found:
        assert isinstance(flow, Flow), flow
        assert flow.ended, flow
        assert flow.state != "cancelled" or {flow.id, flow.run} & chaos.cancelled, flow
        assert (flow.state != "done") == bool(flow.reason), flow
        reasons = (*REASONS, *(UNFITTED_REASONS if chaos.unfitted else ()))
        assert flow.state != "failed" or any(re.fullmatch(reason, flow.reason) for reason in reasons), flow.reason
    letters = Counter([
        letter.subject
        async for page in DeadLetters(chaos.redis, flows).pages()
        for letter in page
        if letter.kind == "flow"
    ])  # fmt: skip
    failed = {flow.id for flow in found if isinstance(flow, Flow) and flow.state == "failed"}
    # Only the newest thousand are kept.
    missing = Counter(failed) - letters
    assert not missing or await chaos.ask("XLEN", chaos.keys.dead) >= 1000, "each failure is a dead letter"
    assert not letters - Counter(failed), "each failure is one dead letter"
    return [flow for flow in found if isinstance(flow, Flow)]


async def _check_runs(chaos: Chaos) -> Counter[str]:
    """Every run has ended, and one that passed has all its lists."""
    runs, outcomes, named = Runs(chaos.redis, chaos.keys, 1.0), Counter[str](), await _named(chaos)
    for run_id in sorted(chaos.load.runs):
        run = await runs.load(run_id)
        if run is None:
            assert chaos.lossy, run_id
            chaos.load.runs.discard(run_id)
            continue
        assert run.state == "ended", run
        assert run.outcome in OUTCOMES or (chaos.unfitted and run.outcome == "failed"), run
        if run.outcome == "passed":
            assert run.manifest is not None
            assert (run.manifest.done, run.manifest.failed) == (run.users, 0), run
            held = [chaos.keys.result(run.generation, user) for user in chaos.truths.users]
            kept = run.generation in named and run.started_ms > chaos.looked_ms
            assert not kept or await chaos.ask("EXISTS", *held) == run.users, run
        outcomes[run.outcome] += 1
    return outcomes


async def _named(chaos: Chaos) -> set[str]:
    """The generations that pointers have named since the last check. Other lists may be deleted."""
    return chaos.named & await _named_now(chaos) - chaos.load.fitted


async def _named_now(chaos: Chaos) -> set[str]:
    # MGET returns null for a key of another type.
    values = await chaos.ask("MGET", *chaos.keys.pointers)
    return {value.decode(errors="replace") for value in values if value}


async def _check_events(chaos: Chaos) -> None:
    """Each acknowledged event is there once, in the stream and for its user, and the users' lists count it."""
    keys, truths, load = chaos.keys, chaos.truths, chaos.load
    stream = [
        (parse_mark(at.decode()), fields[b"user"].decode(), EVENT.decode(fields[b"event"]))
        for at, fields in await chaos.ask("XRANGE", keys.event_stream, "-", "+")
    ]
    found = {event.time_ms or 0: (user, event.item, event.type) for _, user, event in stream}
    assert len(found) == len(stream), "an event is there twice"
    assert found.items() <= load.recorded.items()
    assert chaos.lossy or found.keys() == load.recorded.keys(), "an event was lost"
    load.recorded = found
    events = Events(chaos.redis, keys, 1.0, 0)
    histories = {recent.user: recent async for recent in all_recent(events)}
    hides = {(user, item) for user, recent in histories.items() for item in recent.hides}
    assert hides <= load.hides
    assert chaos.lossy or hides == load.hides, "a hidden item was lost"
    load.hides = hides
    shop = PlainShop("last", truths.snapshot, truths.counted)
    for mark, user, event in stream:
        shop.stream.append(PlainEvent(mark, user, event.item, event.role, event.weight, event.time_ms or 0))
    for user in truths.shoppers:
        recent = histories.get(user)
        mine = [(mark, event) for mark, who, event in stream if who == user]
        assert (recent.events if recent else []) == mine, "a history differs from the stream"
        shop.hides[user] = set(recent.hides) if recent else set()
    await _check_shoppers(chaos, shop)


async def _check_shoppers(chaos: Chaos, shop: PlainShop) -> None:
    """The lists of users with events. They may be old if a job was given up or cancelled, or a pointer was gone."""
    keys, truths, results = chaos.keys, chaos.truths, Results(chaos.redis, chaos.keys)
    pointer = await results.generations.follow(keys.current)
    if pointer.record is None:
        assert chaos.unfitted
        return
    base = await truths.base(results, pointer.record.generation)

    async def old() -> list[str]:
        values = await chaos.ask("MGET", *(keys.result(pointer.named or "", user) for user in truths.shoppers))
        lists = []
        for user in truths.shoppers:
            counted = shop.counted(user, truths.snapshot)
            counted.left |= shop.hides[user]
            lists.append(truths.list_of(base, counted))
        return [
            user
            for user, value, expected in zip(truths.shoppers, values, lists, strict=True)
            if value is not None and value != expected
        ]

    excused = chaos.cancelled or chaos.lossy or chaos.unfitted or await chaos.ask("EXISTS", keys.dead)
    users = await old()
    assert excused or not users, f"lists do not count what was recorded: {users}"
    if users:
        operator = chaos.load.operator
        await operator.insist(lambda: operator.reckoner.recommend_many(users, 1, fresh=True))
        assert not await old(), "lists that were made anew are not what they have to be"
    answers = await chaos.load.operator.insist(lambda: chaos.load.operator.reckoner.recommend_many(truths.shoppers, 5))
    for answer in answers or ():
        assert not shop.left(answer.user).intersection(entry.item for entry in answer.items), answer


async def _check_lists(chaos: Chaos, names: list[str], flows: list[Flow]) -> int:
    """Every cached list equals the reference, and every finished user has one."""
    keys, truths, named, now = chaos.keys, chaos.truths, await _named(chaos), await _named_now(chaos)
    prefixes = tuple(f"{keys.prefix}:{kind}:" for kind in ("rec", "basket"))
    held = [name for name in names if name.startswith(prefixes)]
    generations = {name.removeprefix(f"{keys.prefix}:").split(":")[1] for name in held}
    results = Results(chaos.redis, keys)
    bases = {generation: await truths.base(results, generation) for generation in sorted(generations)}
    expected = {
        keys.result(generation, user): truths.lists[base][user]
        for generation, base in bases.items()
        for user in truths.steady
        if base
    }
    expected |= {
        keys.basket(generation, items): truths.basket(base, items)
        for generation, base in bases.items()
        for items in truths.baskets
        if base
    }
    unsteady = {keys.result(generation, user) for generation in bases for user in truths.shoppers}
    # Lists of generations without a record are being deleted.
    held = [name for name in held if bases[name.removeprefix(f"{keys.prefix}:").split(":")[1]]]
    values = await chaos.ask_all([("GET", name) for name in held])
    for name, value in zip(held, values, strict=True):
        # Lists of an unnamed generation are being deleted.
        gone = value is None and (chaos.unfitted or name.removeprefix(f"{keys.prefix}:").split(":")[1] not in now)
        assert gone or name in unsteady or value == expected.get(name), f"{name} is not what it has to be: {value!r}"
    for flow in flows:
        if flow.created_ms <= chaos.looked_ms:
            continue
        match flow.state, flow.spec:
            case "done", UserSpec(user, generation) if user in truths.users and generation in named:
                assert keys.result(generation, user) in held, flow
            case "done", BasketSpec(items, generation):
                assert keys.basket(generation, items) in held, flow
    return len(held)


def _told(counts: Counter[str], *starts: str) -> str:
    chosen = {what: count for what, count in counts.items() if what and (not starts or what.startswith(starts))}
    return ", ".join(f"{count:,} {what}" for what, count in sorted(chosen.items()))
