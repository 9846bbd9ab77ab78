"""Measures the CPU of a client's `get` of a cached list, beside hiredis' bare MGET of the same values."""

import socket
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import hiredis

from reckoner.producer.client.reckoner import Reckoner
from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.keys import Keys
from reckoner.shared.serving.results import Results
from reckoner.shared.wire.shapes import RESULT, Options, Record, Result, ScoredItem
from tests.benchmarks.frame import Figures, WrongAnswerError
from tests.servers import start_server
from tests.world import make_known

LENGTH, SPARE = 20, 10
USERS = [f"{user:06d}" for user in range(500)]
ITEMS = [f"{item:05d}" for item in range(1000)]
ROUNDS = 30
READ_BYTES = 65_536
BARE, GET = "bare MGET: µs", "get: µs"


@dataclass(frozen=True)
class Hits:
    """The CPU time of a hit on a server of its own, as a benchmark's measurement with the figures `BARE` and `GET`."""

    home: Path

    async def __call__(self) -> Figures:
        """Both figures, in microseconds."""
        with start_server(self.home / f"hits-{time.monotonic_ns()}") as server:
            return await hit_figures(server.url, "hits")


async def hit_ratio(url: str, prefix: str) -> float:
    """How many times the CPU of a bare MGET a `get` of a cached list takes; writes lists under the prefix first."""
    figures = await hit_figures(url, prefix)
    return figures[GET] / figures[BARE]


async def hit_figures(url: str, prefix: str) -> Figures:
    """The CPU time of a hit of the client with its defaults, and of a bare MGET: medians of interleaved rounds.

    Args:
        url: a server at `unix://PATH` or `redis://HOST:PORT`, without a password.
        prefix: a prefix without keys.

    Raises:
        WrongAnswerError: a list is not the cached one.
    """
    keys, titles = Keys(prefix), {item: f"The title of {item} (1999)" for item in ITEMS}
    async with connect(url) as redis:
        await make_known(
            redis, keys, Record(2, "g", "m", "s", Options(LENGTH), 1, len(USERS), ITEMS[:LENGTH], spare=SPARE), titles
        )
        lists = [(user, RESULT.encode(_list(number))) for number, user in enumerate(USERS)]
        await Results(redis, keys).write("g", lists, 3600)
    bare_us, get_us = list[float](), list[float]()
    with _connected(url) as bare:
        async with Reckoner(url, prefix=prefix) as reckoner:
            await reckoner.get_many(USERS)
            for _ in range(ROUNDS):
                bare_us.append(_bare(bare, [keys.result("g", user) for user in USERS]))
                get_us.append(await _get(reckoner))
    return {BARE: statistics.median(bare_us), GET: statistics.median(get_us)}


def _list(number: int) -> Result:
    """A list of twenty places and ten spare ones; which ones does not matter."""
    count = LENGTH + SPARE
    places = [(ITEMS[(37 * number + 7 * place) % 1000], ITEMS[(number + 3 * place) % 1000]) for place in range(count)]
    return Result(2, [ScoredItem(item, 0.21356502 / n, because) for n, (item, because) in enumerate(places, 1)])


def _connected(url: str) -> socket.socket:
    place = urlsplit(url)
    if place.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(unquote(place.path))
        return connection
    connection = socket.create_connection((place.hostname, place.port or 6379))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _bare(connection: socket.socket, names: Sequence[str]) -> float:
    """The CPU time of reading and decoding each value, in microseconds a value."""
    reader, began = hiredis.Reader(), time.process_time()
    for name in names:
        connection.sendall(hiredis.pack_command(("MGET", name)))  # type: ignore[arg-type] # its stub has one word
        while (answer := reader.gets()) is False:
            reader.feed(connection.recv(READ_BYTES))
        RESULT.decode(answer[0])
    return (time.process_time() - began) / len(names) * 1e6


async def _get(reckoner: Reckoner) -> float:
    """The CPU time of getting each user's list, in microseconds a list."""
    began = time.process_time()
    for user in USERS:
        answer = await reckoner.get(user)
        if answer.source != "cache" or answer.items[0].title is None:
            raise WrongAnswerError("a user was not given their list with its titles")
    return (time.process_time() - began) / len(USERS) * 1e6
