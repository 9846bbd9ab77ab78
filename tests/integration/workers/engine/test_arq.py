"""The engine is an arq worker: it keeps arq's jobs, client, functions, cron and hooks."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from arq import cron, func
from arq.constants import keep_cronjob_progress
from arq.jobs import Job, JobStatus, ResultNotFound
from arq.worker import FailedJobs, Retry

import reckoner.workers.engine.worker
from reckoner.shared.redis.keys import in_progress_key
from reckoner.shared.redis.scripts import ask
from tests.lanes import CLAIMED, Lanes, decode, until
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from reckoner.workers.engine.running import JobEnd

Ctx = dict[Any, Any]


async def work(ctx: Ctx) -> None:
    """Do nothing."""


async def add(ctx: Ctx, left: int, *, right: int = 0) -> int:
    """A sum."""
    return left + right


async def fail(ctx: Ctx) -> None:
    """Raise."""
    raise ValueError("no such thing")


def job_of(lanes: Lanes, job_id: str) -> Job:
    """A job of arq's own client."""
    return Job(job_id, lanes.stock, _queue_name=lanes.click, _deserializer=decode)


async def test_a_job_of_arq_is_in_progress_and_then_complete_with_its_result(lanes: Lanes) -> None:
    """Enqueued by arq's pool, and visible to arq's `Job` during and after its run."""
    began, goes_on = asyncio.Event(), asyncio.Event()

    async def slow(ctx: Ctx, left: int, *, right: int) -> int:
        began.set()
        await goes_on.wait()
        return left + right

    job = await lanes.stock.enqueue_job("slow", 2, right=3)
    assert job is not None
    assert await job.status() == JobStatus.queued
    async with lanes.running(lanes.make(func(slow, name="slow", keep_result=60))):
        await began.wait()
        assert await job.status() == JobStatus.in_progress
        info = await job.info()
        assert info is not None
        assert [info.function, info.args, info.kwargs] == ["slow", [2], {"right": 3}]
        goes_on.set()
        assert await job.result(timeout=PATIENCE_S, poll_delay=0.01) == 5
        assert await job.status() == JobStatus.complete
        result = await job.result_info()
    assert result is not None
    assert (result.success, result.result, result.job_try, result.job_id) == (True, 5, 1, job.job_id)
    assert [result.queue_name, result.args] == [lanes.click, [2]]
    assert await lanes.left(job.job_id) == 0


async def test_an_exception_is_raised_where_the_result_is_awaited(lanes: Lanes) -> None:
    """With its type and its message."""
    job = await lanes.stock.enqueue_job("fail")
    assert job is not None
    async with lanes.running(lanes.make(fail, max_tries=1)):
        with pytest.raises(ValueError, match="no such thing"):
            await job.result(timeout=PATIENCE_S, poll_delay=0.01)


async def test_results_are_kept_as_long_as_configured(lanes: Lanes) -> None:
    """The function's setting, else the worker's; for ever or not at all."""
    functions = [
        func(add, name="not at all", keep_result=0),
        func(add, name="a minute", keep_result=60),
        func(add, name="for ever", keep_result_forever=True),
        func(add, name="as the worker"),
    ]
    jobs = {function.name: await lanes.stock.enqueue_job(function.name, 1) for function in functions}
    async with lanes.running(lanes.make(*functions, keep_result=1000)):
        await until(lanes.idle)
    lives = {name: await lanes.redis.ttl(f"arq:result:{job.job_id}") for name, job in jobs.items() if job}
    assert lives.pop("not at all") == -2
    assert lives.pop("for ever") == -1
    assert 50 < lives.pop("a minute") <= 60 < 990 < lives.pop("as the worker") <= 1000
    await ask(lanes.redis, "DEL", *(f"arq:result:{job.job_id}" for job in jobs.values() if job))


async def test_a_result_that_cannot_be_encoded_becomes_none(lanes: Lanes) -> None:
    """The job has ended all the same."""

    async def strange(ctx: Ctx) -> object:
        return object()

    job = await lanes.stock.enqueue_job("strange")
    assert job is not None
    async with lanes.running(lanes.make(func(strange, name="strange", keep_result=60))):
        await until(lanes.idle)
    info = await job.result_info()
    assert info is not None
    assert (info.success, info.result) == (False, "unable to serialize result")


