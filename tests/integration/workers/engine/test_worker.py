"""The engine's workers on a real server: no job is lost, no worker polls, and no job blocks another."""

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from arq import func
from redis import exceptions

from reckoner.shared.flows.flows import Flows
from reckoner.shared.redis.keys import job_key, leases_key, paused_key, tries_key, wake_key
from reckoner.shared.redis.scripts import ask, load_script
from reckoner.shared.wire.shapes import Plan, UserSpec
from reckoner.workers.engine import worker as module
from reckoner.workers.engine.outcomes import NotNowError
from tests.lanes import Lanes, died, until
from tests.patience import PATIENCE_S, slowness

if TYPE_CHECKING:
    from reckoner.workers.engine.worker import EngineWorker

Ctx = dict[Any, Any]


@pytest.fixture
def no_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without polling: everything in this test happens by being woken."""
    monkeypatch.setattr(module, "CLAIM_EACH_S", 3600.0)


async def work(ctx: Ctx) -> None:
    """Do nothing."""


class Gate:
    """A function whose jobs start and wait until released."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.open = asyncio.Event()

    @property
    def function(self) -> Any:
        async def wait(ctx: Ctx) -> None:
            self.begun.append(ctx["job_id"])
            await self.open.wait()

        return func(wait, name="wait")


async def test_a_job_of_a_worker_that_died_is_done_by_another(lanes: Lanes) -> None:
    """After about a lease, in its second try, before later jobs; nothing else is left."""
    gate, tries = Gate(), list[tuple[str, int]]()

    async def note(ctx: Ctx) -> None:
        tries.append((ctx["job_id"], ctx["job_try"]))

    first, second = lanes.name(), lanes.name()
    await lanes.put(lanes.batch, first, function="note", place=1)
    doomed = lanes.make(func(gate.function.coroutine, name="note"), name="doomed", lease_s=1.0)
    main = asyncio.create_task(doomed.async_run())
    await until(lambda: gate.begun)
    await died(doomed, main)
    await lanes.put(lanes.batch, second, function="note", place=2)
    await ask(lanes.redis, "SET", paused_key(lanes.batch), 1)
    async with lanes.running(lanes.make(func(note, name="note"), lease_s=1.0)):
        await until(lambda: lanes.tries(first))
        await ask(lanes.redis, "DEL", paused_key(lanes.batch))
        await until(lanes.idle)
    assert tries == [(first, 2), (second, 1)]
    assert await lanes.left(first, second) == 0


async def test_a_job_that_pauses_beside_its_worker_s_death_is_done_once_and_next(lanes: Lanes) -> None:
    """By another worker, when due, before later jobs: neither pause nor death counts."""
    tries = list[tuple[str, int]]()

    async def note(ctx: Ctx) -> None:
        tries.append((ctx["job_id"], ctx["job_deaths"]))
        if len(tries) == 1:
            raise NotNowError(60_000)

    paused, *later = [lanes.name() for _ in range(30)]
    await lanes.put(lanes.batch, paused, function="note", place=1)
    doomed = lanes.make(func(note, name="note"), name="doomed", lease_s=1.0)
    main = asyncio.create_task(doomed.async_run())
    await until(lambda: lanes.is_paused(lanes.batch, paused))
    await died(doomed, main)
    await lanes.put(lanes.batch, *later, function="note", place=2)
    await ask(lanes.redis, "ZADD", leases_key(lanes.batch), "XX", 1, paused)
    async with lanes.running(lanes.make(func(note, name="note"), lease_s=1.0, max_jobs=1)):
        await until(lanes.idle)
    assert tries[:2] == [(paused, 0), (paused, 0)]
    assert sorted(tries[2:]) == sorted((job, 0) for job in later)
    assert await lanes.left(paused, *later) == 0


