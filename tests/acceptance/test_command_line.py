"""The command line on a whole system: import, fit and serve a file."""

import asyncio
import json
import os
import pty
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import pytest

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.interpreter import module_command
from reckoner.shared.redis.embedded import EmbeddedServer
from reckoner.shared.store.location import open_store
from tests.commands import CommandLine
from tests.patience import PATIENCE_S
from tests.root import ROOT

StartServer = Callable[..., EmbeddedServer]

# An environment without numpy and its dependents.
WITHOUT_ARRAYS = "sys.modules.update(dict.fromkeys(['numpy', 'pandas', 'pyarrow', 'numba', 'scipy']))"
ARRAYS = {"numpy", "pandas", "pyarrow", "numba"}
# Each of sixty users has had ten of forty items, and each item has a title.
BOUGHT = [(f"üser {u:03d}", f"item:{(u * u + 3 * i) % 40:02d}") for u in range(60) for i in range(10)]
ROWS = [f"{user},{item},Title of {item}" for user, item in BOUGHT]


@dataclass(frozen=True)
class Shop:
    """A system with two workers, its command line, and a file of interactions."""

    home: Path
    commands: CommandLine
    source: Path

    @property
    def snapshot(self) -> str | None:
        """The current one."""
        return open_store((self.home / "store").as_uri()).current_snapshot()


@contextmanager
def workers(commands: CommandLine, processes: int) -> Iterator["subprocess.Popen[bytes]"]:
    """A supervisor and its worker processes."""
    command = module_command("reckoner.workers", "--processes", str(processes))
    supervisor = subprocess.Popen(command, cwd=ROOT, env=commands.environ, stderr=subprocess.DEVNULL)
    try:
        yield supervisor
    finally:
        supervisor.terminate()
        supervisor.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def shop(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    home = tmp_path_factory.mktemp("a shop ü")
    source = home / "what they bought.csv"
    source.write_text("\n".join(["customer,product,name", *ROWS, ",item:01,no user", "üser 001,,no item", ""]))
    commands = CommandLine(redis_url=redis_url, prefix=f"test-{uuid4().hex}", home=home)
    with workers(commands, 2):
        imported = commands.run("import", str(source), "--user", "customer", "--item", "product", "--title", "name")
        assert imported.code == 0, imported.err
        fitted = commands.run("fit", "--neighbours", "20", "--json")
        assert fitted.code == 0, fitted.err
        yield Shop(home, commands, source)


def test_import_reports_good_and_bad_rows(shop: Shop) -> None:
    """Counts on standard output, reasons with their lines on standard error, and exit 0."""
    arguments = ("import", str(shop.source), "--user", "customer", "--item", "product", "--title", "name")
    ended = shop.commands.run(*arguments, "--json")
    (shown,) = ended.objects
    last = len(shop.source.read_text().splitlines())
    assert ended.code == 0
    assert ended.err.splitlines() == [
        f"1 row left out: the user is empty (line {last - 1})",
        f"1 row left out: the item is empty (line {last})",
    ]
    assert shown["snapshot"] == shop.snapshot
    assert (shown["users"], shown["rows"], shown["left_out"]) == (60, last - 1, 2)
    assert shown["interactions"] + shown["repeated"] + shown["bad_rows"] + shown["left_out"] == shown["rows"]
    assert shown["rejected"][0] == {
        "kind": "left_out", "reason": "the user is empty", "rows": 1, "first": [last - 1], "value": None, "files": []
    }  # fmt: skip
    people = shop.commands.run(*arguments).out
    assert people.startswith(f"snapshot  {shown['snapshot']}, now the current one\n")
    assert "2 left out" in people


def test_a_file_without_a_good_row_changes_nothing(shop: Shop, tmp_path: Path) -> None:
    """Exit 1, one sentence, and the snapshot stays."""
    before = shop.snapshot
    (tmp_path / "bad.csv").write_text("user,item\n,1\n")
    ended = shop.commands.run("import", str(tmp_path / "bad.csv"))
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "bad.csv has no good row. The first one is line 2: the user is empty.\n"
    assert shop.snapshot == before


def test_from_a_question_to_its_answer(shop: Shop) -> None:
    """`enqueue --wait` computes a missing list, and `get` reads it afterwards."""
    (before,) = shop.commands.run("get", "üser 007", "--json").objects
    waited = shop.commands.run("enqueue", "üser 007", "nobody", "--wait", "--fresh", "-n", "20", "--json")
    assert (waited.code, waited.err) == (0, "")
    first, second = waited.objects
    assert before["source"] == second["source"] == "popular"
    assert first["source"] == "cache"
    assert first["items"][0]["title"] == f"Title of {first['items'][0]['item']}"
    assert shop.commands.run("get", "üser 007", "-n", "20", "--json").objects == [first]
    assert "Title of item:" in shop.commands.run("get", "üser 007").out


def test_a_bar_on_the_terminal_stays_out_of_the_results(shop: Shop) -> None:
    """The progress bar goes to standard error; standard output holds only results."""
    master, terminal = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "reckoner.producer", "enqueue", "üser 011", "--fresh", "--wait", "--json"],
            cwd=ROOT,
            env=shop.commands.environ | {"TERM": "xterm"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=terminal,
            timeout=PATIENCE_S,
            check=True,
        )
        assert "Computing" in os.read(master, 100_000).decode()
    finally:
        os.close(master)
        os.close(terminal)
    assert json.loads(done.stdout)["source"] == "cache"


