"""`reckoner serve` as a process of its own: what its page says works, and whatever dies, no answer is wrong or late."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.patience import PATIENCE_S
from tests.processes import environment, run, started
from tests.root import ROOT
from tests.system import System, eventually, synthetic_pairs

PAGE = "docs/http.md"
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TOKEN = "0123456789abcdef"
TIMEOUT_S = 1.5
# What a busy machine may take beyond the time limit.
MARGIN_S = 3.0
# What an answer may be when something has died.
DEFINED = {200, 429, 502, 503, 504}


class Serving:
    """A running `reckoner serve`."""

    def __init__(self, process: "subprocess.Popen[str]", url: str) -> None:
        self.process, self.url = process, url

    @property
    def children(self) -> list[int]:
        """Its processes, without the first one."""
        return sorted(child.pid for child in psutil.Process(self.process.pid).children())


@contextmanager
def serving(system: System, *options: str) -> Iterator[Serving]:
    """Serve a system on a free port."""
    log, environ = system.home / "serve.log", system.environ()
    with started("producer", "serve", "--port", "0", *options, environ=environ, log=log) as process:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        assert words, log.read_text()
        yield Serving(process, words[1])
    assert "Traceback" not in log.read_text(), log.read_text()


async def test_the_commands_of_the_page_work(tmp_path: Path) -> None:
    """Each `curl` of it, in its order, is answered with JSON."""
    async with System(tmp_path) as system:
        system.import_pairs(_pairs_of_the_page())
        system.start_workers(1)
        await system.fit()
        blocks = SHELL.findall((ROOT / PAGE).read_text(encoding="utf-8"))
        lines = [line for block in blocks for line in block.replace("\\\n", "").splitlines() if line.startswith("curl")]
        assert len(lines) > 10
        with serving(system) as served:
            job = ""
            for line in lines:
                command = line.partition(" # ")[0].replace("http://localhost:8321", served.url).replace("JOB", job)
                done = await asyncio.to_thread(
                    subprocess.run, ["bash", "-c", f"{command} -sS"], capture_output=True, text=True, check=True
                )
                assert '"status":4' not in done.stdout, (command, done.stdout)
                assert '"status":5' not in done.stdout, (command, done.stdout)
                if "/metrics" not in command:
                    found = json.loads(done.stdout)
                    job = found["jobs"][0]["job"] if "jobs" in found else job


def _pairs_of_the_page() -> list[tuple[str, str]]:
    items = ["260", "1196", "33794", "48516", "55820", "58559", *map(str, range(500, 520))]
    return [(str(user), item) for user in [42, 601, *range(100, 130)] for n, item in enumerate(items) if (user + n) % 3]


async def test_whatever_dies_no_answer_is_wrong_or_late(tmp_path: Path) -> None:
    """Processes of `serve`, workers, and the server are killed while clients ask; then all is well again."""
    async with System(tmp_path, lease_s=1.5, first_look_s=0.2) as system:
        system.import_pairs(synthetic_pairs())
        system.start_workers(2)
        generation = await system.fit()
        truth = {user: json.loads(data)["items"] for user, data in system.reference_lists(generation).items()}
        options = ("--processes", "2", "--timeout", str(TIMEOUT_S))
        with serving(system, *options) as served:

            def one_process() -> None:
                os.kill(served.children[0], signal.SIGKILL)

            def one_worker() -> None:
                os.kill(system.worker_pids[0], signal.SIGKILL)

            def all_processes() -> None:
                for pid in (*served.children, *system.worker_pids):
                    os.kill(pid, signal.SIGKILL)

            asking = Asking(served.url, truth)
            async with asyncio.TaskGroup() as group:
                callers = [group.create_task(asking.call(number)) for number in range(6)]
                await asking.answered(20)
                for kill in (one_process, one_worker, system.server.kill, all_processes):
                    kill()
                    if not system.server.is_running:
                        await asking.seen(503)
                        system.start_server()
                    await asking.answered(20)
                asking.over = True
                await asyncio.wait(callers)
            # The last kill's processes are started again.
            await asking.answered_now()
            served.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(served.process.wait, PATIENCE_S) == 0
        assert set(asking.statuses) <= DEFINED, asking.statuses


class Asking:
    """Callers that read fresh lists and record events, and check each answer."""

    def __init__(self, url: str, truth: dict[str, Any]) -> None:
        self._url, self._truth, self._users = url, truth, sorted(truth)
        self.statuses = Counter[int]()
        self.refused = 0
        self.over = False

    async def call(self, number: int) -> None:
        """Ask again and again, over a new connection each time, so that each process is asked."""
        async with self._client(TIMEOUT_S + MARGIN_S) as http:
            while not self.over:
                number, began = number + 7, time.monotonic()
                try:
                    await self._one(http, number)
                except httpx.TimeoutException:
                    raise AssertionError("an answer hangs") from None
                except httpx.TransportError:
                    # Refused, or cut off with its process.
                    self.refused += 1
                assert time.monotonic() - began < TIMEOUT_S + MARGIN_S
                await asyncio.sleep(0.02)

    def _client(self, timeout_s: float) -> httpx.AsyncClient:
        limits = httpx.Limits(max_keepalive_connections=0)
        return httpx.AsyncClient(base_url=self._url, timeout=timeout_s, limits=limits)

    async def _one(self, http: httpx.AsyncClient, number: int) -> None:
        user = self._users[number % len(self._users)]
        path = f"/v1/users/{user.replace(' ', '%20')}/recommendations"
        answer = await http.get(path, params={"n": 5, "fresh": str(number % 2 == 0).lower()})
        self.statuses[answer.status_code] += 1
        found = answer.json()
        if answer.status_code != 200:
            assert found["status"] == answer.status_code, found
            return
        if found["source"] == "cache":
            places = [[one["item"], one["score"], one["because"]] for one in found["items"]]
            assert places == self._truth[user][:5]

    async def answered(self, count: int) -> None:
        """Wait for so many more right answers."""
        most = self.statuses[200] + count

        async def look() -> bool:
            return self.statuses[200] >= most

        await eventually(look)

    async def seen(self, status: int) -> None:
        """Wait for one more answer with a status."""
        before = self.statuses[status]

        async def look() -> bool:
            return self.statuses[status] > before

        await eventually(look)

    async def answered_now(self) -> None:
        """One more right answer, of whichever process."""
        async with self._client(PATIENCE_S) as http:
            await self._one(http, 0)


async def test_it_stops_in_good_order(tmp_path: Path) -> None:
    """It is not ready at once, an open request gets its answer, and then there is nothing; each within its time."""
    async with System(tmp_path) as system:
        system.import_pairs(synthetic_pairs())
        workers = system.start_workers(1)
        await system.fit()
        await workers.stop()
        with serving(system, "--linger", "1", "--timeout", "3") as served:
            async with httpx.AsyncClient(base_url=served.url, timeout=PATIENCE_S) as http:
                assert (await http.get("/health/ready")).status_code == 200
                # Nobody computes it.
                late = asyncio.create_task(http.get("/v1/users/üser%20001/recommendations?fresh=true"))
                await asyncio.sleep(0.2)
                served.process.send_signal(signal.SIGTERM)

                async def not_ready() -> bool:
                    return (await http.get("/health/ready")).status_code == 503

                await eventually(not_ready)
                assert (await http.get("/health/live")).status_code == 200
                assert (await late).status_code == 504
            assert await asyncio.to_thread(served.process.wait, PATIENCE_S) == 0
            async with httpx.AsyncClient() as http:
                with pytest.raises(httpx.ConnectError):
                    await http.get(f"{served.url}/health/live")


async def test_processes_that_start_again_have_the_tokens_of_before(tmp_path: Path) -> None:
    """Whatever has become of the file since."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"read shop {TOKEN}\n")
    async with System(tmp_path) as system:
        with serving(system, "--processes", "2", "--tokens", str(tokens)) as served:

            async def are_two() -> bool:
                return len(served.children) == 2

            await eventually(are_two)
            tokens.write_text("read shop\n")
            before = served.children
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            headers = {"authorization": f"Bearer {TOKEN}"}
            # The socket is the parent's: it is answered as soon as there is a process.
            async with httpx.AsyncClient(base_url=served.url, timeout=PATIENCE_S, headers=headers) as http:
                assert (await http.get("/v1/status")).status_code == 200
            assert not {*before} & {*served.children}


def test_a_start_that_cannot_succeed_says_why(tmp_path: Path) -> None:
    """In one sentence; no token is shown."""
    tokens, environ = tmp_path / "tokens", environment(RECKONER_REDIS_URL="redis://localhost:1", RECKONER_HOME=tmp_path)
    tokens.write_text(f"owner shop {TOKEN}\n")
    port = "8321"
    with socket_on() as taken:
        for options, words in (
            (("--port", str(taken)), f"Port {taken} of 127.0.0.1 cannot be used: address already in use."),
            (("--host", "0.0.0.0"), "Without tokens, it listens on this machine only."),
            (("--host", "no.such.host.invalid", "--tokens", str(tokens)), "Line 1 of the file of tokens"),
            (("--tokens", str(tmp_path / "none"), "--port", port), "cannot be read: No such file or directory."),
        ):
            ended = run("producer", "serve", *options, environ=environ)
            assert ended.returncode == 2, ended.stderr
            assert words in ended.stderr.splitlines()[-1]
            assert TOKEN not in ended.stderr


@contextmanager
def socket_on() -> Iterator[int]:
    """A port that is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]