async def test_a_running_job_is_aborted_by_arqs_own_client(lanes: Lanes) -> None:
    """The abort moves it to the front, but no other worker claims it while it is held."""
    began = asyncio.Event()
    starts: list[int] = []

    async def slow(ctx: Ctx) -> None:
        starts.append(ctx["job_try"])
        began.set()
        await asyncio.sleep(60)

    made = await lanes.redis.enqueue_job("slow")
    assert made is not None
    job = job_of(lanes, made.job_id)
    workers = [lanes.make(func(slow, name="slow"), name=name, allow_abort_jobs=True, poll_delay=0.2) for name in "ab"]
    async with lanes.running(*workers):
        await began.wait()
        # What `abort` does first, which would have the job start a second time.
        await ask(lanes.redis, "ZADD", lanes.click, 1, job.job_id)
        await lanes.redis.enqueue_job("slow", _job_id=lanes.name(), _defer_by=1000)
        await until(lambda: is_claimed(lanes, job.job_id))
        assert await job.abort(timeout=PATIENCE_S, poll_delay=0.01)
        await until(lambda: not any(worker.tasks for worker in workers))
    assert starts == [1]
    assert not any(worker.aborting_tasks for worker in workers)


async def is_claimed(lanes: Lanes, job_id: str) -> bool:
    """Whether a job of the click lane has a claimed one's score."""
    return (await lanes.score(lanes.click, job_id) or 0) >= CLAIMED


async def test_a_job_is_aborted_before_it_began(lanes: Lanes) -> None:
    """A deferred one, which then never runs."""
    ran: list[str] = []

    async def note(ctx: Ctx) -> None:
        ran.append(ctx["job_id"])

    job = await lanes.redis.enqueue_job("note", _defer_by=1000)
    assert job is not None
    async with lanes.running(lanes.make(func(note, name="note"), allow_abort_jobs=True, poll_delay=0.05)):
        assert await job_of(lanes, job.job_id).abort(timeout=PATIENCE_S, poll_delay=0.01)
    assert ran == []


async def test_what_no_job_can_be_among_the_aborted_ends_no_worker(lanes: Lanes) -> None:
    """Members that are not text, and expired or future ones, which are dropped."""
    old, far, foreign = lanes.name(), lanes.name(), lanes.name().encode() + b"\xff"
    await ask(lanes.redis, "ZADD", "arq:abort", 1, old, "inf", far, time.time() * 1000, foreign)
    try:
        worker = lanes.make(work, allow_abort_jobs=True, poll_delay=0.01)
        async with lanes.running(worker):
            await until(lambda: is_forgotten(lanes, old))
            await until(lambda: is_forgotten(lanes, far))
            await lanes.put(lanes.click, lanes.name())
            await until(lanes.idle)
    finally:
        await ask(lanes.redis, "ZREM", "arq:abort", old, far, foreign)