def test_job_shows_the_worker_of_each_task(shop: Shop) -> None:
    """Each chunk task of a job has its worker, its beginning and its end."""
    (asked,) = shop.commands.run("enqueue", "üser 003", "--fresh", "--json").objects
    shown: dict[str, Any] = {"state": ""}
    while shown["state"] != "done":
        assert shown["state"] not in ("failed", "cancelled")
        (shown,) = shop.commands.run("job", asked["job"], "--json").objects
    assert (shown["user"], shown["tasks_planned"], shown["tasks_done"]) == ("üser 003", 4, 4)
    (status,) = shop.commands.run("status", "--json").objects
    assert [task["task"] for task in shown["tasks"]] == [0, 1, 2, 3]
    assert {task["worker"] for task in shown["tasks"]} <= {each["worker"] for each in status["workers"]}
    assert all(shown["created_ms"] - 1 <= task["started_ms"] <= task["ended_ms"] for task in shown["tasks"])
    people = shop.commands.run("job", asked["job"]).out
    assert "chunk tasks  4 of 4 done\n" in people
    assert shown["tasks"][0]["worker"] in people


def test_a_second_model_goes_live_with_its_batch(shop: Shop) -> None:
    """`fit` says that the model is not live; `batch` computes all lists, prints the manifest and flips."""
    (fitted,) = shop.commands.run("fit", "--similarity", "cosine", "--shrink", "1", "--json").objects
    assert not fitted["is_current"]
    again = shop.commands.run("fit", "--similarity", "cosine", "--shrink", "1")
    assert f"model       {fitted['model']} (already built)" in again.out
    assert "not live yet" in again.out
    ended = shop.commands.run("batch", "--block", "7", "--json")
    (shown,) = ended.objects
    assert (ended.code, ended.err) == (0, "")
    assert (shown["generation"], shown["outcome"], shown["blocks"]) == (fitted["generation"], "passed", 9)
    assert (shown["manifest"]["users"], shown["manifest"]["done"]) == (60, 60)
    assert shop.commands.run("get", "üser 000", "--json").objects[0]["generation"] == fitted["generation"]
    (run,) = shop.commands.run("job", shown["run"], "--json").objects
    assert run["blocks_done"] == 9
    assert sum(run["manifest"]["tasks"].values()) == 9
    assert "live: new lists use it" in shop.commands.run("fit", "--similarity", "cosine", "--shrink", "1").out


def test_asking_needs_no_array_library(shop: Shop) -> None:
    """A process that enqueues and gets its answer imports none."""
    ended, modules = shop.commands.modules("", "enqueue", "üser 009", "--fresh", "--wait", "--json")
    assert (ended.code, ended.objects[0]["source"]) == (0, "cache")
    assert "reckoner.producer.client.reckoner" in modules
    assert modules.isdisjoint(ARRAYS)


@pytest.mark.parametrize("command", [("fit", "--similarity", "cosine", "--shrink", "1"), ("batch", "--block", "30")])
def test_a_client_without_the_extras_fits_and_runs(shop: Shop, command: tuple[str, ...]) -> None:
    """`fit` and `batch` work without numpy."""
    ended, modules = shop.commands.modules(WITHOUT_ARRAYS, *command, "--json")
    assert (ended.code, ended.err) == (0, "")
    assert modules.isdisjoint(ARRAYS)


def test_evaluate_says_which_extra_it_needs(shop: Shop) -> None:
    """Without numpy, one sentence says what to install."""
    ended, _ = shop.commands.modules(WITHOUT_ARRAYS, "evaluate")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("An evaluation needs numpy, which is not installed")


def test_compare_says_which_extra_it_needs(shop: Shop) -> None:
    """Without numpy, one sentence says what to install."""
    ended, _ = shop.commands.modules(WITHOUT_ARRAYS, "compare", "cosine")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("A comparison needs numpy, which is not installed")


def test_import_says_which_extra_it_needs(shop: Shop) -> None:
    """Without pandas, one sentence says what to install."""
    ended, _ = shop.commands.modules(WITHOUT_ARRAYS, "import", str(shop.source))
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.endswith("pip install 'ready-reckoner[data]'.")


async def test_waiting_commands_survive_a_restart_of_redis(fresh_server: StartServer, tmp_path: Path) -> None:
    """Redis restarts while three commands wait, then a worker starts: they end normally."""
    home, socket = tmp_path / "höme", tmp_path / "s"
    server = fresh_server(home)
    commands = CommandLine(redis_url=f"unix://{socket}", home=home)
    socket.symlink_to(unquote(urlsplit(server.url).path))
    (home / "some.csv").write_text("\n".join(["user,item,title", *ROWS]))
    with workers(commands, 1):
        assert commands.run("import", str(home / "some.csv")).code == 0
        assert commands.run("fit").code == 0
    waiting = [
        commands.start("fit", "--neighbours", "5", "--json"),
        commands.start("enqueue", "üser 001", "--wait", "--json"),
        commands.start("batch", "--json"),
    ]
    try:
        async with OpenReckoner(server.url) as reckoner, asyncio.timeout(PATIENCE_S):
            # The run has created its block.
            while len(await reckoner.redis.zunion(reckoner.keys.all_live)) <= len(waiting):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        # The server fsyncs once a second.
        await asyncio.sleep(2)
        server.kill()
        socket.unlink()
        socket.symlink_to(unquote(urlsplit(fresh_server(home).url).path))
        with workers(commands, 1):
            for process in waiting:
                out, err = process.communicate(timeout=PATIENCE_S)
                assert process.returncode == 0, err
                assert "generation" in out
    finally:
        for process in waiting:
            process.kill()


def test_help_answers_at_once(tmp_path: Path) -> None:
    """The best of five calls takes less than 0.4 s of processor time."""
    commands = CommandLine(home=tmp_path)
    took = []
    for _ in range(5):
        began = children_s()
        assert commands.run("--help").code == 0
        took.append(children_s() - began)
    assert min(took) < 0.4


def children_s() -> float:
    # Processor time, not wall time: other tests run meanwhile.
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
