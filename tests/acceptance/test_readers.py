"""The examples of the reading contract read the lists of a real system (make test-node).

Those run whose language and client for Redis are installed.
"""

import csv
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from reckoner.producer.importing import import_interactions
from reckoner.shared.redis.scripts import ask
from tests.commands import CommandLine
from tests.patience import PATIENCE_S
from tests.readers import INSTALLED, reader
from tests.system import System

USERS = ["user:1", "two words", "two\nlines", "ユーザー", *(f"u{number}" for number in range(20))]
# One is hard to quote and to take apart.
ITEMS = [f"item:{number}" if number != 7 else 'item 7",\n"ü' for number in range(25)]
# Every fifth item has no title.
TITLES = {item: f"Título {number}" for number, item in enumerate(ITEMS) if number % 5}
# What later releases may write: more in this format, or another.
LATER = {
    "more": '{"format":2,"items":[["item:1",0.5,"item:2",{"a":1}],["item:3",0.25,"item:1",7]],"more":1}',
    "another": '{"format":3,"items":{"item:1":0.5}}',
}


def import_shop(system: System) -> None:
    """Everybody has five of twenty-five items, and a hermit one that nobody else has."""
    rows = [(user, ITEMS[(7 * u + i * i) % 25]) for u, user in enumerate(USERS) for i in range(5)]
    path = system.home / "shop.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user", "item", "title"])
        writer.writerows([user, item, TITLES.get(item, "")] for user, item in [*rows, ("hermit", "a stone")])
    import_interactions(path, system.store)


async def open_port(system: System) -> int:
    """Let the server listen on a port too: the example's client takes a URL, and has none for sockets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    async with system.reckoner() as reckoner:
        await reckoner.redis.config_set("port", port)
    return port


@pytest.mark.node
async def test_the_examples_print_what_get_prints(tmp_path: Path) -> None:
    """For ids that are hard to quote, an empty list, an unknown user, and a list with more elements in its places.

    A list of another format is a miss.
    """
    readers = [reader(name, tmp_path) for name in INSTALLED]
    async with System(tmp_path / "a shöp", prefix="shop.1") as system:
        import_shop(system)
        system.start_workers()
        await system.ready(1)
        generation = await system.fit()
        assert (await system.run()).outcome == "passed"
        commands = CommandLine(redis_url=f"redis://127.0.0.1:{await open_port(system)}", prefix="shop.1")
        async with system.reckoner() as reckoner:
            for user, value in LATER.items():
                await ask(reckoner.redis, "SET", system.keys.result(generation, user), value)
        users = [*USERS[:4], "more", "hermit", "nobody", "another"]
        reported = commands.run("get", *users, "-n", "4", "--json").objects
        for shown in reported:
            expected = ["\t".join(cells(rank, **entry)) for rank, entry in enumerate(shown["items"], 1)]
            for each in readers:
                assert printed(each, commands, shown["user"], "4") == expected, each
        assert [(shown["user"], shown["source"]) for shown in reported] == [
            *((user, "cache") for user in users[:5]),
            *((user, "popular") for user in users[5:]),
        ]


@pytest.mark.node
async def test_the_examples_leave_out_what_must_not_be_shown(tmp_path: Path) -> None:
    """What the user has had since, what they do not want, and what is hidden; lists stay as long.

    No worker computes the lists again meanwhile.
    """
    readers = [reader(name, tmp_path) for name in INSTALLED]
    async with System(tmp_path / "a shop", prefix="shop.1") as system:
        import_shop(system)
        system.start_workers()
        await system.ready(1)
        await system.fit()
        assert (await system.run()).outcome == "passed"
        await system.stop_workers()
        commands = CommandLine(redis_url=f"redis://127.0.0.1:{await open_port(system)}", prefix="shop.1")
        lists = {user: ids_of(commands, user) for user in ("user:1", "u5")}
        async with system.reckoner() as reckoner:
            bought, viewed, unwanted, *_ = lists["user:1"]
            await reckoner.record("user:1", bought)
            await reckoner.record("user:1", viewed, type="view")
            await reckoner.hide("user:1", ITEMS[7], unwanted)
            sold_out, soon_back, back, *_ = lists["u5"]
            await reckoner.catalogue.hide([sold_out])
            await reckoner.catalogue.hide([soon_back], until=time.time() + 3600)
            await reckoner.catalogue.hide([back], until=time.time() - 1)
            await reckoner.hide("nothing left", *ITEMS[5:])
            await reckoner.record("new", "item:1")
        shown = {user: ids_of(commands, user) for user in (*lists, "nothing left", "new")}
        assert not {bought, unwanted, ITEMS[7], sold_out, soon_back} & {*shown["user:1"]}
        assert not {sold_out, soon_back} & {*shown["u5"]}
        assert {viewed} <= {*shown["user:1"], sold_out, soon_back}
        assert back in shown["u5"]
        assert [len(items) for items in shown.values()][:2] == [8, 8]
        for user in shown:
            [told] = commands.run("get", user, "-n", "8", "--json").objects
            expected = ["\t".join(cells(rank, **entry)) for rank, entry in enumerate(told["items"], 1)]
            for each in readers:
                assert printed(each, commands, user, "8") == expected, each


def ids_of(commands: CommandLine, user: str) -> list[str]:
    """The items of the first eight places of a list."""
    [shown] = commands.run("get", user, "-n", "8", "--json").objects
    return [place["item"] for place in shown["items"]]


def printed(reader: Sequence[str], commands: CommandLine, *arguments: str) -> list[str]:
    """The lines that an example prints under the command line's settings."""
    done = subprocess.run(
        [*reader, *arguments], env=commands.environ, capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    return done.stdout.splitlines()


def cells(rank: int, item: str, title: str | None, score: float | None, because: str | None) -> list[str]:
    """A place as the example prints it, made from what `get --json` prints."""
    own = [] if score is None or because is None else [f"{score:.4f}", TITLES.get(because, because)]
    return [str(rank), title or item, *own]
