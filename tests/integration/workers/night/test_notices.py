"""A notice reaches a command or a server as JSON, is tried three times, and never harms."""

import json
import shlex
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from structlog.testing import capture_logs

from reckoner.shared.serving.history import ENTRY, Entry
from reckoner.workers.night.notices import notify
from tests.system import eventually

SECRET = "hunter2"
NIGHT = Entry(id="a-night", kind="night", outcome="refused", date="2026-11-30", started_ms=1, ended_ms=2)
# More than a pipe holds.
LONG = Entry(id="a-night", kind="night", outcome="failed", started_ms=1, ended_ms=2, reasons=["why " * 50_000])


class Target(ThreadingHTTPServer):
    """A server that answers with these statuses in turn, None for no answer at all."""

    daemon_threads = True

    def __init__(self, *statuses: int | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.left = list(statuses)
        self.got = list[tuple[str, str, str | None, Any]]()
        self.ends = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hooks/{SECRET}"


class Handler(BaseHTTPRequestHandler):
    """Notes a request, and answers with the next status."""

    server: Target

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.command, self.path, self.headers["Content-Type"], json.loads(body)))
        status = self.server.left.pop(0)
        if status is None:
            self.server.ends.wait()
        else:
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def target() -> Iterator[Target]:
    """A server in a thread of its own."""
    with Target() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.ends.set()
        server.shutdown()
        thread.join()


async def told(target: str, entry: Entry = NIGHT, timeout_s: float = 30.0) -> tuple[bool, list[str]]:
    """Whether the notice arrived, and the events that are logged; none of them may name the target."""
    with capture_logs() as logs:
        arrived = await notify(target, entry, timeout_s, pause_s=0.0)
    assert SECRET not in repr(logs)
    assert all(log["night"] == entry.id for log in logs)
    return arrived, [log["event"] for log in logs]


async def test_a_url_gets_the_outcome_by_post(target: Target) -> None:
    """As JSON, once."""
    target.left = [204]
    assert await told(target.url) == (True, ["notice sent"])
    [(method, path, kind, body)] = target.got
    assert (method, path, kind) == ("POST", f"/hooks/{SECRET}", "application/json")
    assert ENTRY.decode(json.dumps(body).encode()) == NIGHT


async def test_a_url_that_fails_is_tried_three_times(target: Target) -> None:
    """The third answer is a success, or the notice is given up."""
    target.left = [500, 500, 200, *[500] * 3]
    assert await told(target.url) == (True, ["notice failed", "notice failed", "notice sent"])
    assert await told(target.url) == (False, ["notice failed"] * 3)
    assert len(target.got) == 6


async def test_a_url_that_does_not_answer_is_given_up_in_time(target: Target) -> None:
    """The next try may be answered."""
    target.left = [None, 200]
    assert await told(target.url, timeout_s=0.5) == (True, ["notice failed", "notice sent"])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_url_that_redirects_has_not_got_the_outcome(target: Target, status: int) -> None:
    """Whoever is asked elsewhere gets no body."""
    target.left = [status] * 3
    assert await told(target.url) == (False, ["notice failed"] * 3)


async def test_a_url_without_a_server_is_given_up(target: Target) -> None:
    """Its port is closed, or it is no URL."""
    target.server_close()
    assert await told(target.url) == (False, ["notice failed"] * 3)
    assert await told(f"http://{SECRET}:port") == (False, ["notice failed"] * 3)


def command(program: str, *arguments: str) -> str:
    return shlex.join([sys.executable, "-c", program, *arguments])


async def test_a_command_gets_the_outcome_on_its_standard_input(tmp_path: Path) -> None:
    """Whatever its length."""
    file = tmp_path / "an öutcome.json"
    keeps = command("import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())", str(file), SECRET)
    for entry in (NIGHT, LONG):
        assert await told(keeps, entry) == (True, ["notice sent"])
        assert ENTRY.decode(file.read_bytes()) == entry


async def test_a_command_need_not_read(tmp_path: Path) -> None:
    """It has succeeded all the same."""
    assert await told(command("", SECRET), LONG) == (True, ["notice sent"])


@pytest.mark.parametrize(
    "failing", [command("exit(3)", SECRET), f"/no/such/program {SECRET}", f"'{SECRET}"], ids=["code", "gone", "quote"]
)
async def test_a_command_that_fails_is_tried_three_times(failing: str) -> None:
    """And then given up."""
    assert await told(failing) == (False, ["notice failed"] * 3)


async def test_what_a_hanging_command_began_is_ended_with_it(tmp_path: Path) -> None:
    """As the children of a shell."""
    file = tmp_path / "a pid"
    begins = "import pathlib, subprocess, sys; sleeps = [sys.executable, '-c', 'import time; time.sleep(600)']"
    begins += "; child = subprocess.Popen(sleeps); pathlib.Path(sys.argv[1]).write_text(str(child.pid)); child.wait()"
    assert await told(command(begins, str(file), SECRET), timeout_s=1.0) == (False, ["notice failed"] * 3)

    async def is_gone() -> bool:
        try:
            return bool(psutil.Process(int(file.read_text())).status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True

    await eventually(is_gone)


async def test_a_command_that_hangs_is_ended() -> None:
    """Each try."""
    before = psutil.Process().children()
    hangs = command("import time\nwhile True: time.sleep(1)", SECRET)
    assert await told(hangs, timeout_s=0.5) == (False, ["notice failed"] * 3)
    assert psutil.Process().children() == before
