"""Scripts check everything before their first write, since Lua does not roll back."""

from collections import Counter
from importlib.resources import files
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, ResponseError

from reckoner.shared.flows.dead_letters import DeadLetters
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.flows.flows import Flows
from reckoner.shared.flows.nights import NightOptions, Nights
from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.keys import job_key, leases_key, paused_key
from reckoner.shared.redis.scripts import Script, ask, call, load_script
from reckoner.shared.serving.events import UserEvent
from reckoner.shared.serving.history import Entry
from reckoner.shared.serving.impressions import Impressions, Rotation
from reckoner.shared.serving.tags import Tags
from reckoner.shared.settings import Settings
from reckoner.shared.wire.jobs import Chunk, Split
from reckoner.shared.wire.shapes import Best, Event, Plan, Trace, UserSpec
from reckoner.workers.engine.claims import Claims, Settled
from reckoner.workers.maintenance.heartbeat import Heartbeat
from reckoner.workers.maintenance.sweeper import Sweeper
from reckoner.workers.process.wiring import connect_worker
from reckoner.workers.runtime.history import remember
from tests.conftest import StartServer
from tests.world import Generation, Hand, World

NAMES = {
    file.name.removesuffix(".lua")
    for file in (files("reckoner.shared.redis") / "scripts").iterdir()
    if file.name.endswith(".lua") and file.name not in ("prelude.lua", "closing.lua")
}
GARBAGE = (b"", b"\xff", b"nan")
JOBS = ("split", "chunk", "reduce", "finish")
# How often each script is tried with so many keys.
TIMES = 2

# What is at some keys, in an order that does not depend on how the server holds it.
LOOK = """
local found = {}
for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind == 'hash' then
    local fields = redis.call('HKEYS', key)
    table.sort(fields)
    found[i] = { kind, fields, redis.call('HMGET', key, unpack(fields)) }
  elseif kind == 'zset' then
    found[i] = { kind, redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') }
  elseif kind == 'list' then
    found[i] = { kind, redis.call('LRANGE', key, 0, -1) }
  elseif kind == 'stream' then
    found[i] = { kind, redis.call('XRANGE', key, '-', '+') }
  else
    found[i] = { kind, kind == 'string' and redis.call('GET', key) }
  end
end
return found
"""

# Keeps what is at some keys under other names; and makes all as it was kept, whatever else is there by now.
KEEP = "for _, key in ipairs(KEYS) do redis.call('COPY', key, 'kept:' .. key) end"
RESET = """
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  redis.call('DEL', key)
end
for _, key in ipairs(KEYS) do
  redis.call('DEL', key)
  redis.call('COPY', 'kept:' .. key, key)
end
"""

Command = tuple[Any, ...]


