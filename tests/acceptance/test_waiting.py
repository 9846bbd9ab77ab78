"""Two hundred calls wait on one client while Redis loses their jobs."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from reckoner.producer.client.reckoner import Reckoner
from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.scripts import ask
from tests.patience import PATIENCE_S
from tests.system import System, eventually, synthetic_pairs

CALLS = 200


NAMES = ("reckoner", "reckoner-reading", "reckoner-listening")


class Watcher:
    """Watches the server over connections of its own."""

    def __init__(self, system: System) -> None:
        self._redis = connect(system.server.url, client_name="test")
        self._keys = system.keys

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._redis.aclose()

    async def under_way(self) -> set[str]:
        """The unfinished flows, once there are as many as calls."""

        async def look() -> set[str] | None:
            members = {member.decode() for member in await ask(self._redis, "ZUNION", 2, *self._keys.all_live)}
            return {member.removeprefix("flow:") for member in members} if len(members) == CALLS else None

        return await eventually(look)

    async def flows(self) -> set[str]:
        """All flows, ended ones included: they are kept for an hour."""
        names = [name.decode() async for name in self._redis.scan_iter(f"{self._keys.flow('')}*", count=1000)]
        return {name.removeprefix(self._keys.flow("")).partition(":")[0] for name in names}

    async def dead_letters(self) -> int:
        """The number of dead letters."""
        return int(await ask(self._redis, "XLEN", self._keys.dead))

    async def connections(self) -> Counter[str]:
        """The number of the client's connections, by purpose."""
        return Counter(client["name"] for client in await self._redis.client_list() if client["name"] in NAMES)


async def test_two_hundred_waits_take_three_connections_and_outlive_what_redis_loses(tmp_path: Path) -> None:
    """One connection asks, one reads and one listens; after a restart that lost the flows, each call asks once more.

    The server is killed and loses its writes since the first call. In the end each call gets its user's list.
    """
    async with System(tmp_path / "a home", first_look_s=0.5, tasks_per_job=1) as system:
        system.server.stop()
        system.start_server(appendfsync="always")
        system.import_pairs(synthetic_pairs(users=CALLS))
        system.start_workers(1)
        generation = await system.fit()
        await system.idle()
        await system.stop_workers()
        [written] = system.home.rglob("*.incr.aof")
        size = written.stat().st_size
        # The client's link to the server's socket, which changes at each start.
        socket = tmp_path / "s"
        socket.symlink_to(unquote(urlsplit(system.server.url).path))

        async with Reckoner(f"unix://{socket}", prefix=system.settings.prefix, first_look_s=0.5) as reckoner:
            async with Watcher(system) as watcher:
                before = await watcher.flows()
                calls = [asyncio.create_task(reckoner.recommend(f"üser {user:03d}", 20)) for user in range(CALLS)]
                asked = await watcher.under_way()
                assert await watcher.connections() == dict.fromkeys(NAMES, 1)

            system.server.kill()
            with written.open("r+b") as file:
                file.truncate(size)
            system.start_server(appendfsync="always")
            socket.unlink()
            socket.symlink_to(unquote(urlsplit(system.server.url).path))
            async with Watcher(system) as watcher:
                again = await watcher.under_way()
                assert not asked & again
                assert await watcher.connections() == dict.fromkeys(NAMES, 1)
                system.start_workers(1)
                async with asyncio.timeout(PATIENCE_S):
                    answers = await asyncio.gather(*calls)
                assert await watcher.connections() == dict.fromkeys(NAMES, 1)
                assert await watcher.flows() - before == again
                assert await watcher.dead_letters() == 0
        await system.idle()
        expected = system.reference_lists(generation)
        for user, answer in enumerate(answers):
            places = [item for item, _, _ in json.loads(expected[f"üser {user:03d}"])["items"]]
            places = places[: system.settings.list_length]
            assert (answer.source, [entry.item for entry in answer.items]) == ("cache", places)
        assert await system.lists(generation) == expected
