"""Measures exports of a generation, beside bare pipelined MGETs of the same values, decoded."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import hiredis
import numpy as np

from reckoner.exporting import export_file
from reckoner.producer.client.reckoner import Reckoner
from reckoner.producer.exporting.formats import Format
from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.keys import Keys
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.results import Results
from reckoner.shared.store.directory import DirectoryStore
from reckoner.shared.store.snapshots import write_snapshot
from reckoner.shared.wire.shapes import HOLDING, RESULT, Holding, Options, Record
from tests.benchmarks.frame import Figures, WrongAnswerError
from tests.benchmarks.hits import ITEMS, LENGTH, READ_BYTES, SPARE, _connected, _list
from tests.servers import start_server
from tests.world import make_known

USERS = [f"{user:06d}" for user in range(40_000)]
# The keys of a bare MGET, and how many of these are sent before the first is read.
KEYS, AHEAD = 500, 4
EXPORT, BARE = "export: lists/s", "bare: lists/s"


@dataclass(frozen=True)
class Exports:
    """Exports in one format, and the same lists bare, in turns on a server of their own."""

    home: Path
    format: Format

    async def __call__(self) -> Figures:
        """Lists a second of both, with the titles of items and reasons in the export."""
        home = self.home / f"exports-{time.monotonic_ns()}"
        store = DirectoryStore(home / "store")
        with store.scratch() as scratch:
            here = np.zeros(len(USERS), np.int64)
            snapshot = write_snapshot(scratch, user_ids=USERS, item_ids=ITEMS, users=np.arange(len(USERS)), items=here)
            store.publish("snapshots", snapshot, scratch)
        with start_server(home / "server") as server:
            keys = Keys("exports")
            record = Record(2, "g", "m", snapshot, Options(LENGTH), 1, len(USERS), ITEMS[:LENGTH], spare=SPARE)
            async with connect(server.url) as redis:
                await make_known(redis, keys, record, {item: f"The title of {item} (1999)" for item in ITEMS})
                lists = ((user, RESULT.encode(_list(number))) for number, user in enumerate(USERS))
                await Results(redis, keys).write("g", list(lists), 3600)
                held = Holding(len(USERS), 0, until_ms=2**53)
                await ask(redis, "HSET", keys.held, "g", HOLDING.encode(held))
            names = [keys.result("g", user) for user in USERS]
            export_s = bare_s = 0.0
            # The first turn warms up.
            for turn in range(4):
                began = time.perf_counter()
                async with Reckoner(server.url, prefix="exports") as reckoner:
                    made = await export_file(reckoner, store, str(home / f"lists.{self.format}"))
                if made.places != len(USERS) * LENGTH:
                    raise WrongAnswerError("a place is missing")
                exported = time.perf_counter()
                await asyncio.to_thread(_read_bare, server.url, names)
                if turn:
                    export_s, bare_s = export_s + exported - began, bare_s + time.perf_counter() - exported
        return {EXPORT: 3 * len(USERS) / export_s, BARE: 3 * len(USERS) / bare_s}


def _read_bare(url: str, names: Sequence[str]) -> None:
    reader = hiredis.Reader()
    with _connected(url) as connection:
        ahead = iter([names[start : start + KEYS] for start in range(0, len(names), KEYS)])

        def send(count: int) -> Iterator[None]:
            for some in islice(ahead, count):
                connection.sendall(hiredis.pack_command(("MGET", *some)))  # type: ignore[arg-type] # its stub has one word
                yield None

        waiting, found = len(list(send(AHEAD))), 0
        while waiting:
            while (answer := reader.gets()) is False:
                reader.feed(connection.recv(READ_BYTES))
            waiting += len(list(send(1))) - 1
            found += sum(RESULT.decode(value) is not None for value in answer)
    if found != len(names):
        raise WrongAnswerError("a list is missing")