class Trial:
    """Tries each script of a connection on damaged keys, one damage after another, before it runs."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix
        self._scripts: dict[str, tuple[str, Script]] = {}
        for name in NAMES:
            for script in (load_script(name), load_script(name, closing=True)):
                self._scripts[script.sha] = (name, script)
        self._seen = Counter[tuple[str, int]]()
        self.tried = Counter[str]()
        """How many damages each script was tried with."""
        self.stopped = Counter[str]()
        """How many of them stopped it."""

    async def before(self, command: Command) -> None:
        """Try the script that is about to run, and leave everything as it was."""
        if command[0] != "EVALSHA":
            return
        name, script = self._scripts[command[1]]
        keys = [key if isinstance(key, str) else key.decode() for key in command[3 : 3 + command[2]]]
        self._seen[script.sha, len(keys)] += 1
        if self._seen[script.sha, len(keys)] > TIMES:
            return
        await ask(self._redis, "SCRIPT LOAD", script.text)
        texts = {part.decode(errors="replace") if isinstance(part, bytes) else str(part) for part in command[3:]}
        jobs = [text for text in texts if len(text) < 100 and text.partition(":")[0] in JOBS]
        beside = {f"arq:{what}:{job}" for job in jobs for what in ("job", "in-progress", "retry")}
        names = sorted({*keys, *beside, *await self._names()})
        await ask(self._redis, "EVAL", KEEP, len(names), *names)
        reset = ("EVAL", RESET, len(names), *names, f"{self._prefix}:*")
        met = [name for name in names if name in keys or await self._is_met(name)]
        for damage in await self._damages(met):
            await self._try(name, command, names, [reset, *damage])
        await self._all([reset, ("DEL", *(f"kept:{key}" for key in names))])

    async def _try(self, name: str, command: Command, names: list[str], damaged: list[Command]) -> None:
        look = ("EVAL", LOOK, len(names), *names)
        *_, before, error, after = await self._all([*damaged, look, command, look])
        self.tried[name] += 1
        if isinstance(error, ResponseError):
            self.stopped[name] += 1
            # A mark of a quarter of a second may end meanwhile.
            changed = [
                it
                for it, one, other in zip(names, before, after, strict=True)
                if one != other and ":refreshed:" not in it
            ]
            assert not changed, (name, damaged[-1], str(error), changed)

    async def _is_met(self, name: str) -> bool:
        """Whether a script may meet a key that it was not given: that of an unfinished flow, of a run, or a lease."""
        kind = name.removeprefix(f"{self._prefix}:").partition(":")[0]
        if kind == "flow" and await ask(self._redis, "TYPE", name) == b"hash":
            return await ask(self._redis, "HGET", name, "state") in (b"split", b"run", b"reduce")
        return kind in ("queue", "live", "run", "arq")

    async def _damages(self, names: list[str]) -> list[list[Command]]:
        """Each way in which one of the keys is damaged: a field lost or replaced, a score, another type."""
        found: list[list[Command]] = []
        for name in names:
            kind = await ask(self._redis, "TYPE", name)
            if kind == b"hash":
                for field in await ask(self._redis, "HKEYS", name):
                    found.append([("HDEL", name, field)])
                    found += [[("HSET", name, field, value)] for value in GARBAGE]
            if kind == b"zset":
                for member in await ask(self._redis, "ZRANGE", name, 0, 1):
                    found += [[("ZADD", name, score, member)] for score in ("-inf", "inf")]
            for other in (("SET", name, "planted"), ("HSET", name, "a", "b"), ("ZADD", name, 1, "a")):
                found.append([("DEL", name), other])
        return found

    async def _names(self) -> list[str]:
        return [name.decode() for name in await ask(self._redis, "KEYS", f"{self._prefix}:*")]

    async def _all(self, commands: list[Command]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            answers: list[Any] = await pipe.execute(raise_on_error=False)
        return answers


@pytest.fixture
async def trial(hand: Hand, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Tries all scripts of the hand's connection."""
    redis = connect(redis_url)
    made = Trial(redis, hand.runtime.keys.prefix)
    execute = hand.redis.execute_command

    async def tried(*command: Any, **options: Any) -> Any:
        await made.before(command)
        return await execute(*command, **options)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(hand.redis, "execute_command", tried)
    yield made
    await redis.aclose()


async def load(flows: Flows, flow_id: str) -> Flow:
    flow = await flows.load(flow_id)
    assert flow is not None
    return flow


