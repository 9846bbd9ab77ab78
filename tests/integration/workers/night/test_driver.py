"""A night: its stages, how it ends, and what goes on after a failure."""

import asyncio
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from reckoner.producer.importing import Options, import_interactions, run_import
from reckoner.shared.errors import RunInProgressError, StoreError
from reckoner.shared.flows.nights import Night, NightOptions, Nights
from reckoner.shared.flows.runs import Runs
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.evaluations import Verdict
from reckoner.shared.serving.history import Entry, History
from reckoner.shared.store.night_import import note_night_import
from reckoner.shared.store.snapshots import write_snapshot
from reckoner.workers.night import list_stages, model_stages
from reckoner.workers.night.driver import MOST_FAILURES, WORK, NightDriver
from reckoner.workers.night.importing import Imported
from reckoner.workers.night.renewal import renew_lists
from tests import snapshots
from tests.evaluations import evaluation_entry
from tests.world import USERS, Hand, World


def change(hand: Hand, **settings: object) -> None:
    changed = msgspec.structs.replace(hand.runtime.settings, **settings)
    object.__setattr__(hand.runtime, "settings", changed)


async def through(hand: Hand, date: str = "2026-11-30", options: NightOptions | None = None, **driver: object) -> Night:
    """Begin the night of a date and drive it to its end."""
    nights = Nights(hand.redis, hand.runtime.keys)
    night_id, beginning = await nights.begin(date, "command", options or NightOptions())
    assert beginning == "started"
    async with asyncio.timeout(60):
        while await nights.under_way():
            await NightDriver(hand.runtime, first_pause_s=0.0, **driver).drive()  # type: ignore[arg-type]
            await asyncio.sleep(0.05)
    night = await nights.load(night_id)
    assert night is not None
    return night


def outcomes(night: Night) -> dict[str, str | None]:
    return {name: stage.outcome for name, stage in night.stages.items()}


async def remembered(hand: Hand, night: Night) -> Entry:
    entry = await History(hand.redis, hand.runtime.keys).find(night.id)
    assert entry is not None
    return entry


@pytest.mark.usefixtures("working")
async def test_a_night_fits_and_makes_all_lists_live(night: Hand, own_world: World) -> None:
    """From the current snapshot; the outcome is in the history, in the store too, and in the log."""
    with capture_logs() as logs:
        ended = await through(night)
    assert ended.outcome == "live"
    later = {"everybody": "done", "gate": "done", "flip": "done", "clean-up": "unchanged"}
    assert outcomes(ended) == {"import": "skipped", "fit": "done"} | later
    live = await night.runtime.results.generations.current()
    assert live == ended.stages["everybody"].generation
    assert all(await night.runtime.results.read(str(live), USERS))
    entry = await remembered(night, ended)
    assert (entry.kind, entry.outcome, entry.date, entry.generation) == ("night", "live", "2026-11-30", live)
    assert entry.figures["users"] == len(USERS)
    kept = [json.loads(path.read_text()) for path in sorted((own_world.store.root / "history" / "nights").iterdir())]
    assert {each["kind"] for each in kept} >= {"run", "night"}
    events = [log["event"] for log in logs if log.get("night") == ended.id]
    assert events == ["stage started", "stage ended"] * 6 + ["night ended"]
    run = await History(night.redis, night.runtime.keys).find(ended.stages["everybody"].job)
    assert run is not None
    assert run.starter == ended.id


@pytest.mark.usefixtures("working")
async def test_a_night_without_news_renews_the_lists(night: Hand) -> None:
    """Those of the live generation and of the previous one, night after night, so that there is a way back."""
    change(night, fit="--neighbours 4")
    first = (await through(night)).stages["everybody"].generation
    change(night, fit="--neighbours 9", gate_churn=1.0)
    second = (await through(night, "2026-12-01")).stages["everybody"].generation
    names = [night.runtime.keys.result(generation, user) for generation in (first, second) for user in USERS]
    for day in range(2, 5):
        for name in names:
            assert await ask(night.redis, "EXPIRE", name, 60)
        ended = await through(night, f"2026-12-{day:02}")
        assert (ended.outcome, outcomes(ended)["fit"]) == ("unchanged", "unchanged")
        assert min([await ask(night.redis, "TTL", name) for name in names]) > 60
    for generation in (first, second):
        assert all(await night.runtime.results.read(generation, USERS))
    generations = night.runtime.results.generations
    current = await generations.follow(night.runtime.keys.current)
    assert await generations.promote(first, current) == "done"


