"""A primary, its replica and a Sentinel, as real processes."""

import contextlib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from redis.asyncio import Redis

from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.scripts import ask
from tests.servers import free_port, server_program
from tests.system import eventually

NAME = "the shop"


class Watched:
    """Two servers and a Sentinel, stopped at exit."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.ports = (free_port(), free_port())
        self._sentinel_port = free_port()
        self._processes: list[subprocess.Popen[bytes]] = []
        # The first Sentinel does not exist.
        hosts = f"127.0.0.1:{free_port()},127.0.0.1:{self._sentinel_port}"
        self.url = f"redis+sentinel://{hosts}/{quote(NAME)}/0"

    def _start(self, *arguments: str) -> None:
        self._processes.append(
            subprocess.Popen([server_program(), *arguments], cwd=self._directory, stdout=subprocess.DEVNULL)
        )

    async def __aenter__(self) -> Self:
        one, two = map(str, self.ports)
        for port, options in ((one, ()), (two, ("--replicaof", "127.0.0.1", one))):
            # Without this option a primary waits five seconds for more replicas.
            own = ("--port", port, "--bind", "127.0.0.1", "--dbfilename", f"{port}.rdb")
            self._start(*own, "--save", "", "--repl-diskless-sync-delay", "0", *options)
        for number in (0, 1):
            await eventually(lambda number=number: self.linked(number))  # type: ignore[misc]
        file = self._directory / "sentinel.conf"
        file.write_text(
            f'port {self._sentinel_port}\nbind 127.0.0.1\nsentinel monitor "{NAME}" 127.0.0.1 {one} 1\n'
            f'sentinel down-after-milliseconds "{NAME}" 500\nsentinel failover-timeout "{NAME}" 1000\n'
        )
        self._start(str(file), "--sentinel")
        await eventually(self.knows_the_replica)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()

    @contextlib.asynccontextmanager
    async def _asked(self, port: int) -> AsyncIterator[Redis]:
        redis: Any = connect(f"redis://127.0.0.1:{port}", client_name="test")
        try:
            yield redis
        finally:
            await redis.aclose()

    async def linked(self, number: int) -> bool:
        """Whether a server answers and, if a replica, follows its primary."""
        with contextlib.suppress(Exception):
            async with self._asked(self.ports[number]) as redis:
                info = await redis.info("replication")
                return bool(info["role"] == "master" or info["master_link_status"] == "up")
        return False

    async def knows_the_replica(self) -> bool:
        """Whether the Sentinel could promote the replica."""
        with contextlib.suppress(Exception):
            async with self._asked(self._sentinel_port) as sentinel:
                replicas = await ask(sentinel, "SENTINEL", "REPLICAS", NAME)
                return len(replicas) == 1 and b"ok" in replicas[0][replicas[0].index(b"master-link-status") + 1]
        return False

    async def primary(self) -> int:
        """The number of the primary, according to the Sentinel."""
        async with self._asked(self._sentinel_port) as sentinel:
            _, port = await ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
            return self.ports.index(int(port))

    async def hand_over(self) -> None:
        """Fail over from a healthy primary, which becomes a replica."""
        before = await self.primary()
        async with self._asked(self._sentinel_port) as sentinel:
            await ask(sentinel, "SENTINEL", "FAILOVER", NAME)
        await self._other_than(before)
        await eventually(lambda: self.linked(before))
        await eventually(self.knows_the_replica)

    async def kill_primary(self) -> None:
        """Kill the primary, and wait for the failover."""
        before = await self.primary()
        self._processes[before].kill()
        self._processes[before].wait()
        await self._other_than(before)

    async def _other_than(self, before: int) -> None:
        async def moved() -> bool:
            return await self.primary() != before

        await eventually(moved)
