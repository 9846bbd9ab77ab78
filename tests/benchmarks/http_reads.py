"""Measures `reckoner serve` beside a bare Starlette handler, under wrk's load, one after the other in each round."""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.keys import Keys
from reckoner.shared.serving.results import Results
from reckoner.shared.wire.shapes import RESULT, Options, Record
from tests.benchmarks.frame import Figures, WrongAnswerError
from tests.benchmarks.hits import ITEMS, LENGTH, SPARE, USERS, _list
from tests.debian import find
from tests.processes import environment, started
from tests.root import ROOT
from tests.servers import start_server
from tests.world import make_known

CONNECTIONS = 32
PREFIX = "http"
OURS, BARE = "serve", "bare"


@dataclass(frozen=True)
class HttpReads:
    """Reads of cached lists by `CONNECTIONS` connections: `at_once` users in a request, with a query."""

    home: Path
    at_once: int = 1
    query: str = ""
    seconds: int = 2
    slices: int = 3
    """In each, both are measured for so many seconds, so that a slow moment of the machine spoils one of several."""

    async def __call__(self) -> Figures:
        """Requests a second, and milliseconds in the median and at the 99th percentile, of both."""
        home = self.home / f"http-{time.monotonic_ns()}"
        with start_server(home) as server:
            await _fill(server.url)
            return await asyncio.to_thread(self._measured, home, server.url)

    def _measured(self, home: Path, redis_url: str) -> Figures:
        found: dict[str, list[float]] = {}
        with _bare(home, redis_url) as bare, _serve(home, redis_url) as ours:
            for url in (bare, ours):
                self._check(url)
            for _ in range(self.slices):
                for name, url in ((BARE, bare), (OURS, ours)):
                    for figure, value in self._load(url).items():
                        found.setdefault(f"{name}: {figure}", []).append(value)
        return {figure: statistics.median(values) for figure, values in found.items()}

    def _check(self, url: str) -> None:
        if self.at_once == 1:
            answer = httpx.get(f"{url}/v1/users/{USERS[7]}/recommendations{self.query}")
        else:
            answer = httpx.post(f"{url}/v1/recommendations", json={"users": USERS[: self.at_once]})
        answer.raise_for_status()
        value = answer.json()
        lists = value if isinstance(value, list) else value.get("answers", [value])
        if len(lists) != self.at_once or any(len(one["items"]) < 10 for one in lists):
            raise WrongAnswerError("a user was not given their list")

    def _load(self, url: str) -> Figures:
        program = find("wrk", "usr/bin/wrk")
        script = Path(__file__).parent / "http_load.lua"
        options = ("-t", "1", "-c", str(CONNECTIONS), "-d", f"{self.seconds}s", "-s", str(script))
        done = subprocess.run(
            [program, *options, url, "--", str(self.at_once), self.query], capture_output=True, text=True, check=True
        )
        figures = json.loads(done.stdout.splitlines()[-1])
        if figures["errors"]:
            raise WrongAnswerError(f"{figures['errors']:,} answers were errors")
        return {
            "requests/s": figures["requests"] / figures["seconds"],
            "median": figures["median_ms"],
            "99th percentile": figures["p99_ms"],
        }


async def _fill(url: str) -> None:
    keys = Keys(PREFIX)
    record = Record(2, "g", "m", "s", Options(LENGTH), 1, len(USERS), ITEMS[:LENGTH], spare=SPARE)
    async with connect(url) as redis:
        await make_known(redis, keys, record, {item: f"The title of {item} (1999)" for item in ITEMS})
        lists = [(user, RESULT.encode(_list(number))) for number, user in enumerate(USERS)]
        await Results(redis, keys).write("g", lists, 3600)
        await Results(redis, keys).tags.write("s", {item: ["even"] for item in ITEMS[::2]})


@contextmanager
def _serve(home: Path, redis_url: str) -> Iterator[str]:
    environ = environment(RECKONER_REDIS_URL=redis_url, RECKONER_PREFIX=PREFIX, PYTHONPATH=ROOT)
    with started("producer", "serve", "--port", "0", environ=environ, log=home / "serve.log") as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[1]


@contextmanager
def _bare(home: Path, redis_url: str) -> Iterator[str]:
    path = redis_url.partition("://")[2].partition("?")[0]
    with (
        (home / "bare.log").open("w") as log,
        subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "benchmarks"), "bare_http", path, PREFIX],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[1]
        finally:
            process.terminate()
