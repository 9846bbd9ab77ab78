"""Imports of a night run in a child process, whose end says all that the night needs."""

import asyncio
import shlex
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis.asyncio import Redis

from reckoner.shared.errors import SOURCE_AWAY
from reckoner.shared.redis.keys import Keys
from reckoner.shared.serving.history import History
from reckoner.shared.store.directory import DirectoryStore
from reckoner.shared.store.night_import import NightImport, begin_night_import, find_night_import
from reckoner.workers.night.importing import Imported, import_source
from tests.patience import PATIENCE_S

QUERY = "--query 'select who as user_id, what as item_id from purchases'"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str, prefix: str) -> Path:
    """A home, and the settings of the children in the environment."""
    made = tmp_path / "a höme"
    for name, value in (("HOME", str(made)), ("REDIS_URL", redis_url), ("PREFIX", prefix)):
        monkeypatch.setenv(f"RECKONER_{name}", value)
    # A night creates none.
    DirectoryStore(made / "store")
    return made


@pytest.fixture
def mute() -> Iterator[socket.socket]:
    """A database server that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PATIENCE_S)
        yield listening


def at(port: int) -> str:
    """The arguments for a database at a port of this host."""
    return f"postgresql://reader@127.0.0.1:{port}/shop?connect_timeout=600 {QUERY}"


async def imported(arguments: str, **options: Any) -> tuple[Imported, list[int]]:
    """How an import ended, and the numbers of rows that it reported."""
    before, reported = psutil.Process().children(), list[int]()

    async def on_rows(rows: int) -> None:
        reported.append(rows)

    ended = await import_source("n1", arguments, on_rows, **options)
    assert psutil.Process().children() == before
    return ended, reported


async def test_a_file_becomes_the_current_snapshot(home: Path, tmp_path: Path, redis: Redis, prefix: str) -> None:
    """With its rows, a report, and an entry in the history; bad rows are no failure."""
    file = tmp_path / "pürchases of today.csv"
    file.write_text("who,what\nann,tea\nbob,tea\n,tea\n", encoding="utf-8")
    ended, reported = await imported(f"'{file}' --user who --item what")
    assert (ended.code, ended.report["rows"], ended.report["left_out"], reported[-1:]) == (0, 3, 1, [3])
    assert DirectoryStore(home / "store").current_snapshot() == ended.report["snapshot"]
    [entry] = await History(redis, Keys(prefix)).newest()
    assert (entry.kind, entry.outcome, entry.snapshot) == ("import", "done", ended.report["snapshot"])


async def test_a_store_that_is_away_is_worth_another_try_and_is_not_made_anew(home: Path, tmp_path: Path) -> None:
    """Its mount may be missing: an import into the empty directory would be lost."""
    file = tmp_path / "purchases.csv"
    file.write_text("user_id,item_id\nann,tea\n")
    (home / "store").rename(home / "away")
    ended, _ = await imported(f"'{file}'")
    assert (ended.code, ended.message.partition(" is unavailable: ")[0]) == (SOURCE_AWAY, f"The store {home / 'store'}")
    assert not (home / "store").exists()


async def test_a_snapshot_that_the_gate_refuses_is_reported(tmp_path: Path) -> None:
    """With the reasons; the code is that of a failure."""
    file = tmp_path / "purchases.csv"
    for users, code in ((5, 0), (1, 1)):
        file.write_text("".join(["user_id,item_id\n", *(f"{user},tea\n" for user in range(users))]))
        ended, _ = await imported(shlex.quote(str(file)))
        assert ended.code == code
    assert ended.report["refused"][0] == "users fell from 5 to 1, which is 20.0%, the limit is 50.0% (--min-share)"


async def test_new_rows_of_a_query_are_appended(home: Path, tmp_path: Path) -> None:
    """All at first, then none, so that the snapshot stays, then those that are newer than it."""
    path, store = tmp_path / "shop.db", DirectoryStore(home / "store")
    query = "select who as user_id, 'tea' as item_id, at as time from purchases where at > :since"
    with sqlite3.connect(path) as shop:
        shop.execute("create table purchases (who, at)")
    found = []
    for bought in (["2020-01-01", "2020-01-02"], [], ["2020-01-03"]):
        with sqlite3.connect(path) as shop:
            shop.executemany("insert into purchases values (?, ?)", [(f"u{at}", at) for at in bought])
        ended, _ = await imported(f'sqlite:///{path} --append --since --query "{query}"')
        assert (ended.code, ended.report["snapshot"]) == (0, store.current_snapshot())
        found.append((ended.report["snapshot"], ended.report["rows"], ended.report["interactions"]))
    assert [figures[1:] for figures in found] == [(2, 2), (0, 2), (1, 3)]
    assert found[0][0] == found[1][0] != found[2][0]


async def test_a_night_appends_its_rows_once(home: Path, tmp_path: Path) -> None:
    """A second child of it, which the driver starts if the first was killed too late, changes nothing."""
    file, store = tmp_path / "purchases.csv", DirectoryStore(home / "store")
    file.write_text("user_id,item_id\nann,tea\n")
    begin_night_import(store, "n1", "", "")
    codes, made = list[int](), list[str]()
    for _ in range(2):
        ended, _ = await imported(f"'{file}' --append --repeats sum")
        codes.append(ended.code)
        made.append(store.current_snapshot() or "")
    assert made[0] == made[1]
    assert (codes, ended.message) == ([0, SOURCE_AWAY], "Another try of this night has imported the rows.")
    assert find_night_import(store, "n1") == NightImport("n1", "", "", made[0])
    begin_night_import(store, "n2", "", made[0])
    assert find_night_import(store, "n1") is None


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("/no/such/file.csv", 1, "/no/such/file.csv does not exist."),
        ("--no-such-option", 2, "--no-such-option"),
    ],
)
async def test_an_import_that_fails_says_why(arguments: str, code: int, message: str) -> None:
    """In its last line."""
    ended, reported = await imported(arguments)
    assert (ended.code, ended.report, reported) == (code, {}, [])
    assert message in ended.message


async def test_a_database_that_is_away_has_a_code_of_its_own(mute: socket.socket) -> None:
    """So the night tries again."""
    port = mute.getsockname()[1]
    mute.close()
    ended, _ = await imported(at(port))
    assert (ended.code, ended.report) == (SOURCE_AWAY, {})
    assert ended.message.startswith("The database cannot be opened: ")


async def test_events_of_a_redis_that_is_away_have_that_code_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the night tries again."""
    monkeypatch.setenv("RECKONER_REDIS_URL", "redis://127.0.0.1:1")
    ended, _ = await imported("--events")
    assert (ended.code, ended.report) == (SOURCE_AWAY, {})
    assert ended.message == "Redis at redis://127.0.0.1:1/0 cannot be reached (Connection refused)."