async def live_through(hand: Hand, world: World, sweeper: Sweeper) -> None:
    """Flows and runs with lost, cancelled and failed parts, and retries."""
    flows, runs, keys = hand.runtime.flows, hand.runtime.runs, hand.runtime.keys
    first, second = await hand.adopt(world), await hand.adopt(world, 1)
    await _a_flow(hand, first)
    users = ["Ada", "user:1"]
    joins = [keys.join_user(first.id, user) for user in users]
    specs = [UserSpec(user, first.id) for user in users]
    await flows.create(specs[1:], joins[1:], "batch")
    # Another that is new comes before the one that is raised.
    await flows.create(specs, joins, "click")
    await ask(hand.redis, "DEL", *keys.lanes)
    await hand.make_due()
    await sweeper.sweep()
    await hand.deliver_all()
    run_id, _ = await runs.start(second.record, 2)
    flight = await ask(hand.redis, "HVALS", keys.flight(run_id))
    await ask(hand.redis, "DEL", keys.flow(flight[0].decode()))
    await hand.make_due()
    await sweeper.sweep()
    flight = await ask(hand.redis, "HVALS", keys.flight(run_id))
    await flows.fail(await load(flows, flight[0].decode()), "failed by the test", lease=None)
    await hand.deliver_all()
    letters = DeadLetters(hand.redis, flows)
    [letter] = await letters.newest(1)
    await letters.retry(letter.id)
    await hand.deliver_all()
    run_id, _ = await runs.start(world.generations[2].record, 2, 1)
    run = await runs.load(run_id)
    assert run is not None
    await runs.curtail(run)
    await hand.deliver_all()
    generations = hand.runtime.results.generations
    await generations.promote(first.id, await generations.follow(keys.current), bars=True)
    nights = Nights(hand.redis, keys)
    night_id, _ = await nights.begin("2026-11-30", "command", NightOptions())
    await ask(hand.redis, "SET", keys.night_driver, "token")
    night = await nights.load(night_id)
    assert night is not None
    assert await nights.end(night, "token", "failed")
    await record_events(hand)
    await remember(hand.runtime, Entry(id=night_id, kind="night", outcome="failed", started_ms=1, ended_ms=2))


async def _a_flow(hand: Hand, generation: Generation) -> None:
    """Planned, done again, cancelled; then another that fails and is asked for again."""
    flows, keys = hand.runtime.flows, hand.runtime.keys
    spec, join = UserSpec("Ada", generation.id), keys.join_user(generation.id, "Ada")
    [flow] = await flows.create([spec], [join])
    await flows.plan(flow, Plan([0, 1, 2]), lease=None)
    for index in (0, 1):
        partial = Best(b"", b"", b"", b"")
        await flows.store_partial(Chunk(flow, index, 0), partial, Trace("w", 1.0, 2.0), "a place", lease=None)
    await flows.mend(await load(flows, flow))
    assert await flows.rework(await load(flows, flow), [b"1"], [1], lease=None) == "again"
    await flows.mend(await load(flows, flow))
    assert await flows.cancel(await load(flows, flow))
    [flow] = await flows.create([spec], [join])
    assert await flows.fail(await load(flows, flow), "failed by the test", lease=None)
    letters = DeadLetters(hand.redis, flows)
    [letter] = await letters.newest(1)
    retried = await letters.retry(letter.id)
    assert await flows.finish(await load(flows, retried.job), lease=None)
    await ask(hand.redis, "DEL", *keys.lanes, job_key(Split(retried.job).job_id))


async def record_events(hand: Hand) -> None:
    """Events, hidden items, a login, and what the live snapshots hold."""
    current = await hand.runtime.results.generations.current()
    assert current is not None
    events, bought = hand.runtime.events, Event("item 01", "history", 1.0, "", None)
    for number in range(2):
        await events.record([UserEvent("Ada", bought, f"order {number}")], current)
        await events.record([UserEvent("visitor", bought), UserEvent("user:1", bought)], current, most_queued=1)
        await events.settled(await events.take_stale(1))
    await events.hide("visitor", ["item 02", "item 03"])
    await events.hide("visitor", ["item 03"], show=True)
    await events.move("visitor", "user:1")
    await hand.deliver_all()
    await events.trim(await events.take())
    impressions = Impressions(hand.redis, hand.runtime.keys, Rotation())
    await impressions.note("Ada", ["item 01", "item 02"])
    await impressions.note("Ada", ["item 02"])
    await impressions.counts(["Ada", "user:1"])
    hidden = hand.runtime.results.hidden
    await hidden.hide(["item 02", "item 03"])
    await hidden.show(["item 03"])
    await hidden.hide(["item 04"], 1)
    await hidden.expire()
    await hidden.withdraw(["item 02", "item 06"])
    await hidden.hide(["item 07"])
    await hidden.offer(["item 02"])
    await hidden.keep_mask()
    await hidden.replace(["item 05"])