@pytest.mark.usefixtures("working")
async def test_options_without_a_similarity_change_the_live_configuration(night: Hand) -> None:
    """Those of another one are its own."""
    found = []
    for day, options in enumerate(("--similarity bm25 --b 0.3", "--neighbours 9", "", "--similarity cosine"), 1):
        change(night, fit=options, gate_churn=1.0)
        stage = (await through(night, f"2026-12-{day:02}")).stages["fit"]
        record = await night.runtime.record(stage.generation)
        found.append((await night.runtime.model(record.model)).config.label)
    assert found == ["bm25 b=0.3", "bm25 neighbours=9 b=0.3", "bm25 neighbours=9 b=0.3", "cosine"]


def import_times(world: World) -> None:
    """Make the world's interactions the current snapshot, with times."""
    old = world.snapshot
    with world.store.scratch() as scratch:
        made = write_snapshot(
            scratch,
            user_ids=old.users,
            item_ids=old.items,
            users=np.repeat(np.arange(old.n_users), np.diff(old.user_ptr)),
            items=old.user_items,
            times=np.arange(old.user_items.size),
        )
        world.store.publish("snapshots", made, scratch)
    world.store.set_current_snapshot(made)


@pytest.mark.usefixtures("working")
async def test_a_night_goes_on_with_the_recency_of_the_live_generation(night: Hand, own_world: World) -> None:
    """Unless the settings have another; then the outcome says so. The first one has the default."""
    import_times(own_world)
    found = []
    for day, options in enumerate(("", "--neighbours 9", "--neighbours 9 --recency 0", "--neighbours 8"), 1):
        change(night, fit=options, gate_churn=1.0)
        stage = (await through(night, f"2026-12-{day:02}")).stages["fit"]
        record = await night.runtime.record(stage.generation)
        found.append((record.options.recency or 0.0, stage.message == f"Model {record.model}."))
        if options.endswith("--recency 0"):
            assert stage.message == f"Model {record.model}. The recency is 0, and was 0.25."
    assert found == [(0.25, True), (0.25, True), (0.0, False), (0.0, True)]


@pytest.mark.usefixtures("working")
async def test_a_recency_of_data_without_times_fails_the_night(night: Hand, own_world: World) -> None:
    """In one sentence: times that are missing one day are no reason for other lists."""
    import_times(own_world)
    assert (await through(night)).outcome == "live"
    own_world.store.set_current_snapshot(own_world.snapshot.id)
    ended = await through(night, "2026-12-01")
    assert (ended.outcome, outcomes(ended)["fit"]) == ("failed", "failed")
    assert ended.stages["fit"].message == (
        f"A recency of 0.25 needs times, and snapshot {own_world.snapshot.id} has none. Import times, or fit with "
        "--recency 0."
    )


@pytest.mark.usefixtures("working")
async def test_lists_that_have_gone_are_computed_again(night: Hand) -> None:
    """A night without news finds them missing."""
    generation = (await through(night)).stages["everybody"].generation
    await ask(night.redis, "DEL", night.runtime.keys.result(generation, USERS[2]))
    ended = await through(night, "2026-12-01")
    assert (outcomes(ended)["fit"], outcomes(ended)["everybody"]) == ("unchanged", "done")
    assert all(await night.runtime.results.read(generation, USERS))


@pytest.mark.usefixtures("working")
async def test_a_dry_run_makes_nothing_live(night: Hand) -> None:
    """It ends at the gate, and what it made can be promoted."""
    first = (await through(night)).stages["everybody"].generation
    change(night, fit="--neighbours 9")
    ended = await through(night, "2026-12-01", NightOptions(dry=True))
    made = ended.stages["everybody"].generation
    assert (ended.outcome, made != first) == ("held", True)
    assert await night.runtime.results.generations.current() == first
    generations = night.runtime.results.generations
    current = await generations.follow(night.runtime.keys.current)
    assert await generations.promote(made, current) == "done"


