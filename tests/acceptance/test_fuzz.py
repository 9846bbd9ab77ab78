"""Any input, by file, argument, setting or Redis, gets a defined answer, and no job is lost.

`make test` runs half a minute with a fixed seed; `make fuzz SECONDS=600` ten minutes with a new one.
"""

import asyncio
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.errors import ReckonerError, SettingsError
from reckoner.shared.redis.keys import job_key
from reckoner.shared.redis.scripts import ask
from reckoner.shared.settings import Settings, load_settings, variable_of
from reckoner.shared.store.snapshots import open_snapshot
from reckoner.shared.wire.jobs import Chunk, Finish, Reduce, Split, encode_job
from tests.commands import Ended, call_here
from tests.fuzzing import (
    import_options,
    made_databases,
    made_files,
    mutated,
    numbers,
    queries,
    query_options,
    right_databases,
    right_files,
    texts,
)
from tests.patience import PATIENCE_S
from tests.system import System, synthetic_pairs

SECONDS = float(os.environ.get("FUZZ_SECONDS", "30"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
# Inputs of one kind in a row.
AT_ONCE = 25
FLOW_FIELDS = (
    "state",
    "round",
    "spec",
    "plan",
    "looks",
    "join",
    "run",
    "created",
    "place",
    "rework",
    "planned",
    "kind",
)
# An ended flow is not read again.
DAMAGE = """
local state = redis.call('HGET', KEYS[1], 'state')
if state == 'split' or state == 'run' or state == 'reduce' then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
"""
SECRET = "hush-"
USERS = [f"üser {number:03d}" for number in range(60)]


class Scene:
    """A system under fuzzed input, and the command line in this process."""

    def __init__(self, system: System, loop: asyncio.AbstractEventLoop, reckoner: OpenReckoner, root: Path) -> None:
        self.system, self.reckoner, self.root = system, reckoner, root
        self.do: Callable[[Coroutine[Any, Any, Any]], Any] = loop.run_until_complete
        self.flows: list[str] = []

    async def all_end(self) -> None:
        """Wait until every damaged flow has ended."""
        async for _, flow in self.reckoner.wait(self.flows, timeout=PATIENCE_S):
            assert flow is not None
            assert flow.state in ("done", "failed")

    def call(self, *arguments: str, given: bytes = b"") -> Ended:
        """Call the command line and check its output."""
        ended = call_here(*arguments, given=given)
        assert ended.is_defined, (arguments, ended)
        return ended


def imports(scene: Scene, options: list[str], *sources: str) -> None:
    """Import: each row is accounted for, or the import is refused with a reason and an unchanged snapshot."""
    before = scene.system.store.current_snapshot()
    ended = scene.call("import", "--json", *options, "--", *sources)
    after = scene.system.store.current_snapshot()
    assert after is not None
    for record in ended.objects if ended.out else []:
        parts = (record[name] for name in ("interactions", "repeated", "bad_rows", "left_out"))
        assert record["earlier"] + record["rows"] == sum(parts)
    if ended.code or "--dry-run" in options:
        assert after == before
    elif after != before:
        open_snapshot(scene.system.store.fetch("snapshots", after), verify=True)


def files(scene: Scene) -> tuple[SearchStrategy[Any], Callable[[Any], None]]:
    """A file of any kind, written in any way."""

    def attempt(value: tuple[bytes, list[str]]) -> None:
        data, options = value
        path = scene.root / "a file.csv"
        path.write_bytes(data)
        imports(scene, options, str(path))

    return st.tuples(made_files | mutated(right_files()), import_options), attempt


def several_files(scene: Scene) -> tuple[SearchStrategy[Any], Callable[[Any], None]]:
    """Files of one kind or of several, by their names, their folder, or a pattern."""
    folder, right = scene.root / "parts", right_files()

    def attempt(value: tuple[list[bytes], str, list[str]]) -> None:
        parts, named, options = value
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        paths = [folder / f"part {number}" for number in range(len(parts))]
        for path, data in zip(paths, parts, strict=True):
            path.write_bytes(data)
        sources = {"names": paths, "folder": [folder], "pattern": [folder / "p*"], "twice": [folder, paths[0]]}[named]
        imports(scene, options, *map(str, sources))

    of_one_kind = st.sampled_from(right).flatmap(
        lambda data: st.lists(st.just(data) | mutated([data]), min_size=2, max_size=4)
    )
    of_any_kind = st.lists(made_files | mutated(right), min_size=2, max_size=4)
    named = st.sampled_from(["names", "folder", "pattern", "twice"])
    return st.tuples(of_one_kind | of_any_kind, named, import_options), attempt


def databases(scene: Scene) -> tuple[SearchStrategy[Any], Callable[[Any], None]]:
    """SQLite databases, also damaged ones, and any query; no query changes the file."""
    path = scene.root / "a shop.db"

    def attempt(value: tuple[bytes, str, list[str]]) -> None:
        data, query, options = value
        path.write_bytes(data)
        imports(scene, ["--query", query, *options], f"sqlite:///{path}")
        assert path.read_bytes() == data

    return st.tuples(made_databases | mutated(right_databases()), queries, query_options), attempt


def variables(scene: Scene) -> tuple[SearchStrategy[Any], Callable[[Any], None]]:
    """Settings in variables are accepted, or refused by name without their value."""
    names = st.sampled_from(list(map(variable_of, Settings.__struct_fields__))) | texts.map(variable_of)

    def attempt(environ: dict[str, str]) -> None:
        read_or_refused(environ)

    return st.dictionaries(names, texts | numbers | texts.map(SECRET.__add__), max_size=4), attempt


def settings_files(scene: Scene) -> tuple[SearchStrategy[Any], Callable[[Any], None]]:
    """Settings in a file are accepted, or refused by name without their value."""
    lines = [
        "# of a shop",
        f'redis_url = "redis://someone:{SECRET}@localhost"',
        "list_length = 20",
        "first_look_s = 5.5",
    ]
    right = "\n".join([*lines, 'log_level = "INFO"', 'nightly = "03:00 Europe/Berlin"', ""]).encode()
    path = scene.root / "settings.toml"

    def attempt(data: bytes) -> None:
        path.write_bytes(data)
        read_or_refused({"RECKONER_CONFIG": str(path)})

    return mutated([right]), attempt


def read_or_refused(environ: dict[str, str]) -> None:
    said = ""
    try:
        load_settings(environ)
    except SettingsError as error:
        said = str(error)
    assert SECRET not in said


def arguments(scene: Scene) -> tuple[SearchStrategy[Any], Callable[[Any], None]]:
    """Any command line gets an exit code and, if it is not 0, a sentence."""
    words = [
        "get", "enqueue", "show", "similar", "users", "batch", "fit", "import", "job", "status", "doctor", "config",
        "dead list", "dead show", "dead retry", "dead drop", "worker", "up", "version",
        "record", "merge", "hide", "unhide", "hidden",
    ]  # fmt: skip
    options = [
        "--json", "--no-wait", "--fresh", "-n", "--neighbours", "--shrink", "--block", "--users-file", "--in-flight",
        "--history", "--all", "--yes", "--type", "--weight", "--time", "--id", "--file", "--for", "--until",
        "--replace",
    ]  # fmt: skip
    argument = texts | numbers | st.sampled_from([*USERS[:3], *options, "-"])

    def attempt(value: tuple[str, list[str], bytes]) -> None:
        command, rest, given_input = value
        # Long-running commands only get --help.
        rest = [*rest, "--help"] if command in ("worker", "up") else rest
        rest = [*rest, "--no-wait"] if command in ("fit", "batch") else rest
        scene.call(*command.split(), *rest, given=given_input)

    return st.tuples(st.sampled_from(words), st.lists(argument, max_size=4), st.binary(max_size=40)), attempt


def identifiers(scene: Scene) -> tuple[SearchStrategy[Any], Callable[[Any], None]]:
    """The client answers any id, or refuses it in one sentence."""

    def attempt(ids: list[str]) -> None:
        async def ask_all() -> None:
            calls = [scene.reckoner.recommend(user, timeout=PATIENCE_S) for user in ids]
            calls += [scene.reckoner.get(user) for user in ids]
            others: list[Coroutine[Any, Any, Any]] = [scene.reckoner.recommend_for(ids, timeout=PATIENCE_S)]
            others += [scene.reckoner.similar(item, timeout=PATIENCE_S) for item in ids[:2]]
            others += [scene.reckoner.similar(item, other=ids[0], timeout=PATIENCE_S) for item in ids[2:]]
            others += [scene.reckoner.history(user, timeout=PATIENCE_S) for user in ids[:2]]
            for answer in await asyncio.gather(*calls, *others, return_exceptions=True):
                if isinstance(answer, BaseException):
                    assert isinstance(answer, ReckonerError), repr(answer)
                    assert str(answer)

        scene.do(ask_all())

    return st.lists(texts | st.sampled_from(USERS), max_size=4), attempt


def job_bytes(scene: Scene) -> tuple[SearchStrategy[Any], Callable[[Any], None]]:
    """A job with any body is done or refused, and the worker lives."""
    flow = "0123456789abcdef"
    bodies = [encode_job(task) for task in (Split(flow), Chunk(flow, 1, 0), Reduce(flow, 2), Finish(flow, 0))]

    def attempt(value: tuple[bytes, str]) -> None:
        data, job_id = value

        async def plant() -> None:
            await ask(scene.reckoner.redis, "SET", job_key(job_id), data, "EX", 600)
            await ask(scene.reckoner.redis, "ZADD", scene.system.keys.click, 1, job_id)

        scene.do(plant())

    return st.tuples(mutated(bodies) | st.binary(max_size=60), st.uuids().map(str)), attempt


def flow_fields(scene: Scene) -> tuple[SearchStrategy[Any], Callable[[Any], None]]:
    """A flow whose state is damaged while it runs ends nevertheless."""

    def attempt(value: tuple[str, str, bytes, bool]) -> None:
        user, field, data, is_partial = value

        async def damage() -> None:
            entry = await scene.reckoner.enqueue(user, fresh=True)
            assert entry.job
            scene.flows.append(entry.job)
            keys = scene.system.keys
            if is_partial:
                await ask(scene.reckoner.redis, "HSET", keys.partials(entry.job), field, data)
                await ask(scene.reckoner.redis, "EXPIRE", keys.partials(entry.job), 600)
            else:
                await ask(scene.reckoner.redis, "EVAL", DAMAGE, 1, keys.flow(entry.job), field, data)

        scene.do(damage())

    # A partial's field is its task's number.
    fields = st.tuples(st.sampled_from(USERS[1:]), st.sampled_from(FLOW_FIELDS), st.binary(max_size=30), st.just(False))
    partials = st.tuples(st.sampled_from(USERS[1:]), st.sampled_from("0123x"), st.binary(max_size=30), st.just(True))
    return fields | partials, attempt


KINDS = (files, several_files, databases, variables, settings_files, arguments, identifiers, job_bytes, flow_fields)


def run_some(strategy: SearchStrategy[Any], attempt: Callable[[Any], None], number: int, counts: Counter[str]) -> None:
    """Some inputs of one kind; a number determines its inputs."""

    @seed(number)
    @settings(
        max_examples=AT_ONCE,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def some(value: Any) -> None:
        counts["inputs"] += 1
        attempt(value)

    some()


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    loop = asyncio.new_event_loop()
    system = System(tmp_path / "a home", first_look_s=0.5, task_deadline_s=5)
    loop.run_until_complete(system.__aenter__())
    try:
        system.import_pairs(synthetic_pairs())
        system.start_workers()
        loop.run_until_complete(system.fit())
        for name, value in {"HOME": tmp_path / "a home", "FIRST_LOOK_S": "0.5"}.items():
            monkeypatch.setenv(f"RECKONER_{name}", str(value))
        monkeypatch.chdir(tmp_path)
        reckoner = system.reckoner()
        client = loop.run_until_complete(reckoner.__aenter__())
        yield Scene(system, loop, client, tmp_path)
        loop.run_until_complete(reckoner.__aexit__(None, None, None))
    finally:
        loop.run_until_complete(system.__aexit__(None, None, None))
        loop.close()


async def forget_events(system: System) -> None:
    """Delete what was recorded and hidden: the reference lists do not count it."""
    keys = system.keys
    async with system.reckoner() as reckoner:
        await reckoner.catalogue.replace_hidden([])
        names = [keys.event_stream, keys.recents, keys.recent_versions]
        for stem in (keys.recent(""), keys.left(""), keys.hides("")):
            names += [name.decode() async for name in reckoner.redis.scan_iter(match=f"{stem}*", count=1000)]
        await ask(reckoner.redis, "UNLINK", *names)


def test_any_input_gets_a_defined_answer_and_no_job_is_lost(scene: Scene) -> None:
    """At the end the same worker runs, every flow has ended, and all lists are right."""
    system, pids = scene.system, scene.system.worker_pids
    counts = {kind.__name__: Counter[str]() for kind in KINDS}
    attempts = [(kind.__name__, *kind(scene)) for kind in KINDS]
    until, number = time.monotonic() + SECONDS, SEED
    while time.monotonic() < until:
        for name, strategy, attempt in attempts:
            run_some(strategy, attempt, number, counts[name])
        number += 1
    print(
        f"seeds {SEED} to {number - 1}",
        *(f"{name}: {count['inputs']:,} inputs" for name, count in counts.items()),
        sep="\n",
    )
    assert all(count["inputs"] for count in counts.values())
    scene.do(scene.all_end())
    scene.do(forget_events(system))
    system.import_pairs(synthetic_pairs(seed=2))
    generation = scene.do(system.fit())
    assert scene.do(system.run()).outcome == "passed"
    assert scene.do(system.lists(generation)) == system.reference_lists(generation)
    scene.do(system.idle())
    assert system.worker_pids == pids