async def test_of_the_aborted_a_worker_reads_only_its_own(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The set may be huge."""
    others, sizes, began = [lanes.name() for _ in range(2000)], list[int](), asyncio.Event()

    async def note(redis: Any, *command: Any) -> Any:
        answer = await ask(redis, *command)
        sizes.append(len(answer) if isinstance(answer, list) else 0)
        return answer

    async def slow(ctx: Ctx) -> None:
        began.set()
        await asyncio.sleep(60)

    monkeypatch.setattr(reckoner.workers.engine.worker, "ask", note)
    await ask(lanes.redis, "ZADD", "arq:abort", *(part for job in others for part in (time.time() * 1000, job)))
    try:
        made = await lanes.redis.enqueue_job("slow")
        assert made is not None
        async with lanes.running(lanes.make(func(slow, name="slow"), allow_abort_jobs=True, poll_delay=0.01)):
            await began.wait()
            assert await job_of(lanes, made.job_id).abort(timeout=PATIENCE_S, poll_delay=0.01)
        assert max(sizes) == 1
    finally:
        await ask(lanes.redis, "ZREM", "arq:abort", *others)


async def is_forgotten(lanes: Lanes, job_id: str) -> bool:
    """Whether there is no abort request."""
    return await ask(lanes.redis, "ZSCORE", "arq:abort", job_id) is None


@pytest.mark.parametrize("kind", ["stock", "engine"])
async def test_both_pools_make_jobs_alike(lanes: Lanes, kind: str) -> None:
    """Deferred by a while or until a moment, with a life, a name that is taken once, and a first try."""
    pool = lanes.stock if kind == "stock" else lanes.redis
    names = {what: lanes.name() for what in ("by", "until", "past", "expires", "try")}
    now = datetime.now(UTC)
    started = now.timestamp() * 1000
    await pool.enqueue_job("f", _job_id=names["by"], _defer_by=timedelta(seconds=100))
    await pool.enqueue_job("f", _job_id=names["until"], _defer_until=now + timedelta(seconds=200))
    await pool.enqueue_job("f", _job_id=names["past"], _defer_until=now - timedelta(seconds=300))
    await pool.enqueue_job("f", _job_id=names["expires"], _expires=50)
    await pool.enqueue_job("f", 1, a=2, _job_id=names["try"], _job_try=3)
    scores = {what: (await lanes.score(lanes.click, name) or 0) - started for what, name in names.items()}
    assert 99_990 <= scores["by"] < 110_000
    assert 199_990 <= scores["until"] <= 200_010
    assert -300_010 <= scores["past"] <= -299_990
    assert 0 <= scores["expires"] + 10 < 10_000
    lives = {what: await lanes.redis.ttl(f"arq:job:{name}") for what, name in names.items()}
    assert 40 < lives["expires"] <= 50
    assert 86_400 < lives["by"] <= 86_500
    body = decode(await ask(lanes.redis, "GET", f"arq:job:{names['try']}"))
    assert (body["t"], body["f"], body["a"], body["k"]) == (3, "f", [1], {"a": 2})
    assert await pool.enqueue_job("f", _job_id=names["by"]) is None
    with pytest.raises(RuntimeError, match="not both"):
        await pool.enqueue_job("f", _defer_by=1, _defer_until=now)
    await ask(lanes.redis, "DEL", *(f"arq:job:{name}" for name in names.values()))


async def test_a_first_try_is_counted_on_from(lanes: Lanes) -> None:
    """A job enqueued in its third try has fewer tries left."""
    tries: list[int] = []

    async def again(ctx: Ctx) -> None:
        tries.append(ctx["job_try"])
        raise Retry

    job = await lanes.redis.enqueue_job("again", _job_try=3)
    assert job is not None
    async with lanes.running(lanes.make(func(again, name="again"), max_tries=4, keep_result=0)):
        await until(lanes.idle)
    assert tries == [3, 4]
    assert [letter[b"reason"] for letter in await lanes.dead()] == [b"it was tried too often"]


async def test_a_retry_starts_when_it_is_due(lanes: Lanes) -> None:
    """Its score is its due time."""
    loop, moments = asyncio.get_running_loop(), list[float]()

    async def again(ctx: Ctx) -> int:
        moments.append(loop.time())
        if ctx["job_try"] == 1:
            raise Retry(defer=0.3)
        return int(ctx["job_try"])

    job = await lanes.redis.enqueue_job("again")
    assert job is not None
    async with lanes.running(lanes.make(func(again, name="again", keep_result=60))):
        assert await job_of(lanes, job.job_id).result(timeout=PATIENCE_S, poll_delay=0.01) == 2
    assert moments[1] - moments[0] >= 0.29


async def test_a_job_that_runs_too_long_is_ended_and_frees_its_slot(lanes: Lanes) -> None:
    """By its function's own limit; it is reported, and not tried again."""

    async def slow(ctx: Ctx) -> None:
        await asyncio.sleep(60)

    slow_id, next_id = lanes.name(), lanes.name()
    await lanes.put(lanes.batch, slow_id, function="slow")
    await lanes.put(lanes.batch, next_id)
    functions = [func(slow, name="slow", timeout=0.1, keep_result=60), func(work, name="work")]
    async with lanes.running(lanes.make(*functions, max_jobs=1)):
        await until(lanes.idle)
    assert [letter[b"reason"] for letter in await lanes.dead()] == [b"it ran longer than 0.1 s"]
    with pytest.raises(TimeoutError, match="longer"):
        await job_of(lanes, slow_id).result()
    assert await lanes.left(slow_id, next_id) == 0


async def test_a_time_out_of_the_jobs_own_is_an_exception_as_others(lanes: Lanes) -> None:
    """It is tried again."""
    tries: list[int] = []

    async def late(ctx: Ctx) -> None:
        tries.append(ctx["job_try"])
        if ctx["job_try"] == 1:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)

    await lanes.put(lanes.click, lanes.name(), function="late")
    async with lanes.running(lanes.make(func(late, name="late"))):
        await until(lanes.idle)
    assert tries == [1, 2]