@pytest.mark.usefixtures("working")
async def test_what_the_gate_refuses_is_refused_with_its_figures(night: Hand) -> None:
    """Readers keep what they have. What was rolled back is refused before anything is computed."""
    first = (await through(night)).stages["everybody"].generation
    change(night, fit="--neighbours 3", gate_churn=0.0)
    ended = await through(night, "2026-12-01")
    assert (ended.outcome, outcomes(ended)["everybody"], outcomes(ended)["gate"]) == ("refused", "done", "refused")
    assert "of the places are new, the limit is 0.0% (RECKONER_GATE_CHURN)" in ended.stages["gate"].message
    assert "flip" not in ended.stages
    assert await night.runtime.results.generations.current() == first
    [reason] = (await remembered(night, ended)).reasons
    assert reason.startswith("gate: ")
    await ask(night.redis, "HSET", night.runtime.keys.barred, ended.stages["everybody"].generation, 1)
    ended = await through(night, "2026-12-02")
    assert (ended.outcome, ended.stages["everybody"].job) == ("refused", "")
    assert "was rolled back" in ended.stages["everybody"].message


async def evaluated(hand: Hand, entry_id: str, recency: float, verdict: Verdict) -> None:
    """Remember an evaluation of the live generation's configuration with another recency."""
    live = (await hand.runtime.results.generations.follow(hand.runtime.keys.current)).require()
    facts = (await hand.runtime.model(live.model)).config.facts()
    other = (facts, recency), -0.05, verdict
    entry = evaluation_entry(entry_id, (facts, live.options.recency or 0.0), other, started_ms=1)
    await History(hand.redis, hand.runtime.keys).remember(entry)


@pytest.mark.usefixtures("working")
async def test_a_night_takes_the_last_evaluation_of_its_configuration(night: Hand, own_world: World) -> None:
    """Of its recency too: worse beyond noise is refused, and what is not evaluated is said."""
    import_times(own_world)
    change(night, fit="--similarity cosine", gate_churn=1.0)
    first = await through(night)
    assert first.stages["gate"].message == "Nothing to compare with."
    change(night, fit="--similarity cosine --recency 0.5")
    await evaluated(night, "e1", 0.5, "worse")
    refused = await through(night, "2026-12-01")
    assert (refused.outcome, outcomes(refused)["gate"]) == ("refused", "refused")
    assert refused.stages["gate"].message.startswith(
        "evaluation e1 found this configuration worse beyond noise than the live one: nDCG@10 0.137 [0.127 0.147] "
    )
    assert refused.stages["gate"].message.endswith("changed from cosine recency=0.25 to cosine recency=0.5.")
    await evaluated(night, "e2", 0.5, "within noise")
    passed = await through(night, "2026-12-02")
    assert passed.outcome == "live"
    within = "All figures are within their limits. Evaluation e2 found this configuration within noise of the live one"
    assert passed.stages["gate"].message.startswith(within)
    change(night, fit="--similarity cosine --recency 1")
    unknown = await through(night, "2026-12-03")
    assert unknown.outcome == "live"
    assert "No evaluation of this configuration: run `reckoner evaluate --model 'cosine recency=1' --live`." in (
        unknown.stages["gate"].message
    )


async def test_without_anything_to_begin_with_a_night_fails(night: Hand, own_world: World) -> None:
    """It says what is missing."""
    (own_world.store.root / "current-snapshot").unlink()
    ended = await through(night)
    assert (ended.outcome, outcomes(ended)) == ("failed", {"import": "skipped", "fit": "failed"})
    assert ended.stages["fit"].message == "No snapshot is imported: see RECKONER_SOURCE and `reckoner import`."


