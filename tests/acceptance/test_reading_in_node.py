"""The page's Node example reads the lists of a real system (make test-node)."""

import csv
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from reckoner.producer.importing import import_interactions
from tests.commands import CommandLine
from tests.patience import PATIENCE_S
from tests.root import ROOT
from tests.system import System

EXAMPLE = ROOT / "docs" / "examples" / "read.mjs"
# The Makefile installs the example's package here.
MODULES = Path(sys.prefix) / "node" / "node_modules"
USERS = ["user:1", "two words", "two\nlines", "ユーザー", *(f"u{number}" for number in range(20))]
# Every fifth item has no title.
TITLES = {f"item:{number}": f"Título {number}" for number in range(25) if number % 5}


def import_shop(system: System) -> None:
    """Everybody has five of twenty-five items, and a hermit one that nobody else has."""
    rows = [(user, f"item:{(7 * u + i * i) % 25}") for u, user in enumerate(USERS) for i in range(5)]
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
async def test_the_example_for_node_prints_the_same_as_get(tmp_path: Path) -> None:
    """For ids that are hard to quote, for an empty list, and for an unknown user."""
    assert MODULES.is_dir(), "the example needs the package `redis`: make test-node installs it"
    place = tmp_path / "elsewhere"
    place.mkdir()
    example = Path(shutil.copy(EXAMPLE, place))
    (place / "node_modules").symlink_to(MODULES)
    async with System(tmp_path / "a shöp", prefix="shop.1") as system:
        import_shop(system)
        system.start_workers()
        await system.ready(1)
        await system.fit()
        assert (await system.run()).outcome == "passed"
        commands = CommandLine(redis_url=f"redis://127.0.0.1:{await open_port(system)}", prefix="shop.1")
        users = [*USERS[:4], "hermit", "nobody"]
        told_of = commands.run("get", *users, "-n", "4", "--json").objects
        for shown in told_of:
            expected = ["\t".join(cells(rank, **entry)) for rank, entry in enumerate(shown["items"], 1)]
            assert printed(example, commands, shown["user"], "4") == expected
        assert [(shown["user"], shown["source"]) for shown in told_of] == [
            *((user, "cache") for user in users[:4]),
            *((user, "popular") for user in users[4:]),
        ]


def printed(example: Path, commands: CommandLine, *arguments: str) -> list[str]:
    """The lines that the example prints under the command line's settings."""
    command, environ = ["node", str(example), *arguments], commands.environ
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    return done.stdout.splitlines()


def cells(rank: int, item: str, title: str | None, score: float | None, because: str | None) -> list[str]:
    """A place as the example prints it, made from what `get --json` prints."""
    own = [] if score is None or because is None else [f"{score:.4f}", TITLES.get(because, because)]
    return [str(rank), title or item, *own]