async def test_only_the_job_that_kills_is_given_up(lanes: Lanes) -> None:
    """It kills three workers; its first neighbours are done in their second try at most."""
    done: dict[str, int] = {}
    alone: list[int] = []
    dying: list[asyncio.Task[Any]] = []
    killer, neighbours = lanes.name(), [lanes.name() for _ in range(4)]
    workers: list[EngineWorker] = []
    mains: list[asyncio.Task[Any]] = []

    async def kill(ctx: Ctx) -> None:
        await asyncio.sleep(0.05)
        alone.append(len(workers[-1].tasks))
        dying.append(asyncio.create_task(died(workers[-1], mains[-1])))
        await asyncio.sleep(60)

    async def slow(ctx: Ctx) -> None:
        await asyncio.sleep(0.2)
        done[ctx["job_id"]] = ctx["job_try"]

    await lanes.put(lanes.batch, killer, function="kill", place=1)
    await lanes.put(lanes.batch, *neighbours, function="slow", place=2)
    for _ in range(4):
        functions = func(kill, name="kill"), func(slow, name="slow")
        workers.append(lanes.make(*functions, lease_s=0.8, max_tries=3))
        mains.append(asyncio.create_task(workers[-1].async_run()))
        deaths = len(dying)
        await until(lambda deaths=deaths: is_over(lanes, len(dying) > deaths))  # type: ignore[misc]
        await asyncio.gather(*dying)
    workers[-1].stop()
    await mains[-1]
    await workers[-1].close()
    assert alone == [5, 1, 1]
    assert done == dict.fromkeys(neighbours, 2)
    assert [(letter[b"id"], letter[b"reason"]) for letter in await lanes.dead()] == [
        (killer.encode(), b"it was tried too often")
    ]
    assert await lanes.left(killer, *neighbours) == 0


async def is_over(lanes: Lanes, dead: bool) -> bool:
    """Whether a worker has died or is idle."""
    return dead or await lanes.idle()


