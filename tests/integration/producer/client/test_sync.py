"""The synchronous client: its calls from threads, loops, forked processes, and at the end of the interpreter."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reckoner.producer.client.answers import Compared
from reckoner.producer.client.reckoner import Reckoner
from reckoner.producer.client.sync import SyncReckoner
from reckoner.shared.errors import (
    ClientClosedError,
    NothingFittedError,
    RedisUnavailableError,
    UsageError,
    WaitTimeoutError,
)
from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.keys import Keys
from reckoner.shared.serving.results import Results
from reckoner.shared.wire.shapes import RESULT, Options, Record, Result, ScoredItem
from tests.certificates import Authority
from tests.patience import PATIENCE_S
from tests.processes import wait_until
from tests.proxies import Proxy
from tests.root import ROOT
from tests.system import eventually
from tests.world import ITEMS, USERS, Generation, make_known

LIST = Result(2, [ScoredItem("item 1", 0.5, "item 0")])


@pytest.fixture
async def cached(redis_url: str, prefix: str) -> None:
    """A generation in which one user, Ada, has a list."""
    async with connect(redis_url) as redis:
        keys = Keys(prefix)
        await make_known(redis, keys, Record(2, "g", "m", "s", Options(5), 1, 1, ["hit"]), {})
        await Results(redis, keys).write("g", [("Ada", RESULT.encode(LIST))], 3600)


@pytest.fixture
def client(redis_url: str, prefix: str) -> Iterator[SyncReckoner]:
    """A client of the shared server."""
    with SyncReckoner(redis_url, prefix=prefix) as made:
        yield made


async def run_program(program: str, *arguments: str, expected: int = 0) -> str:
    """Run a program in a new interpreter with all warnings shown; returns its output. It must say nothing else."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "always", "-W", "ignore:This process:DeprecationWarning", "-c", program, *arguments),
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE_S):
        output, errors = await process.communicate()
    assert errors.decode() == ""
    assert process.returncode == expected
    return output.decode()


async def test_the_calls_do_what_the_asynchronous_ones_do(generation: Generation, redis_url: str, prefix: str) -> None:
    """Values, iterators, the operator's calls; the same lists."""

    def work() -> None:
        with SyncReckoner(redis_url, prefix=prefix) as client:
            assert client.generation() == generation.id
            answers = client.recommend_many(USERS, fresh=True)
            assert [client.recommend(user) for user in USERS] == answers
            assert [client.get(user) for user in USERS] == answers
            assert isinstance(client.similar(ITEMS[0], other=ITEMS[1]), Compared)
            job = client.enqueue("Ada", fresh=True).job
            assert job is not None
            assert [flow.state for _, flow in client.wait([job]) if flow] == ["done"]
            assert [*client.follow(job)][-1].flow.state == "done"
            assert client.operator.newest().generation == generation.id
            for report in client.follow(job):
                # The rest is left.
                assert report.flow.id == job
                break
            waiting = client._background._session().client._client.waiting
            wait_until(lambda: not waiting._listeners)

    await asyncio.to_thread(work)
    async with Reckoner(redis_url, prefix=prefix) as client:
        answers = await client.get_many(USERS)
    places = [RESULT.decode(generation.lists[user]).items for user in USERS]
    assert [[entry.item for entry in answer.items] for answer in answers if answer.source == "cache"] == [
        [place.item for place in list_] for list_ in places if list_
    ]


def test_errors_and_time_limits_are_those_of_the_asynchronous_client(redis_url: str, prefix: str) -> None:
    """With their messages; and the client goes on."""
    with SyncReckoner(redis_url, prefix=prefix) as client:
        with pytest.raises(NothingFittedError):
            client.get("Ada")
        with pytest.raises(UsageError, match="Expected a list of users"):
            client.get_many("Ada")
        with pytest.raises(WaitTimeoutError):
            client.generation(timeout=0)
        with pytest.raises(WaitTimeoutError):
            list(client.wait(["no-such"], timeout=0))
        with pytest.raises(NothingFittedError):
            client.get("Ada")


def test_an_unreachable_server_is_reported_when_it_is_entered(tmp_path: Path) -> None:
    """And by the first call of a client that is not entered."""
    url = f"unix://{tmp_path}/nothing.sock"
    with pytest.raises(RedisUnavailableError), SyncReckoner(url):
        pass
    client = SyncReckoner(url)
    with pytest.raises(RedisUnavailableError):
        client.get("Ada")
    client.close()


THREADS = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from reckoner import SyncReckoner

clients = [SyncReckoner(sys.argv[1], prefix=sys.argv[2]) for _ in range(2)]
begin = threading.Barrier(32)

def call(number):
    begin.wait()
    return {clients[number % 2].get("Ada").items[0].item for _ in range(50)}

with ThreadPoolExecutor(32) as threads:
    print(*set().union(*threads.map(call, range(32))))
