"""The table of keys says what there is: each key that is written has its line, with its type and how long it lives."""

import re

import pytest
from redis.asyncio import Redis

from reckoner.shared.flows.flows import Flows
from reckoner.shared.flows.run_state import Manifest
from reckoner.shared.flows.runs import Runs
from reckoner.shared.redis import keys as module
from reckoner.shared.redis.keys import Keys
from reckoner.shared.redis.refusals import Refusals
from reckoner.shared.redis.scripts import ask, call
from reckoner.shared.serving.events import Events, UserEvent
from reckoner.shared.serving.results import Results
from reckoner.shared.wire.jobs import Chunk
from reckoner.shared.wire.shapes import RESULT, BasketSpec, Best, Event, Options, Plan, Record, Result, Trace, UserSpec
from tests.world import make_known

KEYS = Keys("p")
RECORD = Record(2, "g", "m", "s", Options(5), 7, 4, ["i"])
TYPES = {
    "sorted set": b"zset",
    "string": b"string",
    "hash": b"hash",
    "stream": b"stream",
    "list": b"list",
    "set": b"set",
}


def table() -> list[tuple[re.Pattern[str], bytes, bool]]:
    """For each name in the table the names that it stands for, their type, and whether they stay for ever."""
    assert module.__doc__
    lines = []
    for line in module.__doc__.splitlines():
        if line.startswith("| `"):
            names, kind, _, lives = line.strip("| ").split(" | ")
            for name in re.findall(r"`([^`]*)`", names):
                # A user's id and arq's ids of jobs may hold colons.
                any_id = name.replace("USER" if name.startswith("p:") else "ID", ".*")
                pattern = re.sub(r"[A-Z]{2,}", "[^:]+", any_id)
                may_stay = lives.startswith(("for ever", "as the records"))
                if kind.split(",")[0] in TYPES:
                    lines.append((re.compile(pattern, re.DOTALL), TYPES[kind.split(",")[0]], may_stay))
    return lines


async def written(redis: Redis) -> dict[str, tuple[bytes, bool]]:
    """The keys that there are: their type, and whether they stay for ever."""
    names = [name.decode() for name in await ask(redis, "KEYS", "*")]
    return {name: (await ask(redis, "TYPE", name), await ask(redis, "TTL", name) == -1) for name in names}


def check(seen: dict[str, tuple[bytes, bool]]) -> None:
    """Each key has a line of its type; what stays for ever has one that says so."""
    for name, (kind, stays) in seen.items():
        fitting = [line for line in table() if line[0].fullmatch(name) and line[1] == kind]
        assert fitting, name
        assert any(for_ever for _, _, for_ever in fitting) or not stays, name


async def test_every_key_has_its_line_in_the_table(redis: Redis) -> None:
    """While jobs and a run are under way, and after they have ended."""
    flows, runs, results = Flows(redis, KEYS, 10.0), Runs(redis, KEYS, 10.0), Results(redis, KEYS)
    await make_known(redis, KEYS, RECORD, {"i": "title"})
    joins = [KEYS.join_user("g", "a:b\n"), KEYS.join_basket("g", ["i"])]
    user, basket = await flows.create([UserSpec("a:b\n", "g"), BasketSpec(["i"], "g")], joins)
    await flows.plan(user, Plan([0, 1]), lease=None)
    await flows.store_partial(Chunk(user, 0, 0), Best(b"", b"", b"", b""), Trace("w", 1.0, 2.0), "a place", lease=None)
    await results.write("g", [("a:b\n", RESULT.encode(Result(2, [])))], 60)
    run_id, _ = await runs.start(RECORD, 1, 2)
    await Refusals(redis, KEYS).string("result", "x", KEYS.result("g", "a:b\n"), b"other", "not there")
    await call(redis, "lock", [KEYS.sweeper], ["token", 5_000])
    events, bought = Events(redis, KEYS, 10.0, 10), Event("i", "history", 1.0, "", None)
    for number in range(2):
        await events.record([UserEvent("a:b\n", bought, f"an id: {number}"), UserEvent("c", bought)], "g", 1)
    await events.hide("a:b\n", ["i"])
    under_way = await written(redis)
    check(under_way)

    for flow_id in (user, basket):
        flow = await flows.load(flow_id)
        assert flow is not None
        await flows.fail(flow, "failed by the test", lease=None)
    run = await runs.load(run_id)
    assert run is not None
    await runs.close(run, "failed", Manifest(4, 0, 4, 0, 1.0, 4.0, []), lease=None)
    ended = await written(redis)
    check(ended)
    assert {KEYS.partials(user), *joins, KEYS.run_of("g")} <= under_way.keys() - ended.keys()
    assert ended[KEYS.dead] == (b"stream", True)


@pytest.mark.parametrize("user", ["", "a:b", "a b", "a\nb", "ユーザー", "x" * 1024])
def test_a_users_key_ends_with_the_id_as_it_is(user: str) -> None:
    """Readers make it themselves."""
    assert KEYS.result("g", user) == f"p:rec:g:{user}"
