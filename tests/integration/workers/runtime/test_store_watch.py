"""A worker without its store claims nothing, and the store's trouble fails no job."""

import asyncio
import errno
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import pytest

from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError, StoreError
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.redis.scripts import ask
from reckoner.shared.store.directory import DirectoryStore
from reckoner.shared.store.ownership import claim_store
from reckoner.shared.wire.jobs import Split
from reckoner.shared.wire.shapes import UserSpec
from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.maintenance.heartbeat import Heartbeat
from reckoner.workers.runtime import store_watch
from reckoner.workers.runtime.environment_trouble import HIDDEN_S
from reckoner.workers.runtime.flow_tasks import arq_function_of
from reckoner.workers.runtime.store_watch import NO_ANSWER, StoreWatch
from tests.world import USERS, Hand, World


@pytest.fixture
async def flow(hand: Hand, world: World) -> Flow:
    """A flow of one user, in split."""
    generation = await hand.adopt(world)
    join = hand.runtime.keys.join_user(generation.id, "Ada")
    [flow_id] = await hand.runtime.flows.create([UserSpec("Ada", generation.id)], [join])
    return await load(hand, flow_id)


async def load(hand: Hand, flow_id: str) -> Flow:
    flow = await hand.runtime.flows.load(flow_id)
    assert flow is not None
    return flow


async def deliver(hand: Hand, flow: Flow, work: Exception | Callable[..., Awaitable[None]]) -> None:
    """Deliver the flow's split to a task that does this, or raises it."""
    lease = await hand.claim(Split(flow.id).job_id)
    ctx = {"runtime": hand.runtime, "job_try": 3, "job_deaths": 0, "lease": lease}

    async def body(*_: object) -> None:
        assert isinstance(work, Exception)
        raise work

    await arq_function_of(Split, body if isinstance(work, Exception) else work)(ctx, flow.id)


def watch_over(hand: Hand, store: DirectoryStore) -> StoreWatch:
    """Let the hand's runtime watch another store."""
    watch = StoreWatch(store, hand.runtime.threads, partial(claim_store, hand.redis, hand.runtime.settings, store))
    hand.runtime = replace(hand.runtime, store=store, store_watch=watch)
    return watch


async def test_a_missing_mount_is_reported_and_so_is_its_return(hand: Hand, tmp_path: Path) -> None:
    """Each change is reported once. The empty mount point of a missing mount is no store."""
    root, away, changes = tmp_path / "store", tmp_path / "away", list[str]()
    watch = watch_over(hand, DirectoryStore(root))
    watch.on_change = lambda: changes.append(watch.trouble)
    assert await watch.probe()
    root.rename(away)
    assert [await watch.probe() for _ in range(2)] == [False, False]
    root.mkdir()
    assert not await watch.probe()
    root.rmdir()
    away.rename(root)
    assert [await watch.probe() for _ in range(2)] == [True, True]
    assert changes == [f"The store {root} is unavailable: No such file or directory.", ""]