async def test_two_workers_do_a_unique_tick_once(lanes: Lanes) -> None:
    """A late worker does not repeat the tick: its id is kept for a while, even after a failure."""
    done: list[tuple[str, int]] = []

    async def tick(ctx: Ctx) -> None:
        done.append((ctx["job_id"], ctx["job_try"]))
        raise ValueError

    def ticks() -> Any:
        return cron(tick, name=f"tick {lanes.batch}", second=set(range(60)), microsecond=0, keep_result=0)

    workers = [lanes.make(cron_jobs=[ticks()], name=name) for name in "ab"]
    async with lanes.running(*workers):
        await until(lambda: len(done) >= 2)
        name = done[0][0]
        assert await lanes.redis.enqueue_job("late", _job_id=name) is None
        life_ms = int(await ask(lanes.redis, "PTTL", in_progress_key(name)))
        assert 0 < life_ms <= keep_cronjob_progress * 1000
    assert len({job for job, _ in done}) == len(done)
    assert {tries for _, tries in done} == {1}


async def test_hooks_are_called_in_their_order(lanes: Lanes) -> None:
    """Those of the worker, and around a job: the last one when the job is settled."""
    calls: list[str] = []

    def hook(name: str) -> Any:
        async def note(ctx: Ctx) -> None:
            calls.append(name)

        return note

    async def after(ctx: Ctx) -> None:
        calls.append(f"after {ctx['job_id'] == job_id}, {await lanes.size()} left")

    async def note_work(ctx: Ctx) -> None:
        calls.append("work")

    job_id = lanes.name()
    await lanes.put(lanes.click, job_id, function="note")
    hooks = {name: hook(name) for name in ("on_startup", "on_shutdown", "on_job_start", "on_job_end")}
    worker = lanes.make(func(note_work, name="note"), burst=True, after_job_end=after, **hooks)
    assert await worker.run_check() == 1
    await worker.close()
    assert calls == ["on_startup", "on_job_start", "work", "on_job_end", "after True, 0 left", "on_shutdown"]


async def test_hooks_that_raise_end_no_worker(lanes: Lanes) -> None:
    """A failing hook before the job fails the job; one after it is only logged."""

    async def raises(ctx: Ctx) -> None:
        raise ValueError("a hook")

    await lanes.put(lanes.click, lanes.name())
    async with lanes.running(lanes.make(work, after_job_end=raises)):
        await until(lanes.idle)
    await lanes.put(lanes.click, lanes.name())
    async with lanes.running(lanes.make(work, on_job_start=raises, max_tries=1)):
        await until(lanes.idle)
    assert [letter[b"reason"] for letter in await lanes.dead()] == [b"ValueError in try 1"]


async def test_each_end_is_reported_with_lane_kind_and_outcome(lanes: Lanes) -> None:
    """Each try is reported, with its waiting and running time in seconds."""
    ends: list[JobEnd] = []
    await lanes.put(lanes.click, lanes.name())
    await lanes.put(lanes.batch, lanes.name(), function="fail")
    functions = [func(work, name="work"), func(fail, name="fail", max_tries=2)]
    async with lanes.running(lanes.make(*functions, observe=ends.append)):
        await until(lanes.idle)
    found = sorted((end.lane, end.kind, end.outcome) for end in ends)
    assert found == [(0, "work", "done"), (1, "fail", "failed"), (1, "fail", "retried")]
    assert all(end.waited_s >= 0 and 0 <= end.ran_s < PATIENCE_S for end in ends)


async def test_a_burst_ends_when_nothing_is_left(lanes: Lanes) -> None:
    """In no lane; or when it has started as many jobs as it may."""
    await lanes.put(lanes.click, *(lanes.name() for _ in range(5)))
    await lanes.put(lanes.batch, *(lanes.name() for _ in range(25)))
    worker = lanes.make(work, burst=True, max_jobs=4)
    assert await worker.run_check(max_burst_jobs=7) == 7
    await worker.close()
    worker = lanes.make(work, burst=True)
    assert await worker.run_check() == 23
    await worker.close()
    assert await lanes.idle()


async def test_a_check_tells_which_jobs_failed_and_can_do_without_retries(lanes: Lanes) -> None:
    """As `run_check` of a stock worker does."""
    await lanes.put(lanes.click, lanes.name(), function="fail")
    worker = lanes.make(func(fail, name="fail", keep_result=60), burst=True)
    with pytest.raises(FailedJobs) as caught:
        await worker.run_check(retry_jobs=False)
    await worker.close()
    assert caught.value.count == 1


async def test_waiting_for_a_result_that_is_not_kept_ends(lanes: Lanes) -> None:
    """A claimed job is a member of its queue until it has ended."""
    job = await lanes.stock.enqueue_job("add", 1)
    assert job is not None
    async with lanes.running(lanes.make(func(add, name="add", keep_result=0))):
        with pytest.raises(ResultNotFound):
            await job.result(timeout=PATIENCE_S, poll_delay=0.01)