async def work(hand: Hand) -> None:
    """The scripts of workers: claims, beats, refusals, pauses."""
    keys, redis = hand.runtime.keys, hand.redis
    claims = Claims(redis, hand.worker.keys, 5.0)  # type: ignore[attr-defined]
    ids = [f"split:{keys.prefix}-{number}" for number in range(5)]
    for job_id in ids:
        await call(redis, "enqueue", [keys.click], [job_id, b"a body", "", 60_000])
    await claims.claim("t", 4, [4, 4], alone=True)
    await ask(redis, "ZADD", leases_key(keys.click), 1, ids[3])
    await claims.claim("u", 4, [4, 4], alone=True)
    ways = [Settled(ids[0], "t", "done", 1, b"a result", "why"), Settled(ids[1], "t", "later", 1, b"another body")]
    await claims.settle(keys.click, ways)
    await claims.release(["t"])
    await claims.claim("dead-1", 4, [4, 4], alone=True)
    await call(redis, "release", keys.lanes, [5000, 1, "dead"])
    await claims.claim("v", 4, [4, 4], alone=True)
    await ask(redis, "DEL", leases_key(keys.click))
    await claims.release_unheld()
    await Heartbeat(hand.runtime).beat()
    await ask(redis, "ZADD", keys.workers, "inf", "planted")
    await Heartbeat(hand.runtime).beat()
    await call(redis, "renew", [keys.click], [5000, ids[2], "v"])
    await hand.runtime.flows.refusals.member(keys.click, ids[4].encode(), "why")
    await call(redis, "pause", [paused_key(keys.click)])
    await call(redis, "resume", [keys.click, paused_key(keys.click)])
    await call(redis, "tell", [keys.mail("w")], ["drain"])
    tags = Tags(redis, keys)
    await tags.change(None, "item", add=["new"])
    await tags.reset("item")
    await ask(redis, "HSET", keys.generations, "old", "a snapshot")
    await ask(redis, "MSET", keys.record("old"), "a record", keys.result("old", "Ada"), "a list")
    await ask(redis, "HSET", keys.held, "old", "what it holds")
    names = [keys.generations, *keys.pointers, keys.run_of("old"), keys.record("old"), keys.held]
    await call(redis, "forget", [*names, keys.result("old", "Ada")], ["old", "a snapshot", "", keys.run("")])
    await call(redis, "lock", [keys.cleanup], ["token", 5_000])
    await call(redis, "hold", [keys.cleanup], ["token", 5_000])


async def test_a_script_that_is_stopped_has_changed_nothing(
    hand: Hand, world: World, sweeper: Sweeper, trial: Trial
) -> None:
    """With any field lost or garbage, any score infinite, and any key of another type."""
    await live_through(hand, world, sweeper)
    await work(hand)
    assert trial.tried.keys() == NAMES
    assert min(trial.tried.values()) >= 3
    assert trial.stopped.total() > 100


async def test_scripts_that_take_no_new_work_pass_on_a_full_server(
    world: World, fresh_server: StartServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their first write is a removal. Only scripts that create flows, runs and jobs or store data are refused."""
    url = fresh_server().url
    redis, beside = connect_worker(Settings(), url), connect(url)
    hand = Hand(world, redis, prefix)
    scripts = {load_script(name, closing): name for name in NAMES for closing in (False, True)}
    names = {await ask(beside, "SCRIPT LOAD", script.text): name for script, name in scripts.items()}
    execute, passed, refused = redis.execute_command, set[str](), set[str]()

    async def on_a_full_server(*command: Any, **options: Any) -> Any:
        if command[0] == "EVALSHA":
            await ask(beside, "CONFIG", "SET", "maxmemory", "1")
            try:
                answer = await execute(*command, **options)  # type: ignore[no-untyped-call]
                passed.add(names[command[1]])
                return answer
            except OutOfMemoryError:
                refused.add(names[command[1]])
            finally:
                await ask(beside, "CONFIG", "SET", "maxmemory", "0")
        return await execute(*command, **options)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(redis, "execute_command", on_a_full_server)
    await live_through(hand, world, Sweeper(hand.runtime))
    await work(hand)
    assert passed | refused == NAMES
    assert refused == {
        *("adopt", "begin_night", "create", "describe", "enqueue", "partial", "plan", "start"),
        *("record", "hide_for", "hide", "impress", "take"),
    }
    hand.close()
    await redis.aclose()
    await beside.aclose()
