"""Every command on a page or in the help's examples works as described."""

import ast
import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from redis import Redis

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.redis.embedded import find_embedded
from tests.commands import CommandLine
from tests.pages import PAGES, commands, shown_commands
from tests.patience import PATIENCE_S
from tests.processes import environment, started, wait_until
from tests.root import ROOT

# Each user has eleven of the items; the pages use these numbers.
USERS = [15, 42, 43, *range(100, 130), 601]
ITEMS = ["260", "1196", "33794", "48516", "55820", "58559", *map(str, range(500, 528))]

# Long-running commands, and their log line when ready.
LASTING = {
    "reckoner up": "Who may what",
    "reckoner worker": "worker ready",
    "reckoner serve": "Who may what",
}
# Tested elsewhere: the file, and a text in it.
ELSEWHERE: Mapping[str, tuple[str, str]] = {
    "make": ("tests/acceptance/test_makefile.py", '["make", *arguments]'),
    "pip install": ("tests/acceptance/test_client_alone.py", '"-m", "pip", "install"'),
    "curl": ("tests/acceptance/test_http.py", 'PAGE = "docs/http.md"'),
    "docker compose": ("tests/acceptance/test_compose.py", 'PAGE = "docs/deployment.md"'),
    "reckoner cancel": ("tests/integration/producer/client/test_cancelling.py", 'commands.run, "cancel"'),
    "reckoner drain": ("tests/acceptance/test_graceful_stop.py", '"drain"'),
    "reckoner rollback": ("tests/integration/producer/client/test_generations.py", 'commands.run, "rollback"'),
    "reckoner promote": ("tests/integration/producer/client/test_generations.py", 'commands.run, "promote"'),
    "reckoner runs show": ("tests/acceptance/test_shop.py", '"runs", "show"'),
    "reckoner runs acknowledge": ("tests/acceptance/test_shop.py", '"runs", "acknowledge"'),
    "reckoner demo": ("tests/acceptance/test_demo.py", 'run("producer", "demo"'),
}
SHELL_SYNTAX = {*"|&;<>$*?`~#\n"}
LETTER = re.compile(r"\b\d{13}-\d+\b")
REDIS_COMMANDS = {"GET", "MGET", "HGET", "HMGET", "ZMSCORE"}
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TOML = re.compile(r"^```toml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
JOB = re.compile(r"\b(?=[0-9a-f]*[a-f])[0-9a-f]{16}\b")


# tests/acceptance/test_shapes.py runs docs/importing.md, each command in a home of its own.
HERE = [page for page in PAGES if page.name != "importing.md"]
WITH_PYTHON = [page.relative_to(ROOT).as_posix() for page in HERE if PYTHON.search(page.read_text(encoding="utf-8"))]


@dataclass(frozen=True)
class Reader:
    """A reader of the pages: a directory with interaction files, and a running system."""

    place: Path
    environ: dict[str, str]

    @property
    def url(self) -> str:
        """The running Redis."""
        return str(find_embedded(self.place / "home"))

    def run(self, line: str) -> str:
        """Run a line of shell; returns its output. A command of ours without shell syntax runs in this process."""
        if line.startswith("reckoner ") and not SHELL_SYNTAX & set(line):
            with contextlib.chdir(self.place):
                ended = CommandLine(home=self.place / "home").call(*shlex.split(line)[1:])
            assert ended.code == 0, f"{line}\n{ended.out}{ended.err}"
            return ended.out
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.place,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def named(self, line: str) -> str:
        """The line with an existing job, dead letter, generation or place instead of the page's."""
        if line.startswith("reckoner job "):
            asked = json.loads(self.run("reckoner enqueue 42 --fresh --json"))
            return JOB.sub(asked["job"], line)
        if line.startswith("reckoner dead "):
            return LETTER.sub(asyncio.run(self.dead_letter()), line)
        if " --generation " in line:
            with Redis.from_url(self.url) as redis:
                return JOB.sub(str(redis.get("reckoner:generation"), "utf-8"), line)
        # Files stay inside the reader's place.
        return line.replace("file:///", f"file://{quote(str(self.place))}/")

    async def dead_letter(self) -> str:
        """Fail a job like one whose worker died three times; returns the id of its dead letter."""
        async with OpenReckoner(self.url) as reckoner:
            failed = False
            while not failed:
                # Usually a worker is slower than this.
                job = (await reckoner.enqueue("43", fresh=True)).job
                flow = await reckoner.flows.load(str(job))
                failed = flow is not None and await reckoner.flows.fail(flow, "its worker died 3 times", lease=None)
            ((letter, _),) = await reckoner.redis.xrevrange(reckoner.keys.dead, count=1)
            return str(letter, "utf-8")

    def start_and_stop(self, line: str, ready: str) -> None:
        """Run a long-running command until it is ready, then send SIGINT."""
        _, *arguments = shlex.split(line)
        log = self.place / "lasting.log"
        # A home has one server.
        own = {"RECKONER_HOME": str(self.place / "another home")} if arguments[0] == "up" else {}
        if arguments[0] == "serve":
            # Another test may have the port of the page.
            arguments += ["--port", "0"]
        with started("producer", *arguments, environ=self.environ | own, log=log, cwd=self.place) as process:
            wait_until(lambda: ready in log.read_text(), process)
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) in (0, 130), log.read_text()

    def ask(self, line: str) -> None:
        """Send a line to Redis, as redis-cli does."""
        with Redis.from_url(self.url) as redis:
            generation = str(redis.get("reckoner:generation"), "utf-8")
            record = json.loads(str(redis.get(f"reckoner:record:{generation}"), "utf-8"))
            line = JOB.sub(generation, line).replace("SNAPSHOT", record["snapshot"])
            answer = redis.execute_command(*shlex.split(line))
        assert answer is not None
        # Nothing may be hidden.
        assert line.startswith("ZMSCORE") or not isinstance(answer, list) or any(answer), line

    async def execute(self, program: str) -> dict[str, Any]:
        """Run a page's Python, with top-level await, on the running Redis; returns its names."""
        program = program.replace('"redis://localhost:6379"', repr(self.url))
        code = compile(program, "a page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        names: dict[str, Any] = {}
        if (running := eval(code, names)) is not None:
            await running
        return names

    def follow(self, line: str) -> None:
        """Do what a line of a page says."""
        if line.partition(" ")[0] in REDIS_COMMANDS:
            return self.ask(line)
        for start, ready in LASTING.items():
            if line == start or line.startswith(f"{start} "):
                return self.start_and_stop(line, ready)
        for start, (file, what) in ELSEWHERE.items():
            if line.startswith(start):
                assert what in (ROOT / file).read_text(encoding="utf-8"), file
                return None
        self.run(self.named(line))
        return None


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    place = tmp_path_factory.mktemp("a reader's place")
    for name, header in {"ratings.csv": "user,item,time,title", "purchases.csv": "customer,product,time,title"}.items():
        had = [(u, n, i) for u in USERS for n, i in enumerate(ITEMS) if (u * n) % 3 == 0]
        rows = [f"{u},{i},{1700000000 + (7 * u + 13 * n) % 97},Title {i}" for u, n, i in had]
        (place / name).write_text("\n".join([header, *rows, ""]))
    with contextlib.closing(sqlite3.connect(place / "shop.db")) as database, database:
        database.execute("create table purchases (customer text, product text, bought text)")
        # As many as in the files, or an import would be refused.
        sold = [(u, i, f"2026-01-{(u + n) % 28 + 1:02}") for u in USERS for n, i in enumerate(ITEMS) if u * int(i) % 3]
        bought = [(f"customer {u}", f"product {i}", day) for u, i, day in sold]
        database.executemany("insert into purchases values (?, ?, ?)", bought)
    [space] = TOML.findall((ROOT / "docs" / "evaluating.md").read_text("utf-8"))
    (place / "space.toml").write_text(space)
    bin_directory = place / "bin"
    bin_directory.mkdir()
    script = bin_directory / "reckoner"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m reckoner.producer "$@"\n')
    script.chmod(0o755)
    path = f"{bin_directory}:{os.environ['PATH']}"
    environ = environment(RECKONER_HOME=place / "home", PYTHONPATH=ROOT, PATH=path)
    found = Reader(place, environ)
    with started("producer", "up", "--no-page", environ=environ, log=place / "up.log", cwd=place) as up:
        assert up.stdout is not None
        assert up.stdout.readline() == "ready\n"
        found.run("reckoner import ratings.csv --user user --item item --time time --title title")
        found.run("reckoner fit")
        yield found
        up.send_signal(signal.SIGINT)
        up.wait(PATIENCE_S)


@pytest.mark.parametrize("page", [page.relative_to(ROOT).as_posix() for page in HERE])
def test_the_commands_of_a_page_work_as_described(reader: Reader, page: str) -> None:
    """In order, as a reader would copy them."""
    for line in shown_commands((ROOT / page).read_text(encoding="utf-8")):
        reader.follow(line)


@pytest.mark.parametrize("page", WITH_PYTHON)
async def test_the_python_of_a_page_works_as_described(reader: Reader, page: str) -> None:
    """Each block as it is on the page; every request is answered."""
    # A cached list makes the page's time-outs independent of the machine's load.
    reader.run("reckoner enqueue 601 --wait")
    for program in PYTHON.findall((ROOT / page).read_text(encoding="utf-8")):
        names = await reader.execute(program)
        if "outcomes" in names:
            assert [outcome.status for outcome in names["outcomes"]] == ["recorded"] * 2
            assert {"2959", "260", "318"} <= {event.item for event in names["events"]}
            continue
        assert names["answer"].source in ("cache", "filtered")
        assert len(names["answer"].items) == 3
        for answered in (names.get("basket"), names.get("similar"), *names.get("answers", ())):
            assert answered is None or answered.items
        assert "asked" not in names or names["report"].flow.id == names["asked"].job


def test_the_examples_of_the_help_work_as_described(reader: Reader) -> None:
    """In the order of the help."""
    for command in commands():
        for example in command.examples:
            reader.follow(example)
