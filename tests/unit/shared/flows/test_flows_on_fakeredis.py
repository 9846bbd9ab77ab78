"""The scripts are plain Lua: they run on fakeredis too, and the producer's side with them, without a server."""

import re
from importlib.resources import files
from itertools import takewhile

import pytest
from redis.asyncio import Redis

from reckoner.shared.flows.dead_letters import DeadLetters
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.flows.flows import Flows
from reckoner.shared.flows.run_state import Manifest
from reckoner.shared.flows.runs import Runs
from reckoner.shared.redis.keys import Keys, job_key, wake_key
from reckoner.shared.redis.refusals import Refusals
from reckoner.shared.redis.scripts import ask, call, constants, load_script
from reckoner.shared.wire.jobs import Chunk, Split
from reckoner.shared.wire.shapes import Best, Options, Plan, Record, Trace, UserSpec
from tests.world import make_known

KEYS = Keys("p")
RECORD = Record(2, "g", "m", "s", Options(5), 7, 4, ["i"])
FOLDER = files("reckoner.shared.redis") / "scripts"
SCRIPTS = sorted(
    file.name.removesuffix(".lua")
    for file in FOLDER.iterdir()
    if file.name.endswith(".lua") and file.name != "prelude.lua"
)


@pytest.fixture
def flows(redis: Redis) -> Flows:
    return Flows(redis, KEYS, 10.0)


async def load(flows: Flows, flow_id: str) -> Flow:
    flow = await flows.load(flow_id)
    assert flow is not None
    return flow


async def test_a_flow_is_created_under_the_names_of_arq_and_the_sweeper(redis: Redis, flows: Flows) -> None:
    """Its state, job, queue entry, live entry and join each have their name."""
    [flow] = await flows.create([UserSpec("u", "g")], [KEYS.join_user("g", "u")])
    job = Split(flow).job_id
    names = {name.decode() for name in await ask(redis, "KEYS", "*")}
    waking = wake_key(KEYS.click)
    assert names == {KEYS.click, waking, KEYS.live_of("click"), KEYS.flow(flow), KEYS.join_user("g", "u"), job_key(job)}
    assert await ask(redis, "ZRANGE", KEYS.click, 0, -1) == [job.encode()]
    assert await ask(redis, "ZUNION", 2, *KEYS.all_live) == [f"flow:{flow}".encode()]
    assert await flows.create([UserSpec("u", "g")], [KEYS.join_user("g", "u")]) == [flow]


async def test_a_flow_goes_its_way(redis: Redis, flows: Flows) -> None:
    """split, run, rework, reduce, done."""
    [flow] = await flows.create([UserSpec("u", "g")], [KEYS.join_user("g", "u")])
    await flows.plan(flow, Plan([0, 1, 2]), lease=None)
    for round_ in (0, 1):
        for index in (0, 1):
            await flows.store_partial(
                Chunk(flow, index, round_), Best(b"", b"", b"", b""), Trace("w", 1.0, 2.0), "a place", lease=None
            )
        if round_ == 0:
            assert await flows.rework(await load(flows, flow), [b"1"], [1], lease=None) == "again"
            await ask(redis, "DEL", KEYS.click)
            assert await flows.mend(await load(flows, flow)) == 1
    assert await flows.finish(await load(flows, flow), lease=None)
    assert (await load(flows, flow)).state == "done"
    assert not await ask(redis, "EXISTS", KEYS.partials(flow), KEYS.join_user("g", "u"), *KEYS.all_live)