async def test_a_store_that_hangs_is_away_and_takes_up_one_thread(
    hand: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is probed. It is back when it answers."""
    answers, looks = threading.Event(), list[int]()

    class Hanging(DirectoryStore):
        def check_available(self) -> None:
            looks.append(1)
            answers.wait()

    monkeypatch.setattr(store_watch, "TIMEOUT_S", 0.05)
    answers.set()
    watch = watch_over(hand, Hanging(tmp_path / "store"))
    answers.clear()
    looks.clear()
    assert [await watch.probe() for _ in range(3)] == [False] * 3
    assert (watch.trouble, len(looks)) == (NO_ANSWER, 1)
    answers.set()
    monkeypatch.setattr(store_watch, "TIMEOUT_S", 60.0)
    assert await watch.probe()
    assert watch.trouble == ""


async def test_a_worker_whose_threads_wait_for_a_disk_sees_the_store(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Probes do not wait for busy store threads, as when hundreds of parts are read."""
    monkeypatch.setattr(store_watch, "TIMEOUT_S", 60.0)
    go_on = threading.Event()
    reading = [asyncio.create_task(hand.runtime.threads.use_store(go_on.wait)) for _ in range(100)]
    await asyncio.sleep(0)
    assert await hand.runtime.store_watch.probe()
    assert await hand.runtime.in_thread(lambda: "what leaves the store alone")
    go_on.set()
    await asyncio.gather(*reading)


async def test_a_store_that_hangs_where_its_marks_lie_is_away(
    hand: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop keeps running, and the next probe waits for this one."""
    answers, threads = threading.Event(), list[str]()

    class Hanging(DirectoryStore):
        def set_mark(self, name: str, data: bytes, *, replace: bool = False) -> bytes:
            threads.append(threading.current_thread().name)
            answers.wait()
            return super().set_mark(name, data, replace=replace)

    monkeypatch.setattr(store_watch, "TIMEOUT_S", 0.05)
    watch = watch_over(hand, Hanging(tmp_path / "store"))
    assert [await watch.probe() for _ in range(3)] == [False] * 3
    assert (watch.trouble, threads) == (NO_ANSWER, ["probing_0"])
    answers.set()
    monkeypatch.setattr(store_watch, "TIMEOUT_S", 60.0)
    assert await watch.probe()
    assert watch.trouble == ""


@pytest.mark.parametrize("is_back", [False, True])
async def test_a_deadline_that_passed_while_the_store_was_away_is_not_the_jobs(
    hand: Hand, flow: Flow, tmp_path: Path, is_back: bool
) -> None:
    """The job may have waited for the store, even if the store is back."""
    settings = msgspec.structs.replace(hand.runtime.settings, task_deadline_s=0.5)
    store = DirectoryStore(tmp_path / "store")
    watch = watch_over(hand, store)
    hand.runtime = replace(hand.runtime, settings=settings)

    async def body(*_: object) -> None:
        store.root.rename(tmp_path / "away")
        await watch.probe()
        if is_back:
            (tmp_path / "away").rename(store.root)
            await watch.probe()
        await asyncio.sleep(60)

    with pytest.raises(NotNowError):
        await deliver(hand, flow, body)
    assert (await load(hand, flow.id)).state == "split"


async def test_while_the_store_is_away_a_worker_claims_nothing_and_says_why(hand: Hand) -> None:
    """The reason is in its heartbeat; it claims again by itself."""
    worker, watch = hand.worker, hand.runtime.store_watch
    for trouble, picks in (("The store is away.", False), ("", True)):
        watch._note(trouble)
        assert worker.allow_pick_jobs == picks
        await Heartbeat(hand.runtime).beat()
        beat = await ask(hand.redis, "GET", hand.runtime.keys.beat(hand.runtime.worker_id))
        assert msgspec.json.decode(beat).get("trouble", "") == trouble


@pytest.mark.parametrize(
    "error",
    [StoreError("It cannot be read."), ArtifactMissingError("No such model."), ArtifactDamagedError("Damaged.")],
)
async def test_what_fails_while_the_store_is_away_waits_for_it(
    hand: Hand, flow: Flow, tmp_path: Path, error: Exception
) -> None:
    """A missing mount looks like missing or damaged artifacts; the job goes back without a limit."""
    store = DirectoryStore(tmp_path / "store")
    watch_over(hand, store)
    store.root.rename(tmp_path / "away")
    with pytest.raises(NotNowError) as caught:
        await deliver(hand, flow, error)
    assert caught.value.pause_ms == 0
    assert (await load(hand, flow.id)).state == "split"


@pytest.mark.parametrize(
    "error",
    [StoreError("It cannot be written."), OSError("no space"), TimeoutError(errno.ETIMEDOUT, "late"), MemoryError()],
)
async def test_trouble_of_the_environment_is_no_try_and_is_bounded_by_time(
    hand: Hand, flow: Flow, error: Exception
) -> None:
    """The job is retried with growing pauses, until the time limit fails its flow."""
    pauses = []
    for lasts_s in (0, 20, 299):
        await _began(hand, flow, lasts_s)
        with pytest.raises(NotNowError) as caught:
            await deliver(hand, flow, error)
        pauses.append(caught.value.pause_ms)
    assert 250 <= pauses[0] <= 750
    assert 5_000 <= pauses[1] <= 15_000 <= pauses[2] <= 45_000
    assert (await load(hand, flow.id)).state == "split"
    await _began(hand, flow, 301)
    await deliver(hand, flow, error)
    ended = await load(hand, flow.id)
    sentence = "It cannot be written"
    found = sentence if isinstance(error, StoreError) else f"{type(error).__name__} in a task; see the worker's log"
    assert (ended.state, ended.reason) == ("failed", found)


async def _began(hand: Hand, flow: Flow, ago_s: float) -> None:
    key = hand.runtime.keys.trouble(Split(flow.id).job_id)
    since = int(await hand.runtime.now_ms() - ago_s * 1000)
    await ask(hand.redis, "SET", key, f"{since}:{since}", "EX", 60)


async def test_damaged_data_fail_the_job_at_once(hand: Hand, flow: Flow) -> None:
    """The artifact was quarantined, so waiting would not help."""
    await deliver(hand, flow, ArtifactDamagedError("Damaged."))
    assert (await load(hand, flow.id)).state == "failed"


async def test_what_a_click_misses_may_be_hidden_by_its_hosts_mount_for_a_minute(hand: Hand, world: World) -> None:
    """All clicks wait for one artifact together, and fail at once when it was missed for so long; one that is published
    then has its time again.
    """
    generation = await hand.adopt(world)
    model, keys = generation.record.model, hand.runtime.keys
    specs = [UserSpec(user, generation.id) for user in USERS[:3]]
    joins = [keys.join_user(generation.id, spec.user) for spec in specs]
    flows = [await load(hand, name) for name in await hand.runtime.flows.create(specs, joins)]
    missing = ArtifactMissingError("No such model.", artifact=model)
    for flow in flows:
        with pytest.raises(NotNowError) as caught:
            await deliver(hand, flow, missing)
        assert 250 <= caught.value.pause_ms <= 750
    now_ms = await hand.runtime.now_ms()
    await ask(hand.redis, "SET", keys.trouble(model), f"{now_ms - int(HIDDEN_S * 1000)}:{now_ms}", "EX", 60)
    for flow in flows[:2]:
        await deliver(hand, flow, missing)
        assert (await load(hand, flow.id)).reason == "No such model"
    await hand.runtime.note_published(model)
    with pytest.raises(NotNowError):
        await deliver(hand, flows[2], missing)


async def test_what_a_run_misses_may_be_on_its_way(hand: Hand, world: World) -> None:
    """A block waits for a rebuilt model. The time limit is the run's, and starts over after a calm."""
    run, _ = await hand.runtime.runs.start((await hand.adopt(world)).record, 1, 3)
    blocks = [await load(hand, job.partition(":")[2]) for job in await hand.queued()]
    damage, key = ArtifactDamagedError("Damaged."), hand.runtime.keys.trouble(run)
    for block in blocks:
        with pytest.raises(NotNowError):
            await deliver(hand, block, damage)
    now_ms = await hand.runtime.now_ms()
    await ask(hand.redis, "SET", key, f"{now_ms - 400_000}:{now_ms - 100_000}", "EX", 60)
    with pytest.raises(NotNowError):
        await deliver(hand, blocks[0], damage)
    await ask(hand.redis, "SET", key, f"{now_ms - 400_000}:{now_ms - 1_000}", "EX", 60)
    for block in blocks[:2]:
        await deliver(hand, block, damage)
        assert (await load(hand, block.id)).reason == "Damaged"


async def test_a_clean_up_that_fails_undoes_nothing(hand: Hand, world: World, tmp_path: Path) -> None:
    """The flow has ended before artifacts are deleted, so an unavailable store fails nothing."""
    generation = await hand.adopt(world)
    store = DirectoryStore(tmp_path / "store")
    (tmp_path / "store").rename(tmp_path / "away")
    run, _ = await hand.runtime.runs.start(generation.record, 100, 1)
    await hand.deliver_all(but=lambda job: job.startswith("finish"))
    hand.worker.ctx["runtime"] = hand.runtime = replace(hand.runtime, store=store)
    await hand.deliver_all()
    ended = await hand.runtime.runs.load(run)
    assert ended is not None
    assert ended.outcome == "passed"
