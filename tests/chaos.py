"""A system under load with one fault after the other, until it has to become quiet."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, Self
from urllib.parse import quote, unquote, urlsplit

from redis.exceptions import RedisError

from reckoner.producer.client.waiting import retry_while_away
from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.keys import leases_key, paused_key
from reckoner.shared.redis.scripts import ask
from reckoner.shared.wire.shapes import Lane
from tests.fleet import Fleet
from tests.load import Load, Truths
from tests.patience import slowness
from tests.system import System, eventually, synthetic_pairs

WORKERS = 3
LANES: tuple[Lane, ...] = ("click", "batch")
FAULTS_BETWEEN_CHECKS = 10
# How long a fault looks for a victim.
HIT_S = 5.0
MEAN_PAUSE_S = 0.3
# Longer than socket time-outs, leases, and a sweeper's checks after a job was lost twice.
QUIET_S = 45.0


class Fault(NamedTuple):
    """A fault: its name, whether it applies now, and its injection. `inject` returns its victim, empty without one."""

    name: str
    applies: Callable[["Chaos"], bool]
    inject: Callable[["Chaos", Random], Coroutine[Any, Any, str]]


class Ends:
    """How often the end of each flow and run was announced."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.total = 0
        self.losing = False
        """Whether the server is about to forget writes that it has acknowledged: what ended may end again then."""

    async def listen(self, url: str, channel: Callable[[str], str]) -> None:
        """Count for ever. A stopped server announces nothing."""
        start = channel("")
        while True:
            redis = connect(url, client_name="test", socket_timeout_s=None)
            try:
                async with redis.pubsub() as listener:
                    await listener.psubscribe(f"{start}*")
                    if self.losing:
                        self.counts, self.losing = Counter(), False
                    async for message in listener.listen():
                        if message["type"] == "pmessage":
                            self.counts[message["channel"].decode().removeprefix(start)] += 1
                            self.total += 1
            except (RedisError, OSError):
                await asyncio.sleep(0.02)
            finally:
                await redis.aclose()