@pytest.mark.usefixtures("working")
async def test_a_night_that_another_worker_left_goes_on(night: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages that have ended are not done again, and the run under way is joined."""
    nights = Nights(night.redis, night.runtime.keys)
    night_id, _ = await nights.begin("2026-11-30", "command", NightOptions())
    computed = list_stages._computed

    async def stop(_: object, __: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(list_stages, "_computed", stop)
    with pytest.raises(asyncio.CancelledError):
        await NightDriver(night.runtime).drive()
    left = await nights.load(night_id)
    assert left is not None
    assert outcomes(left) == {"import": "skipped", "fit": "done", "everybody": None}
    monkeypatch.setattr(list_stages, "_computed", computed)
    await NightDriver(night.runtime).drive()
    ended = await nights.load(night_id)
    assert ended is not None
    assert ended.outcome == "live"
    assert ended.stages["everybody"].job == left.stages["everybody"].job
    assert ended.stages["fit"] == left.stages["fit"]


async def test_one_worker_drives_a_night(night: Hand) -> None:
    """Another one waits for its claim to lapse, and one that has lost the claim changes nothing."""
    nights = Nights(night.redis, night.runtime.keys)
    night_id, _ = await nights.begin("2026-11-30", "command", NightOptions())
    await ask(night.redis, "SET", night.runtime.keys.night_driver, "another", "PX", 5_000)
    await NightDriver(night.runtime).drive()
    begun = await nights.load(night_id)
    assert begun is not None
    assert begun.stages == {}


@pytest.mark.usefixtures("working")
async def test_a_store_that_is_away_interrupts_a_night(
    night: Hand, own_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on after a pause, and fails only after many."""
    failures = 2

    def away(self: object) -> str | None:
        nonlocal failures
        if failures:
            failures -= 1
            raise StoreError("The store is away.")
        return current(own_world.store)

    current = type(own_world.store).current_snapshot
    monkeypatch.setattr(type(own_world.store), "current_snapshot", away)
    monkeypatch.setattr("reckoner.workers.night.driver.FIRST_PAUSE_MS", 10)
    ended = await through(night)
    assert (ended.outcome, failures) == ("live", 0)
    assert ended.failures == 0, "a stage that ends sets them to 0"
    monkeypatch.setattr("reckoner.workers.night.driver.MOST_FAILURES", 1)
    failures = 10
    ended = await through(night, "2026-12-01")
    assert (ended.outcome, ended.stages["import"].message) == ("failed", "StoreError: The store is away.")


@pytest.mark.usefixtures("working")
async def test_failed_blocks_are_computed_again(night: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A night is not refused for what a second try mends."""
    failing = True
    made = list_stages._ended_run

    async def fail_one(runtime: object, run_id: str, generation: str) -> object:
        nonlocal failing
        if failing:
            failing = False
            flights = await ask(night.redis, "HVALS", night.runtime.keys.flight(run_id))
            flow = await night.runtime.flows.load(flights[0].decode())
            assert flow is not None
            assert await night.runtime.flows.fail(flow, "failed by the test", lease=None)
        return await made(night.runtime, run_id, generation)

    monkeypatch.setattr(list_stages, "_ended_run", fail_one)
    paused = asyncio.Event()
    deliver_all = night.deliver_all

    async def deliver(**options: object) -> None:
        if not paused.is_set() and await ask(night.redis, "EXISTS", night.runtime.keys.night_now) and failing:
            queued = [job for job in await night.queued() if job.startswith("split:")]
            flows = [await night.runtime.flows.load(job.removeprefix("split:")) for job in queued]
            if any(flow is not None and flow.run for flow in flows):
                return
        await deliver_all(**options)  # type: ignore[arg-type]

    monkeypatch.setattr(night, "deliver_all", deliver)
    with capture_logs() as logs:
        ended = await through(night)
    assert not failing
    assert ended.outcome == "live"
    assert [log["blocks"] for log in logs if log["event"] == "failed blocks are computed again"] == [1]


def importing(monkeypatch: pytest.MonkeyPatch, *ends: Imported) -> list[str]:
    """Imports end like this, one after the other. Returns their arguments."""
    given, left = list[str](), list(ends)

    async def run(night: str, arguments: str, on_rows: object) -> Imported:
        given.append(arguments)
        return left.pop(0)

    monkeypatch.setattr(model_stages, "import_source", run)
    return given


AWAY = Imported(75, {}, "The database cannot be opened.")


@pytest.mark.parametrize(
    ("ends", "outcome", "message"),
    [
        ([Imported(1, {}, "There is no file x.csv.")], "failed", "There is no file x.csv."),
        ([Imported(-6, {}, "")] * 5, "failed", "The import was ended by signal 6."),
        ([Imported(-15, {}, ""), Imported(1, {}, "There is no file x.csv.")], "failed", "There is no file x.csv."),
        ([AWAY] * 5, "failed", "The database cannot be opened."),
        ([Imported(1, {"snapshot": "s", "refused": ["80% are bad"]}, "")], "refused", "80% are bad."),
    ],
)
async def test_an_import_that_fails_ends_the_night(
    night: Hand, monkeypatch: pytest.MonkeyPatch, ends: Sequence[Imported], outcome: str, message: str
) -> None:
    """With its own sentence; a database that is away is tried again."""
    change(night, source="x.csv")
    given = importing(monkeypatch, *ends)
    ended = await through(night, imports=True)
    assert (ended.outcome, ended.stages["import"].message) == (outcome, message)
    assert given == ["x.csv"] * len(ends)
    assert "fit" not in ended.stages


@pytest.mark.usefixtures("working")
async def test_an_import_without_news_is_no_reason_to_fit(
    night: Hand, own_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a database that was away for a while."""
    change(night, source="x.csv")
    report = {"snapshot": own_world.snapshot.id, "interactions": 90, "users": 6}
    importing(monkeypatch, AWAY, Imported(0, report, ""), Imported(0, report, ""))
    ended = await through(night, imports=True)
    assert (ended.outcome, outcomes(ended)["import"]) == ("live", "unchanged")
    ended = await through(night, "2026-12-01", imports=True)
    assert (ended.outcome, set(outcomes(ended).values())) == ("unchanged", {"unchanged"})


@pytest.mark.usefixtures("working")
@pytest.mark.parametrize("kill", ["the child", "the driver"])
async def test_rows_that_a_killed_import_has_appended_are_not_appended_again(
    night: Hand, own_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: str
) -> None:
    """By this driver or the next: the snapshot became the current one, and nobody was told."""
    store, (file, new) = own_world.store, (tmp_path / name for name in ("x.csv", "y.csv"))
    file.write_text("user,item\na,x\nb,y\n")
    first = import_interactions(file, store).snapshot_id
    new.write_text("user,item\na,x\n")
    change(night, source=f"'{new}' --append --repeats sum")
    tries = list[str]()

    async def run(night_id: str, arguments: str, on_rows: object) -> Imported:
        tries.append(night_id)
        on_current = partial(note_night_import, store, night_id)
        run_import(new, store, Options(append=True, repeats="sum"), on_current=on_current)
        if kill == "the driver":
            raise RedisConnectionError("gone")
        return Imported(-9, {}, "")

    monkeypatch.setattr(model_stages, "import_source", run)
    ended = await through(night, imports=True)
    assert (len(tries), outcomes(ended)["import"]) == (1, "done")
    assert {pair: weight for pair, (weight, _) in snapshots.interactions(snapshots.current(store)).items()} == {
        ("a", "x"): 2,
        ("b", "y"): 1,
    }
    assert ended.stages["import"].snapshot == store.current_snapshot() != first
    # The file has not changed, so the next night does not append it either.
    ended = await through(night, "2026-12-01", imports=True)
    assert (len(tries), outcomes(ended)["import"]) == (1, "unchanged")


@pytest.mark.usefixtures("working")
async def test_a_file_that_has_not_changed_is_not_imported_again(
    night: Hand, own_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless its arguments, the event types or the current snapshot are others, or it was written anew."""
    file = tmp_path / "x.csv"
    file.write_text("user,item")
    change(night, source=f"'{file}'")
    report = {"snapshot": own_world.snapshot.id, "interactions": 90, "users": 6}
    given = importing(monkeypatch, *[Imported(0, report, "")] * 5)
    for day, done in enumerate((1, 1, 2, 3, 4, 5), 1):
        match day:
            case 3:
                file.write_text("user,item\na,b")
            case 4:
                change(night, source=f"'{file}' --user who")
            case 5:
                own_world.store.remove_mark("imported-source")
            case 6:
                change(night, event_types='{"view": {"weight": 2}}')
        ended = await through(night, f"2026-12-0{day}", imports=True)
        assert (outcomes(ended)["import"], len(given)) == ("unchanged", done), day
    assert ended.stages["import"].message == "The source has no new interactions."


async def test_without_a_worker_that_can_import_the_night_says_so(night: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    """And fails, though not before such a worker has had time to start."""
    change(night, source="x.csv")
    nights = Nights(night.redis, night.runtime.keys)
    night_id, _ = await nights.begin("2026-11-29", "command", NightOptions())
    await NightDriver(night.runtime, imports=False).drive()
    begun = await nights.load(night_id)
    assert begun is not None
    assert begun.stages == {}
    await ask(night.redis, "DEL", night.runtime.keys.night_now)
    monkeypatch.setattr("reckoner.workers.night.driver.IMPORTER_GRACE_S", -1)
    ended = await through(night, imports=False)
    assert (ended.outcome, ended.stages["import"].message) == (
        "failed",
        "No worker can import this source: install the extra `data`, `sql` or `s3` for at least one.",
    )


async def test_a_night_whose_state_is_invalid_does_not_stay(night: Hand) -> None:
    """Another one of the date may begin."""
    keys = night.runtime.keys
    nights = Nights(night.redis, keys)
    night_id, _ = await nights.begin("2026-11-30", "command", NightOptions())
    await ask(night.redis, "HSET", keys.night_state(night_id), "options", "nonsense")
    await NightDriver(night.runtime).drive()
    assert await nights.under_way() is None


@pytest.mark.usefixtures("working")
async def test_the_outcome_goes_to_a_command(night: Hand, tmp_path: Path) -> None:
    """As JSON on its standard input."""
    program, out = tmp_path / "a program.py", tmp_path / "out.json"
    program.write_text(f"import sys; open({str(out)!r}, 'w').write(sys.stdin.read())")
    change(night, on_night=f"'{sys.executable}' '{program}'")
    ended = await through(night)
    assert json.loads(out.read_text())["id"] == ended.id


@pytest.mark.usefixtures("working")
async def test_the_life_of_a_list_is_renewed_whole_or_not(night: Hand) -> None:
    """A generation with a missing list is not whole any more."""
    generation = (await through(night)).stages["everybody"].generation
    generations, key = night.runtime.results.generations, night.runtime.keys.result(generation, USERS[0])
    held, record = (await generations.holdings())[generation], await night.runtime.record(generation)
    await ask(night.redis, "EXPIRE", key, 5)
    assert await renew_lists(night.runtime, record, held)
    assert await ask(night.redis, "TTL", key) > 5
    await ask(night.redis, "DEL", key)
    assert not await renew_lists(night.runtime, record, held)
    assert generation not in await generations.holdings()


@pytest.mark.usefixtures("working")
async def test_nights_that_make_nothing_live_let_no_list_expire(night: Hand) -> None:
    """Readers keep what they have, however many nights are refused."""
    live = (await through(night)).stages["everybody"].generation
    names = [night.runtime.keys.result(live, user) for user in USERS]
    await ask(night.redis, "HSET", night.runtime.keys.barred, live, 1)
    change(night, fit="--neighbours 3", gate_churn=0.0)
    for date in ("2026-12-01", "2026-12-02"):
        for name in names:
            assert await ask(night.redis, "EXPIRE", name, 60)
        assert (await through(night, date)).outcome == "refused"
        assert min([await ask(night.redis, "TTL", name) for name in names]) > 60


@pytest.mark.usefixtures("working")
async def test_a_dry_night_does_not_join_a_run_that_goes_live(night: Hand, own_world: World) -> None:
    """It says which one is in progress; and the other way round."""
    generation = await night.adopt(own_world)
    run_id, _ = await night.runtime.runs.start(generation.record, 2)
    change(night, fit="--neighbours 4")
    ended = await through(night, options=NightOptions(fits=False, dry=True))
    if ended.outcome != "held":
        assert f"Run {run_id} of this generation is in progress" in ended.stages["everybody"].message


async def test_only_one_of_two_runs_of_a_generation_is_dry(night: Hand, own_world: World) -> None:
    """The second one does not join, whichever it is."""
    record = (await night.adopt(own_world)).record
    for dry in (True, False):
        run_id, _ = await night.runtime.runs.start(record, 2, dry=dry)
        with pytest.raises(RunInProgressError, match=run_id):
            await night.runtime.runs.start(record, 2, dry=not dry)
        assert await night.runtime.runs.start(record, 2, dry=dry) == (run_id, False)
        await night.deliver_all()


@pytest.mark.usefixtures("working")
async def test_what_is_planted_keeps_no_night_from_its_end(night: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's state of another type, and a history that cannot be written."""
    remember = History.remember
    keys = night.runtime.keys

    async def plant(self: object, entry: Entry) -> None:
        if entry.kind == "night":
            raise ResponseError("WRONGTYPE")
        await remember(History(night.redis, keys), entry)

    monkeypatch.setattr(History, "remember", plant)
    monkeypatch.setattr("reckoner.workers.night.driver.FIRST_PAUSE_MS", 1)
    monkeypatch.setattr("reckoner.workers.night.driver.MOST_FAILURES", 2)
    ended = await through(night)
    assert ended.outcome == "live"
    assert not await ask(night.redis, "EXISTS", keys.night_now)


async def test_a_worker_that_does_not_see_the_store_drives_no_night(night: Hand) -> None:
    """Another one may see it."""
    nights = Nights(night.redis, night.runtime.keys)
    night_id, _ = await nights.begin("2026-11-30", "command", NightOptions())
    night.runtime.store_watch.trouble = "its mount is missing"
    await NightDriver(night.runtime).drive()
    begun = await nights.load(night_id)
    assert begun is not None
    assert begun.stages == {}


@pytest.mark.usefixtures("working")
async def test_a_run_whose_state_has_expired_is_known_by_the_history(
    night: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All workers were down for more than an hour after it."""
    ended_run = list_stages._ended_run

    async def expired(runtime: object, run_id: str, generation: str) -> object:
        await ended_run(night.runtime, run_id, generation)
        await ask(night.redis, "DEL", night.runtime.keys.run(run_id))
        return await ended_run(night.runtime, run_id, generation)

    monkeypatch.setattr(list_stages, "_ended_run", expired)
    assert (await through(night)).outcome == "live"


async def test_going_back_is_from_the_generation_that_was_read(night: Hand, own_world: World) -> None:
    """A run that goes live meanwhile is not barred in its place."""
    for number in range(2):
        await night.runtime.runs.start((await night.adopt(own_world, number)).record, 6)
        await night.deliver_all()
    generations, keys = night.runtime.results.generations, night.runtime.keys
    current, previous = await generations.follow(keys.current), own_world.generations[0].id
    change(night, gate_churn=1.0)
    await night.runtime.runs.start((await night.adopt(own_world, 2)).record, 6)
    await night.deliver_all()
    assert await generations.promote(previous, current, bars=True) == "moved"
    now = await generations.follow(keys.current)
    assert await generations.promote(previous, now, bars=True) == "moved", "it is not the previous one any more"
    assert await generations.barred() == []


async def thrice(night: Hand) -> None:
    """Two live nights, and a configuration for a third one."""
    change(night, fit="--neighbours 4", gate_churn=1.0)
    await through(night)
    change(night, fit="--neighbours 5")
    await through(night, "2026-12-01")
    change(night, fit="--neighbours 9")


@pytest.mark.usefixtures("working")
async def test_what_is_live_stays_live_whatever_the_clean_up_meets(
    night: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is away by then; or the end itself is interrupted too often."""
    await thrice(night)

    async def broken(self: object) -> None:
        raise StoreError("The store is away.")

    monkeypatch.setattr("reckoner.workers.night.list_stages.GenerationCleanup.delete_old", broken)
    ended = await through(night, "2026-12-02")
    assert (ended.outcome, ended.stages["clean-up"].message) == (
        "live",
        "Old generations left to the background: 1.",
    )
    assert (await remembered(night, ended)).reasons == []

    async def away(*_: object) -> None:
        raise RedisConnectionError

    monkeypatch.setattr("reckoner.workers.night.driver.entry_of", away)
    monkeypatch.setattr("reckoner.workers.night.driver.FIRST_PAUSE_MS", 1)
    change(night, fit="--neighbours 8")
    ended = await through(night, "2026-12-03")
    assert (ended.outcome, set(outcomes(ended).values())) == ("live", {"skipped", "done"})


@pytest.mark.usefixtures("working")
async def test_a_run_that_has_gone_live_before_it_was_noted_is_no_night_without_news(
    night: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer of its start was lost, and it ended during the pause."""
    await thrice(night)
    real, failed = Runs.start, False

    async def start(self: Runs, *arguments: object, **options: object) -> tuple[str, bool]:
        nonlocal failed
        answer = await real(self, *arguments, **options)  # type: ignore[arg-type]
        if not failed:
            failed = True
            await list_stages._ended_run(night.runtime, answer[0], "")
            raise RedisConnectionError
        return answer

    monkeypatch.setattr(Runs, "start", start)
    monkeypatch.setattr("reckoner.workers.night.driver.FIRST_PAUSE_MS", 1)
    ended = await through(night, "2026-12-02")
    assert ended.outcome == "live"
    assert (await remembered(night, ended)).figures["users"] == len(USERS)


async def test_interruptions_far_apart_do_not_add_up(night: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eleven lost connections in one long stage: each comes after a calm time."""
    monkeypatch.setattr("reckoner.workers.night.driver.FIRST_PAUSE_MS", 0)
    monkeypatch.setattr("reckoner.workers.night.driver.CALM_S", -1.0)

    async def away(*_: object) -> None:
        raise RedisConnectionError

    monkeypatch.setitem(WORK, "import", away)
    nights = Nights(night.redis, night.runtime.keys)
    night_id, _ = await nights.begin("2026-12-01", "command", NightOptions())
    for _ in range(MOST_FAILURES + 1):
        await NightDriver(night.runtime).drive()
    left = await nights.load(night_id)
    assert left is not None
    assert (left.outcome, left.failures) == (None, 1)


@pytest.mark.usefixtures("working")
async def test_a_night_that_fails_while_it_computes_goes_live_no_more(
    night: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run starts no more blocks, and is refused at the gate."""
    await thrice(night)
    monkeypatch.setattr("reckoner.workers.night.driver.FIRST_PAUSE_MS", 0)
    before = await night.runtime.results.generations.current()

    async def away(*_: object) -> None:
        raise RedisConnectionError

    monkeypatch.setattr(list_stages, "_computed", away)
    change(night, block_size=1)
    ended = await through(night, "2026-12-02")
    assert (ended.outcome, outcomes(ended)["everybody"]) == ("failed", "failed")
    run = await night.runtime.runs.load(ended.stages["everybody"].job)
    async with asyncio.timeout(10):
        while run is not None and run.state != "ended":
            await asyncio.sleep(0.02)
            run = await night.runtime.runs.load(run.id)
    if run is not None and run.outcome == "refused":
        assert await night.runtime.results.generations.current() == before


async def test_a_worker_that_imports_may_restart_late_in_a_night(night: Hand) -> None:
    """The grace counts from when it was seen last, not from the night's start."""
    change(night, source="/data/x.csv")
    nights = Nights(night.redis, night.runtime.keys)
    night_id, _ = await nights.begin("2026-12-01", "settings", NightOptions())
    state = night.runtime.keys.night_state(night_id)
    await ask(night.redis, "HSET", state, "started", await night.runtime.now_ms() - 600_000)
    await NightDriver(night.runtime, imports=False).drive()
    left = await nights.load(night_id)
    assert left is not None
    assert (left.outcome, left.stages) == (None, {})


async def test_a_night_whose_state_is_lost_is_remembered_and_may_begin_again(night: Hand) -> None:
    """By the settings too."""
    nights, keys = Nights(night.redis, night.runtime.keys), night.runtime.keys
    night_id, _ = await nights.begin("2026-12-01", "settings", NightOptions())
    await ask(night.redis, "HSET", keys.night_state(night_id), "due", "x")
    await NightDriver(night.runtime).drive()
    assert await nights.under_way() is None
    entry = await History(night.redis, keys).find(night_id)
    assert entry is not None
    assert (entry.outcome, entry.reasons) == ("failed", ["its state was missing or invalid"])
    again, beginning = await nights.begin("2026-12-01", "settings", NightOptions())
    assert (again != night_id, beginning) == (True, "started")


@pytest.mark.usefixtures("working")
async def test_a_notice_is_sent_again_if_the_driver_died(night: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once at least."""
    sent = list[str]()

    async def died(*_: object) -> None:
        raise asyncio.CancelledError

    async def tell(_: str, entry: Entry) -> None:
        sent.append(entry.outcome)

    change(night, on_night="/bin/true")
    monkeypatch.setattr("reckoner.workers.night.driver.notify", died)
    with pytest.raises(asyncio.CancelledError):
        await through(night)
    monkeypatch.setattr("reckoner.workers.night.driver.notify", tell)
    await NightDriver(night.runtime).drive()
    assert sent == ["live"]
    assert await Nights(night.redis, night.runtime.keys).under_way() is None