async def test_an_import_that_stands_still_is_ended(mute: socket.socket) -> None:
    """And says so."""
    ended, reported = await imported(at(mute.getsockname()[1]), idle_s=2.0)
    assert (ended, reported) == (Imported(-9, {}, "The import stood still for 2 s and was ended."), [])


async def test_an_import_ends_with_the_night_that_waits_for_it(mute: socket.socket) -> None:
    """A stage that is cancelled, as when its worker stops, leaves no child behind."""
    waiting = asyncio.create_task(imported(at(mute.getsockname()[1])))
    connection, _ = await asyncio.to_thread(mute.accept)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with connection:
        connection.settimeout(PATIENCE_S)
        while await asyncio.to_thread(connection.recv, 1024):
            pass
    assert not [child for child in psutil.Process().children() if "import" in child.cmdline()]


def test_a_supervised_import_ends_when_its_standard_input_closes(mute: socket.socket) -> None:
    """As it does when the worker is killed; it has not finished by itself before."""
    command = [sys.executable, "-m", "reckoner.producer", "import", *shlex.split(at(mute.getsockname()[1]))]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*command, "--json", "--night", "n1"], **pipes) as child:
        connection, _ = mute.accept()
        assert child.poll() is None
        out, err = child.communicate(timeout=PATIENCE_S)
        connection.close()
    assert (child.returncode, out, err) == (1, b"", b"")