print(sum(thread.name == "reckoner" for thread in threading.enumerate()))
"""


@pytest.mark.usefixtures("cached")
async def test_many_threads_share_a_client(redis_url: str, prefix: str) -> None:
    """32 begin at once, with two clients, and call again and again: there is one loop."""
    assert await run_program(THREADS, redis_url, prefix) == "item 1\n1\n"


@pytest.mark.usefixtures("cached")
async def test_it_can_be_called_inside_a_running_loop(redis_url: str, prefix: str) -> None:
    """As in a notebook: it blocks that loop, and there is no deadlock."""
    with SyncReckoner(redis_url, prefix=prefix) as client:
        assert client.get("Ada").source == "cache"
        assert list(client.wait([])) == []


@pytest.mark.usefixtures("cached")
def test_an_interrupted_call_is_cancelled_and_the_client_goes_on(client: SyncReckoner) -> None:
    """Ctrl-C in the main thread, in a call without a time limit and in an iterator."""
    job = client.enqueue("nobody computes it").job
    assert job is not None
    waits = client._background._session().client._client.waiting._waits

    def interrupt() -> None:
        while not waits:
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    def call(blocking: Callable[[], object]) -> None:
        with ThreadPoolExecutor(1) as threads:
            threads.submit(interrupt)
            with pytest.raises(KeyboardInterrupt):
                blocking()
        assert client.get("Ada").source == "cache"
        assert not waits

    call(lambda: client.recommend("nobody computes it", fresh=True))
    call(lambda: list(client.wait([job])))


@pytest.mark.usefixtures("cached")
def test_closing_ends_the_calls_of_other_threads(redis_url: str, prefix: str) -> None:
    """They raise ClientClosedError, as all later calls do. To close twice is harmless."""
    client = SyncReckoner(redis_url, prefix=prefix)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(client.recommend, "nobody computes it", fresh=True)
        assert client.get("Ada").source == "cache"
        client.close()
        with pytest.raises(ClientClosedError):
            waiting.result(PATIENCE_S)
    client.close()
    with pytest.raises(ClientClosedError):
        client.get("Ada")


@pytest.mark.usefixtures("cached")
async def test_a_client_that_is_dropped_closes_its_connections(redis_url: str, prefix: str) -> None:
    """Without a warning, which would fail this test."""
    async with connect(redis_url) as redis:

        async def connections() -> int:
            names = [client["name"] for client in await redis.client_list()]
            return names.count("reckoner-reading")

        async def closed() -> bool | None:
            return await connections() == before or None

        before = await connections()
        client = SyncReckoner(redis_url, prefix=prefix)
        assert client.get("Ada").source == "cache"
        assert await connections() == before + 1
        del client
        gc.collect()
        await eventually(closed)
    gc.collect()


def in_child(work: Callable[[], object]) -> None:
    """Run `work` in a forked process, which has to succeed."""
    with warnings.catch_warnings(category=DeprecationWarning, action="ignore"):
        # Python 3.12 and later warn of threads.
        child = os.fork()
    if not child:
        status = 1
        try:
            work()
            gc.collect()
            status = 0
        finally:
            os._exit(status)
    deadline = time.monotonic() + PATIENCE_S
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)
    assert ended[1] == 0


@pytest.mark.usefixtures("cached")
def test_a_forked_process_has_connections_of_its_own(client: SyncReckoner) -> None:
    """With a used client: child and grandchild call, and so does the parent, meanwhile and afterwards."""

    def hit() -> None:
        assert client.get("Ada").source == "cache"

    def child() -> None:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda _: hit(), range(50)))
        in_child(hit)
        client.close()

    hit()
    with ThreadPoolExecutor(1) as threads:
        stop = threading.Event()

        def hit_all_the_time() -> int:
            count = 0
            while not stop.is_set():
                hit()
                count += 1
            return count

        hitting = threads.submit(hit_all_the_time)
        for _ in range(5):
            in_child(child)
        stop.set()
        assert hitting.result(PATIENCE_S) > 0
    hit()


# Its arguments are the URL and the prefix.
FORKING = """
import os, sys, threading
from reckoner import SyncReckoner

client = SyncReckoner(sys.argv[1], prefix=sys.argv[2])
assert threading.active_count() == 1, "a thread before the first call harms forks"


def connections():
    clients = client._background.run(lambda client: client._client.redis.client_list())
    return {each["id"] for each in clients if each["name"] == "reckoner-reading"}


before = set()
if sys.argv[3] == "used":
    client.get("Ada")
    before = connections()
child = os.fork()
if not child:
    if sys.argv[4] == "called":
        client.get("Ada")
    del client
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
print(client.get("Ada").source)
assert connections() >= before, "the parent has lost its connections"
"""


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize("child", ["called", "idle"])
@pytest.mark.parametrize("parent", ["used", "unused"])
async def test_the_end_of_a_forked_process_harms_no_connection(
    parent: str, child: str, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """Whether parent or child have used the client before; nothing is printed. TLS must not say goodbye."""
    assert await run_program(FORKING, redis_url, prefix, parent, child) == "cache\n"
    authority = Authority(tmp_path / "authority")
    async with Proxy(redis_url, authority.server("127.0.0.1")) as proxy:
        url = f"{proxy.url.replace('redis:', 'rediss:')}?{authority.options()}&socket_connect_timeout=10"
        assert await run_program(FORKING, url, prefix, parent, child) == "cache\n"


ENDING = """
import sys, threading, time
from reckoner import ClientClosedError, SyncReckoner

clients = [SyncReckoner(sys.argv[1], prefix=sys.argv[2]) for _ in range(3)]
print(clients[0].get("Ada").source)
clients[1].generation()

def wait():
    try:
        clients[0].recommend("nobody computes it", fresh=True)
    except ClientClosedError:
        pass

threading.Thread(target=wait, daemon=True).start()
clients[0].generation()
"""


@pytest.mark.usefixtures("cached")
async def test_the_interpreter_ends_with_open_clients(redis_url: str, prefix: str) -> None:
    """At once, without a word, though a call waits in a daemon thread."""
    assert await run_program(ENDING, redis_url, prefix) == "cache\n"