class Chaos:
    """The system, its workers, its load and the faults of a seed."""

    def __init__(self, place: Path, seed: int, **settings: object) -> None:
        self.seed = seed
        self.system = System(place / "a home", **settings)
        self.keys = self.system.keys
        self.counts: Counter[str] = Counter()
        self.ends = Ends()
        self.planted = False
        """Whether something was planted since the last look, which is refused and counted then."""
        self.unfitted = False
        """Whether a pointer or record was ever damaged, so that there was no generation to read for a while."""
        self.looked_ms, self.named = 0, set[str]()
        """When all was looked at last, by the server's clock, and the generations that pointers named then."""
        self.store_in_use = asyncio.Lock()
        """Is held while the store is away, and by whoever would fail without it."""
        self.lossy = False
        """Whether acknowledged writes were lost since the last look."""
        self.cancelled: set[str] = set()
        self.displaced: set[str] = set()
        """The jobs that were taken out of their queues."""
        # The server's socket changes at each start; this link follows it.
        self._socket = place / "s"
        self._url = f"unix://{quote(str(self._socket))}"
        self._lasting: set[asyncio.Task[None]] = set()
        self._began = time.monotonic()

    async def __aenter__(self) -> Self:
        # Everything that started is ended, even if the rest cannot start.
        async with AsyncExitStack() as stack:
            await self._begin(stack)
            self._stack = stack.pop_all()
        self.say("a model, three workers, and the load begins")
        return self

    async def _begin(self, stack: AsyncExitStack) -> None:
        await stack.enter_async_context(self.system)
        self.system.server.stop()
        self.restart_server()
        self.redis = connect(self._url, client_name="test")
        stack.push_async_callback(self.redis.aclose)
        self.system.import_pairs(synthetic_pairs())
        self.truths = Truths(self.system)
        self.fleet = await stack.enter_async_context(Fleet(self.system, WORKERS))
        await self.system.ready(WORKERS)
        assert await self.system.fit(self.truths.configs[0].neighbours) == self.truths.generations[0]
        self.load = await stack.enter_async_context(Load(self.system, self.truths, self.seed, self.counts))
        self.listening = asyncio.create_task(self.ends.listen(self._url, self.keys.events))
        stack.push_async_callback(cancel_and_wait, self.listening)

    async def __aexit__(self, *raised: object) -> None:
        for task in self._lasting:
            task.cancel()
        await self._stack.aclose()

    @property
    def proxies(self) -> list[Any]:
        """All proxies to the server, except the test's own."""
        load = self.load.proxies if hasattr(self, "load") else []
        return [*(post.proxy for post in self.fleet.posts), *load]

    @property
    def lease_s(self) -> float:
        """The length of a lease."""
        return self.system.settings.lease_s

    @property
    def queues(self) -> list[str]:
        """The queues of jobs."""
        return list(dict.fromkeys(self.keys.lanes))

    def say(self, what: str) -> None:
        """Print an event and its time."""
        print(f"{time.monotonic() - self._began:7.1f} s  {what}", flush=True)

    def restart_server(self) -> None:
        """Restart the server with `appendfsync always`."""
        self.system.start_server(appendfsync="always")
        draft = self._socket.with_name("t")
        draft.symlink_to(unquote(urlsplit(self.system.server.url).path))
        draft.replace(self._socket)
        if hasattr(self, "fleet"):
            for proxy in self.proxies:
                proxy.target = self.system.server.url

    async def ask(self, *command: Any) -> Any:
        """A command's answer. Retries while the server restarts."""
        return await retry_while_away(lambda: ask(self.redis, *command))

    async def ask_all(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        """The answers of several commands."""

        async def work() -> list[Any]:
            async with self.redis.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command)
                answers: list[Any] = await pipe.execute()
                return answers

        return await retry_while_away(work)

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something in the background. The next check waits for it and raises its error."""
        self._lasting.add(asyncio.create_task(work))

    async def strike(self, number: int, fault: Fault) -> None:
        """Inject a fault under load."""
        self.load.go_on()
        until = time.monotonic() + HIT_S
        while True:
            # The same sequence each time, whatever the victims were.
            rng = Random(f"{self.seed} fault {number}")
            hit = await fault.inject(self, rng) if fault.applies(self) else ""
            if hit or time.monotonic() > until:
                break
            await asyncio.sleep(0.01)
        self.load.look()
        self.counts[fault.name if hit else f"{fault.name}: there was nothing to happen to"] += 1
        self.say(f"{number:4}  {fault.name}: {hit or 'there was nothing'}")
        await asyncio.sleep(Random(f"{self.seed} pause {number}").expovariate(1 / MEAN_PAUSE_S))

    async def quiet(self) -> float:
        """Wait until everything has ended.

        Returns:
            The seconds from the end of the last fault.

        Raises:
            AssertionError: it did not end; the message names what is stuck.
        """
        quiet_s = QUIET_S * slowness()
        try:
            async with asyncio.timeout(quiet_s):
                while self._lasting:
                    lasting, self._lasting = self._lasting, set()
                    await asyncio.gather(*lasting)
                began = time.monotonic()
                await self._resume()
                await self.load.pause()
                await self._nothing_left()
                return time.monotonic() - began
        except TimeoutError:
            raise AssertionError(f"not quiet within {quiet_s:g} s; {await self._stuck()}") from None

    async def _resume(self) -> None:
        """Resume all lanes: the server may have lost the end of a pause."""
        operator = self.load.operator
        for lane in LANES:
            await operator.insist(partial(operator.reckoner.operator.resume, lane))

    async def _nothing_left(self) -> None:
        async def look() -> bool:
            self.load.look()
            waiting = *self.queues, *map(leases_key, self.queues), self.keys.stale
            return not await self.ask("EXISTS", *waiting, *self.keys.all_live)

        await eventually(look)

        async def look_at_arq() -> bool:
            return all([self.excused(key.decode()) async for key in self.redis.scan_iter(match="arq:*", count=10_000)])

        await eventually(look_at_arq, every_s=0.1)

    def excused(self, name: str) -> bool:
        """Whether the key is of a job removed from its queue. Without a claim too, it just expires."""
        return name.startswith("arq:") and name.split(":", 2)[2] in self.displaced

    async def _stuck(self) -> str:
        pages = await self.ask_all([("ZRANGE", key, 0, 9) for key in self.keys.all_live])
        live = [member.decode() for page in pages for member in page]
        states = [await self.ask("HGETALL", f"{self.keys.prefix}:{member}") for member in live]
        names = [*self.queues, *map(leases_key, self.queues)]
        queued = {name: await self.ask("ZRANGE", name, 0, 9, "WITHSCORES") for name in names}
        arq = sorted([key async for key in self.redis.scan_iter(match="arq:*", count=10_000)])
        return "\n".join([
            f"{self.load.busy} calls wait, {len(self._lasting)} faults go on",
            *(f"live: {member} {state}" for member, state in zip(live, states, strict=True)),
            f"queued: {queued}",
            f"paused: {[name for name in map(paused_key, self.queues) if await self.ask('EXISTS', name)]}",
            f"of arq: {arq[:20]}, displaced: {[key for key in arq if self.excused(key.decode())]}",
            f"workers: {[(post.name, post.pid) for post in self.fleet.posts]}, exits {dict(self.fleet.exits)}",
            self.fleet.last_words(),
        ])  # fmt: skip