async def test_an_exception_is_tried_again_later_and_at_last_is_a_dead_letter(
    lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As often as the function may be tried, each time a while later."""
    monkeypatch.setattr("reckoner.workers.engine.outcomes.FIRST_BACKOFF_MS", 100)
    moments = list[float]()

    async def fail(ctx: Ctx) -> None:
        moments.append(time.monotonic())
        raise ValueError("secret")

    job = lanes.name()
    await lanes.put(lanes.click, job, function="fail")
    async with lanes.running(lanes.make(func(fail, name="fail", max_tries=3), keep_result=0)):
        await until(lanes.idle)
    [letter] = await lanes.dead()
    assert (letter[b"id"], letter[b"reason"]) == (job.encode(), b"ValueError in try 3")
    assert len(moments) == 3
    assert moments[1] - moments[0] >= 0.04
    assert moments[2] - moments[1] >= 0.09
    assert await lanes.left(job) == 0


async def test_an_exception_that_was_caught_makes_no_suspect(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its next try does not run alone, and deaths are counted separately."""
    monkeypatch.setattr("reckoner.workers.engine.outcomes.FIRST_BACKOFF_MS", 1)
    gate, calls = Gate(), list[tuple[int, int]]()

    async def fail_once(ctx: Ctx) -> None:
        calls.append((ctx["job_try"], ctx["job_deaths"]))
        if len(calls) == 1:
            raise ValueError

    await lanes.put(lanes.batch, lanes.name(), function="wait")
    worker = lanes.make(gate.function, func(fail_once, name="fail"))
    async with lanes.running(worker):
        await until(lambda: gate.begun)
        await lanes.put(lanes.batch, lanes.name(), function="fail")
        await until(lambda: len(calls) == 2)
        gate.open.set()
        await until(lanes.idle)
    assert calls == [(1, 0), (2, 0)]


async def test_clicks_are_claimed_while_a_worker_empties_for_a_suspect(lanes: Lanes) -> None:
    """A job of the batch lane that takes long does not keep them waiting, though the suspect waits for its end."""
    gate, ran = Gate(), list[str]()

    async def note(ctx: Ctx) -> None:
        ran.append(ctx["job_id"])

    suspect, click = lanes.name(), lanes.name()
    await lanes.put(lanes.batch, lanes.name(), function="wait")
    async with lanes.running(lanes.make(gate.function, func(note, name="note"))):
        await until(lambda: gate.begun)
        await ask(lanes.redis, "SET", tries_key(suspect), 1, "EX", 60)
        await lanes.put(lanes.batch, suspect, function="note")
        await asyncio.sleep(0.2)
        await lanes.put(lanes.click, click, function="note")
        await until(lambda: ran)
        assert ran == [click]
        gate.open.set()
        await until(lanes.idle)
    assert ran == [click, suspect]


async def test_what_runs_is_handed_back_and_that_is_no_try(lanes: Lanes) -> None:
    """At its score, when the worker stops; the next worker runs it in its first try."""
    gate, job = Gate(), lanes.name()
    await lanes.put(lanes.batch, job, function="wait", place=5)
    async with lanes.running(lanes.make(gate.function)):
        await until(lambda: gate.begun)
    assert [await lanes.score(lanes.batch, job), await lanes.tries(job), await lanes.token(job)] == [5, 0, None]
    assert await lanes.lease(lanes.batch, job) is None


async def test_a_stopped_worker_finishes_its_running_jobs(lanes: Lanes) -> None:
    """Within its grace time; it claims nothing more."""
    gate, first, second = Gate(), lanes.name(), lanes.name()
    await lanes.put(lanes.batch, first, function="wait")
    worker = lanes.make(gate.function)
    main = asyncio.create_task(worker.async_run())
    await until(lambda: gate.begun)
    worker.stop(60.0)
    await lanes.put(lanes.batch, second, function="wait")
    gate.open.set()
    await main
    await worker.close()
    assert gate.begun == [first]
    assert await lanes.score(lanes.batch, first) is None
    assert await lanes.score(lanes.batch, second) is not None


async def test_a_job_that_loses_a_cancellation_is_cancelled_again(lanes: Lanes) -> None:
    """So a worker that is stopped comes to its end."""
    began = asyncio.Event()

    async def deaf(ctx: Ctx) -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(60)

    await lanes.put(lanes.batch, lanes.name(), function="deaf")
    async with lanes.running(lanes.make(func(deaf, name="deaf"))):
        await began.wait()


async def test_a_job_that_was_taken_away_is_cancelled(lanes: Lanes) -> None:
    """At the next renewal; its end is not reported."""
    gate, job = Gate(), lanes.name()
    await lanes.put(lanes.batch, job, function="wait")
    worker = lanes.make(gate.function, lease_s=0.9)
    async with lanes.running(worker):
        await until(lambda: gate.begun)
        await ask(lanes.redis, "ZREM", lanes.batch, job)
        await ask(lanes.redis, "ZREM", leases_key(lanes.batch), job)
        await ask(lanes.redis, "DEL", job_key(job), f"arq:in-progress:{job}")
        await until(lambda: not worker.tasks)
    assert await lanes.left(job) == 0


async def test_leases_are_held_while_a_job_runs_for_longer(lanes: Lanes) -> None:
    """No other worker starts it, and it is no try."""
    starts = list[int]()

    async def slow(ctx: Ctx) -> None:
        starts.append(ctx["job_try"])
        await asyncio.sleep(3.0)

    await lanes.put(lanes.batch, lanes.name(), function="slow")
    async with lanes.running(*(lanes.make(func(slow, name="slow"), name=name, lease_s=1.5) for name in "ab")):
        await until(lanes.idle)
    assert starts == [1]


async def test_an_answer_that_never_arrived_costs_no_try(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was claimed is given back at once, and done."""
    done: list[int] = []

    async def note(ctx: Ctx) -> None:
        done.append(ctx["job_try"])

    worker = lanes.make(func(note, name="note"), lease_s=600.0)
    claim, lost = worker._claims.claim, list[str]()

    async def deaf(token: str, *arguments: Any, **options: Any) -> Any:
        answer = await claim(token, *arguments, **options)
        if answer.jobs and len(lost) < 2:
            lost.append(token)
            raise exceptions.ConnectionError("lost")
        return answer

    monkeypatch.setattr(worker._claims, "claim", deaf)
    await lanes.put(lanes.click, lanes.name(), function="note")
    async with lanes.running(worker):
        await until(lanes.idle)
    assert (done, len(lost)) == ([1], 2)


async def test_a_deferred_job_starts_when_it_is_due(lanes: Lanes, no_looks: None) -> None:
    """Not before, and soon after, even if its worker was asleep."""
    started: dict[str, float] = {}

    async def note(ctx: Ctx) -> None:
        started[ctx["job_id"]] = time.time()

    async with lanes.running(lanes.make(func(note, name="note"))):
        due: dict[str, float] = {}
        for delay_s in (0.6, 0.2, 0.4):
            name = lanes.name()
            due[name] = time.time() + delay_s
            await lanes.redis.enqueue_job("note", _job_id=name, _queue_name=lanes.batch, _defer_by=delay_s)
        await until(lanes.idle)
    late = sorted(started[name] - due[name] for name in due)
    assert -0.005 < late[0] < 0.1
    assert late[-1] < 2.0


async def test_the_job_that_a_script_makes_is_claimed_at_once_though_the_server_did_not_know_it(
    lanes: Lanes, no_looks: None
) -> None:
    """After a restart each script is loaded once, and the claim in the batch ran before any job existed."""
    flows, chunked = Flows(lanes.redis, lanes.keys, first_look_s=60.0), asyncio.Event()

    async def split(ctx: Ctx, flow: str) -> None:
        await ask(lanes.redis, "SCRIPT FLUSH")
        await ask(lanes.redis, "SCRIPT LOAD", load_script("claim").text)
        await flows.plan(flow, Plan([0, 1]), lease=ctx["lease"])

    async def chunk(ctx: Ctx, *_: Any) -> None:
        chunked.set()

    async with lanes.running(lanes.make(func(split, name="split"), func(chunk, name="chunk"), lease_s=600.0)):
        await flows.create([UserSpec("anna", "0" * 16)], ["anna"])
        async with asyncio.timeout(5.0 * slowness()):
            await chunked.wait()


async def test_a_job_that_is_due_soon_does_not_wait_for_a_full_worker(lanes: Lanes, no_looks: None) -> None:
    """The worker that knows of it will have no free slot, so another one is woken."""
    gate, done = Gate(), asyncio.Event()

    async def note(ctx: Ctx) -> None:
        done.set()

    functions = gate.function, func(note, name="note")
    workers = [lanes.make(*functions, name=name, max_jobs=2) for name in "ab"]
    async with lanes.running(*workers):
        await lanes.redis.enqueue_job("note", _queue_name=lanes.batch, _defer_by=1.0)
        await lanes.put(lanes.batch, lanes.name(), function="wait")
        await asyncio.wait_for(done.wait(), PATIENCE_S)
        gate.open.set()


async def test_two_workers_start_hundreds_of_jobs_without_polling_beside_long_ones(
    lanes: Lanes, no_looks: None
) -> None:
    """A worker full of long jobs takes no token from another."""
    gate, done = Gate(), Counter[str]()
    names = iter("ab")

    def short(name: str) -> Any:
        async def note(ctx: Ctx) -> None:
            done[name] += 1

        return func(note, name="short")

    workers = [lanes.make(gate.function, short(name), name=name, max_jobs=4) for name in names]
    long = [lanes.name() for _ in range(3)]
    async with lanes.running(workers[0]):
        await lanes.put(lanes.batch, *long, function="wait")
        await until(lambda: len(gate.begun) == 3)
        async with lanes.running(workers[1]):
            started = time.monotonic()
            for _ in range(60):
                await lanes.put(lanes.batch, *(lanes.name() for _ in range(5)), function="short")
            await until(lambda: done.total() == 300)
            took_s = time.monotonic() - started
        gate.open.set()
    assert done["b"] == 300
    # Four a second where a worker takes tokens of a lane that it cannot claim from.
    assert took_s < 15 * slowness()


async def test_a_full_worker_passes_its_token_on(lanes: Lanes, no_looks: None) -> None:
    """It was still blocking on the lane when it became full."""
    gate, done = Gate(), asyncio.Event()

    async def note(ctx: Ctx) -> None:
        done.set()

    full, other = (lanes.make(gate.function, func(note, name="note"), name=name, max_jobs=2) for name in "ab")
    async with lanes.running(full):
        await lanes.put(lanes.batch, lanes.name(), function="wait")
        await until(lambda: gate.begun)
        # The first of its two lists to be popped from is that of the other lane, of which it has room.
        await lanes.put(lanes.click, lanes.name(), function="wait")
        await until(lambda: len(gate.begun) == 2)
        await lanes.put(lanes.batch, lanes.name(), function="note")
        async with lanes.running(other):
            await asyncio.wait_for(done.wait(), PATIENCE_S)
        gate.open.set()


async def test_a_worker_claims_no_more_of_a_lane_than_it_wants_and_another_claims_the_rest(
    lanes: Lanes, no_looks: None
) -> None:
    """Even if jobs are due and it has free slots."""
    gate, other, done = Gate(), Gate(), asyncio.Event()

    async def note(ctx: Ctx) -> None:
        done.set()

    functions = func(note, name="note")
    busy = lanes.make(gate.function, functions, name="a", wants=lambda lane: 2 - len(gate.begun) if lane else 9)
    jobs = [lanes.name() for _ in range(4)]
    async with lanes.running(busy):
        await lanes.put(lanes.batch, *jobs, function="wait")
        await until(lambda: len(gate.begun) == 2)
        await lanes.put(lanes.click, lanes.name(), function="note")
        await asyncio.wait_for(done.wait(), PATIENCE_S)
        assert len(gate.begun) == 2
        async with lanes.running(lanes.make(other.function, functions, name="b")):
            await until(lambda: len(other.begun) == 2)
            assert sorted(gate.begun + other.begun) == sorted(jobs)
            gate.open.set()
            other.open.set()
            await until(lanes.idle)


async def test_a_worker_that_wants_more_again_claims_at_once(lanes: Lanes, no_looks: None) -> None:
    """`claim_soon` is enough, without a periodic claim or a token."""
    gate, wanted = Gate(), 1
    worker = lanes.make(gate.function, wants=lambda lane: wanted - len(gate.begun))
    async with lanes.running(worker):
        await lanes.put(lanes.batch, *(lanes.name() for _ in range(3)), function="wait")
        await until(lambda: gate.begun)
        await asyncio.sleep(0.2)
        assert len(gate.begun) == 1
        wanted = 2
        worker.claim_soon()
        await until(
            lambda: len(gate.begun) == 2,
        )
        gate.open.set()


async def test_a_worker_that_wants_no_more_blocks_on_no_lane(lanes: Lanes, no_looks: None) -> None:
    """It returns a token that it popped, and takes no other."""
    gate, claims = Gate(), list[int]()
    worker = lanes.make(gate.function, wants=lambda lane: 1 - len(gate.begun) if lane else 9)
    claim = worker._claims.claim

    async def count(token: str, room: int, wanted: Any, **options: Any) -> Any:
        claims.append(wanted[1])
        return await claim(token, room, wanted, **options)

    worker._claims.claim = count  # type: ignore[method-assign, assignment]
    async with lanes.running(worker):
        for _ in range(5):
            await lanes.put(lanes.batch, *(lanes.name() for _ in range(5)), function="wait")
            await asyncio.sleep(0.1)
        gate.open.set()
    assert len(gate.begun) == 1
    assert claims.count(0) <= 2
    assert len(claims) <= 6


async def test_workers_that_wait_share_a_few_jobs(lanes: Lanes) -> None:
    """None takes them all while another has nothing to do."""
    workers: Counter[str] = Counter()

    def function(name: str) -> Any:
        async def slow(ctx: Ctx) -> None:
            workers[name] += 1
            await asyncio.sleep(0.3)

        return func(slow, name="slow")

    now_ms = int(time.time() * 1000)
    await ask(lanes.redis, "ZADD", lanes.keys.workers, now_ms, "a", now_ms, "b")
    async with lanes.running(*(lanes.make(function(name), name=name) for name in "ab")):
        await lanes.put(lanes.keys.batch, *(lanes.name() for _ in range(8)), function="slow")
        await until(lambda: workers.total() == 8)
    assert min(workers["a"], workers["b"]) >= 1


async def test_neither_lane_blocks_the_other(lanes: Lanes, no_looks: None) -> None:
    """Of ten slots two are kept for each: a flood of clicks leaves them to batch, and a full batch lane to clicks."""
    for flood, other in ((lanes.click, lanes.batch), (lanes.batch, lanes.click)):
        gate, done = Gate(), asyncio.Event()

        async def note(ctx: Ctx, done: asyncio.Event = done) -> None:
            done.set()

        async with lanes.running(lanes.make(gate.function, func(note, name="note"))):
            await lanes.put(flood, *(lanes.name() for _ in range(30)), function="wait")
            await until(lambda gate=gate: len(gate.begun) == 8)  # type: ignore[misc]
            await lanes.put(other, lanes.name(), function="note")
            await asyncio.wait_for(done.wait(), PATIENCE_S)
            assert len(gate.begun) == 8
            gate.open.set()
            await until(lanes.idle)


async def test_a_suspect_gets_its_turn_amid_a_flood_of_clicks(lanes: Lanes) -> None:
    """It waits until its worker runs nothing, and then for no click more."""
    done = asyncio.Event()
    clicks = Counter[int]()

    async def suspect(ctx: Ctx) -> None:
        done.set()

    async def click(ctx: Ctx) -> None:
        clicks[0] += 1
        if not done.is_set():
            await lanes.put(lanes.click, lanes.name(), function="click")

    job = lanes.name()
    await ask(lanes.redis, "SET", tries_key(job), 1, "EX", 60)
    async with lanes.running(lanes.make(func(suspect, name="suspect"), func(click, name="click"))):
        await lanes.put(lanes.click, *(lanes.name() for _ in range(20)), function="click")
        await until(lambda: clicks[0] > 20)
        await lanes.put(lanes.batch, job, function="suspect")
        await asyncio.wait_for(done.wait(), PATIENCE_S)
        await until(lanes.idle)


async def test_planted_jobs_end_no_worker(lanes: Lanes) -> None:
    """Ids that are not UTF-8, invalid scores, missing or invalid bodies, lists of another type."""
    planted = {score: lanes.name() for score in ("-inf", "inf", "2e14", "1e14")}
    for score, job in planted.items():
        await lanes.put(lanes.batch, job)
        await ask(lanes.redis, "ZADD", lanes.batch, score, job)
    bodiless, strange, unknown = lanes.name(), lanes.name(), lanes.name()
    await ask(lanes.redis, "ZADD", lanes.batch, 1, b"\xff\xfe", 1, bodiless, 1, strange, 1, "", 1, "x" * 5000)
    await ask(lanes.redis, "SET", job_key(strange), b"\x93no job", "EX", 60)
    await lanes.put(lanes.click, unknown, function="no such function")
    await ask(lanes.redis, "ZADD", leases_key(lanes.batch), 1, "no job", "inf", "no job either", "-inf", b"\xff")
    await ask(lanes.redis, "SET", wake_key(lanes.click), "planted")
    await ask(lanes.redis, "HSET", lanes.keys.mail("a"), "a", "b")
    await ask(lanes.redis, "SET", lanes.keys.workers, "planted")
    async with lanes.running(lanes.make(work, lease_s=0.5, keep_result=0)):
        await until(lanes.idle)
        await until(lambda: nothing_at(lanes, leases_key(lanes.batch)))
    reasons = Counter(letter[b"reason"].split(b"'")[0] for letter in await lanes.dead())
    assert reasons == {
        b"its id is not UTF-8": 1,
        b"its id has 0 bytes": 1,
        b"its id has 5000 bytes": 1,
        b"its body cannot be read": 1,
        b"there is no function ": 1,
    }
    assert await ask(lanes.redis, "HGETALL", lanes.keys.refused) == {b"job": b"5"}
    assert await lanes.left(*planted.values(), bodiless, strange, unknown) == 0


async def nothing_at(lanes: Lanes, key: str) -> bool:
    """Whether there is no such key."""
    return not await ask(lanes.redis, "EXISTS", key)


@pytest.mark.parametrize("which", ["queue", "leases"])
async def test_a_worker_waits_while_a_lane_has_another_type(lanes: Lanes, which: str) -> None:
    """It pauses with backoff, and continues when the key is quarantined."""
    key = lanes.batch if which == "queue" else leases_key(lanes.batch)
    await ask(lanes.redis, "SET", key, "planted")
    async with lanes.running(lanes.make(work, lease_s=0.5)):
        await asyncio.sleep(0.5)
        await ask(lanes.redis, "DEL", key)
        await lanes.put(lanes.batch, lanes.name())
        await until(lanes.idle)


async def test_a_paused_lane_is_left_alone_until_it_is_resumed(lanes: Lanes) -> None:
    """The other lane goes on."""
    done: list[str] = []

    async def note(ctx: Ctx) -> None:
        done.append(ctx["job_id"])

    click, batch = lanes.name(), lanes.name()
    await ask(lanes.redis, "SET", paused_key(lanes.batch), 1)
    async with lanes.running(lanes.make(func(note, name="note"))):
        await lanes.put(lanes.batch, batch, function="note")
        await lanes.put(lanes.click, click, function="note")
        await until(lambda: done)
        assert done == [click]
        await ask(lanes.redis, "DEL", paused_key(lanes.batch))
        await until(lanes.idle)
    assert done == [click, batch]


async def test_a_worker_that_waits_asks_for_little(lanes: Lanes) -> None:
    """An idle worker claims every two seconds, and does nothing else."""
    worker = lanes.make(work, lease_s=60.0)
    asked = list[str]()
    execute = worker.pool.execute_command

    async def count(*arguments: Any, **options: Any) -> Any:
        asked.append(arguments[0])
        return await execute(*arguments, **options)  # type: ignore[no-untyped-call]

    async with lanes.running(worker):
        await lanes.put(lanes.click, lanes.name())
        await until(lanes.idle)
        worker.pool.execute_command = count  # type: ignore[method-assign]
        await asyncio.sleep(2.5)
        assert len(asked) <= 4