async def test_a_run_goes_its_way(redis: Redis, flows: Flows) -> None:
    """Started, tended, each block followed by the next, flipped and closed."""
    runs = Runs(redis, KEYS, 10.0)
    await make_known(redis, KEYS, RECORD, {"i": "title"})
    run_id, new = await runs.start(RECORD, 1, 2)
    assert new
    assert await runs.start(RECORD, 1) == (run_id, False)
    run = await runs.load(run_id)
    assert run is not None
    assert await runs.tend(run) == 0
    done = set[bytes]()
    while flight := await ask(redis, "HVALS", KEYS.flight(run_id)):
        assert len(flight) <= 2
        done.add(flight[0])
        await flows.finish(await load(flows, flight[0].decode()), lease=None)
    assert len(done) == 4
    run = await runs.load(run_id)
    assert run is not None
    assert await runs.flip(run, lease=None) == "flipped"
    assert await runs.close(run, "passed", Manifest(4, 4, 0, 0, 1.0, 4.0, []), lease=None)


async def test_a_block_is_done_again(redis: Redis, flows: Flows) -> None:
    """Its run, which was refused, is under way in the next round, and finishes with it."""
    runs = Runs(redis, KEYS, 10.0)
    await make_known(redis, KEYS, RECORD, {"i": "title"})
    run_id, _ = await runs.start(RECORD, 4, 1)
    [flow_id] = await ask(redis, "HVALS", KEYS.flight(run_id))
    assert await flows.fail(await load(flows, flow_id.decode()), "failed by the test", lease=None)
    run = await runs.load(run_id)
    assert run is not None
    assert await runs.close(run, "refused", Manifest(4, 0, 4, 0, 1.0, 0.0, ["failed by the test"]), lease=None)
    letters = DeadLetters(redis, flows)
    [letter] = await letters.newest(5)
    retried = await letters.retry(letter.id)
    assert await flows.finish(await load(flows, retried.job), lease=None)
    run = await runs.load(run_id)
    assert run is not None
    assert (run.state, run.round) == ("finish", 1)
    assert await runs.close(run, "passed", Manifest(4, 4, 0, 0, 1.0, 4.0, []), lease=None)
    assert await runs.load(run_id) is not None


async def test_the_rest_of_the_scripts_run_too(redis: Redis, flows: Flows) -> None:
    """Failing, retrying, refusing, setting aside, the beat and the lock."""
    [flow] = await flows.create([UserSpec("u", "g")], [KEYS.join_user("g", "u")])
    assert await flows.fail(await load(flows, flow), "failed by the test", lease=None)
    await make_known(redis, KEYS, RECORD, {})
    letters = DeadLetters(redis, flows)
    [letter] = await letters.newest(5)
    assert (await letters.retry(letter.id)).is_new
    await ask(redis, "ZADD", KEYS.click, 1, b"\xff", 2, "j")
    await ask(redis, "SET", KEYS.workers, "planted")
    assert await Refusals(redis, KEYS).foreign_jobs() == 2
    assert int(await call(redis, "beat", [KEYS.workers, KEYS.beat("w")], ["w", "{}", 10_000])) > 0
    assert [await call(redis, "lock", [KEYS.sweeper], [token, 5_000]) for token in "ab"] == [1, 0]


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_script_opens_with_its_keys_and_arguments(name: str) -> None:
    """A comment and the names of KEYS and ARGV, which do not occur below; only functions that all servers have."""
    opening, _, body = (FOLDER / f"{name}.lua").read_text().partition("\n\n")
    lines = opening.splitlines()
    header = list(takewhile(lambda line: line.startswith("-- "), lines))
    assert header
    assert "KEYS" in "".join(lines[len(header) :])
    assert not any(word in body for word in ("KEYS", "ARGV", "cmsgpack", "#!lua", "redis.setresp", "bit."))
    assert load_script(name) is load_script(name)


@pytest.mark.parametrize("name", [*SCRIPTS, "prelude"])
def test_no_script_repeats_a_constant(name: str) -> None:
    """What Python has too is written into the scripts: a change there reaches all of them."""
    code = re.sub("--.*", "", (FOLDER / f"{name}.lua").read_text())
    literals = set(re.findall(r"'([^']*)'|\b(\d+)\b", code))
    found = {text or digits for text, digits in literals}
    # Smaller numbers mean other things too.
    values = [value for key, value in vars(constants).items() if key.isupper() and value not in range(1001)]
    assert not found.intersection(map(str, values))
