"""Faults of a system under load, and their order for a seed."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from redis.exceptions import ResponseError

from tests.chaos import LANES, Chaos, Fault
from tests.fleet import Post
from tests.losses import deliver_twice, live, lose_bodies, lose_claims, lose_jobs, lose_partials, some
from tests.plants import damage_pointer, plant_members
from tests.proxies import Proxy
from tests.rot import flip_in_model, flip_in_snapshot, take_store_away, use_by_another_prefix

# Frozen for these multiples of a lease or a task's deadline; slow or dead connections, socket time-outs included.
FROZEN_LEASES = (1.2, 2.5)
FROZEN_DEADLINES = (1.1, 1.5)
SLOW_S = (0.02, 0.3)
SLOW_FOR_S = (0.5, 2.0)
NOWHERE_FOR_S = (0.5, 7.0)
PAUSED_FOR_S = (0.2, 2.0)
FULL_FOR_S = (0.2, 2.0)
DOWN_S = (0.0, 0.8)
LOST_S = (0.1, 1.0)
SHIFTS_S = (0.0, 2.0, -2.0, 3600.0, -3600.0, 40 * 86_400.0, -40 * 86_400.0)


# Workers.


def a_worker_runs(chaos: Chaos) -> bool:
    return any(post.pid for post in chaos.fleet.posts)


def running(chaos: Chaos, rng: Random) -> tuple[Post, int] | None:
    """A random worker and its process, if it runs."""
    post = rng.choice(chaos.fleet.posts)
    return (post, post.pid) if post.pid else None


def signalled(signum: signal.Signals) -> Callable[[Chaos, Random], Coroutine[Any, Any, str]]:
    """Send a worker a signal."""

    async def inject(chaos: Chaos, rng: Random) -> str:
        found = running(chaos, rng)
        if not found:
            return ""
        post, pid = found
        post.send(signum, pid)
        return post.name

    return inject


def frozen(lasts: Callable[[Chaos, Random], float]) -> Callable[[Chaos, Random], Coroutine[Any, Any, str]]:
    """Stop a worker for some seconds, then let it continue."""

    async def inject(chaos: Chaos, rng: Random) -> str:
        found, lasts_s = running(chaos, rng), lasts(chaos, rng)
        if not found:
            return ""
        post, pid = found

        async def thaw() -> None:
            await asyncio.sleep(lasts_s)
            post.send(signal.SIGCONT, pid)

        post.send(signal.SIGSTOP, pid)
        chaos.later(thaw())
        return f"{post.name}, for {lasts_s:.1f} s"

    return inject


def longer_than_a_lease(chaos: Chaos, rng: Random) -> float:
    return chaos.lease_s * rng.uniform(*FROZEN_LEASES)


def longer_than_a_deadline(chaos: Chaos, rng: Random) -> float:
    return chaos.system.settings.task_deadline_s * rng.uniform(*FROZEN_DEADLINES)


async def shift(chaos: Chaos, rng: Random) -> str:
    """Set a worker's clock."""
    post, seconds = rng.choice(chaos.fleet.posts), rng.choice(SHIFTS_S)
    post.shift(seconds)
    return f"{post.name}, to {seconds:+,.0f} s"


# The server.


async def kill_server(chaos: Chaos, rng: Random) -> str:
    """Kill the server, and restart it from its append-only file a moment later."""
    down_s = rng.uniform(*DOWN_S)
    chaos.system.server.kill()
    await asyncio.sleep(down_s)
    chaos.restart_server()
    return f"away for {down_s:.1f} s"


async def kill_server_and_lose(chaos: Chaos, rng: Random) -> str:
    """The same with `everysec`, and cut off the end of its file, as a crash of the machine does."""
    down_s, lost_s, kept = rng.uniform(*DOWN_S), rng.uniform(*LOST_S), rng.random()
    await chaos.ask("CONFIG", "SET", "appendfsync", "everysec")
    written = append_only_file(chaos)
    size = written.stat().st_size
    await asyncio.sleep(lost_s)
    chaos.lossy = chaos.ends.losing = True
    chaos.system.server.kill()
    lost = 0
    if append_only_file(chaos) == written:
        end = written.stat().st_size
        lost = int((end - size) * (1 - kept))
        with written.open("r+b") as file:
            file.truncate(end - lost)
    await asyncio.sleep(down_s)
    chaos.restart_server()
    return f"away for {down_s:.1f} s, {lost:,} bytes lost"


def append_only_file(chaos: Chaos) -> Path:
    """The file that the server writes to."""
    return max(chaos.system.home.rglob("*.incr.aof"), key=lambda path: int(path.name.split(".")[-3]))


async def fill_server(chaos: Chaos, rng: Random) -> str:
    """Make the server refuse writes for a while, as at its memory limit."""
    lasts_s = rng.uniform(*FULL_FOR_S)

    async def make_room() -> None:
        await asyncio.sleep(lasts_s)
        await chaos.ask("CONFIG", "SET", "maxmemory", 0)

    await chaos.ask("CONFIG", "SET", "maxmemory", 1)
    chaos.later(make_room())
    return f"for {lasts_s:.1f} s"


async def set_clock_behind(chaos: Chaos, rng: Random) -> str:
    """Put the last id of the stream of events ahead of the server's clock."""
    ahead_ms, (seconds, _) = rng.randint(1_000, 3_600_000), await chaos.ask("TIME")
    try:
        await chaos.ask("XSETID", chaos.keys.event_stream, f"{int(seconds) * 1000 + ahead_ms}-0")
    except ResponseError:
        # It is further ahead, or there is none yet.
        return ""
    return f"by {ahead_ms:,} ms"


# Connections.


def workers_proxy(chaos: Chaos, rng: Random) -> tuple[str, Proxy]:
    """A random worker's proxy."""
    post = rng.choice(chaos.fleet.posts)
    return post.name, post.proxy


def clients_proxy(chaos: Chaos, rng: Random) -> tuple[str, Proxy]:
    """A random client's proxy."""
    number = rng.randrange(len(chaos.load.proxies))
    return f"client {number}", chaos.load.proxies[number]


Choice = Callable[[Chaos, Random], tuple[str, Proxy]]


def cut(choose: Choice) -> Callable[[Chaos, Random], Coroutine[Any, Any, str]]:
    """Cut the connections of one proxy."""

    async def inject(chaos: Chaos, rng: Random) -> str:
        name, proxy = choose(chaos, rng)
        count = proxy.connections
        proxy.cut()
        return f"{name}, {count}" if count else ""

    return inject


def slow(choose: Choice) -> Callable[[Chaos, Random], Coroutine[Any, Any, str]]:
    """Delay one proxy's traffic for a while."""

    async def inject(chaos: Chaos, rng: Random) -> str:
        name, proxy = choose(chaos, rng)
        delay_s, lasts_s = rng.uniform(*SLOW_S), rng.uniform(*SLOW_FOR_S)
        proxy.delay(delay_s)
        chaos.later(heal(proxy, lasts_s))
        return f"{name}, by {delay_s * 1000:.0f} ms for {lasts_s:.1f} s"

    return inject


def lead_nowhere(choose: Choice) -> Callable[[Chaos, Random], Coroutine[Any, Any, str]]:
    """Drop one proxy's traffic for a while."""

    async def inject(chaos: Chaos, rng: Random) -> str:
        name, proxy = choose(chaos, rng)
        lasts_s = rng.uniform(*NOWHERE_FOR_S)
        proxy.hole()
        chaos.later(heal(proxy, lasts_s))
        return f"{name}, for {lasts_s:.1f} s"

    return inject


async def heal(proxy: Proxy, after_s: float) -> None:
    """Heal a proxy after a while."""
    await asyncio.sleep(after_s)
    proxy.heal()


# Users and operators.


async def fit(chaos: Chaos, rng: Random) -> str:
    """Fit a model. Later runs use its generation."""
    config = rng.choice(chaos.truths.configs)
    return f"with {config.neighbours} neighbours" if await chaos.load.fit(config) else ""


async def run(chaos: Chaos, rng: Random) -> str:
    """Start a run; the pointer flips at its end."""
    return await chaos.load.start_run(rng) or ""


async def pause(chaos: Chaos, rng: Random) -> str:
    """Pause a lane for a while."""
    lane, lasts_s, operator = rng.choice(LANES), rng.uniform(*PAUSED_FOR_S), chaos.load.operator

    async def resume() -> None:
        await asyncio.sleep(lasts_s)
        await operator.insist(lambda: operator.reckoner.operator.resume(lane))

    await operator.insist(lambda: operator.reckoner.operator.pause(lane))
    chaos.later(resume())
    return f"{lane}, for {lasts_s:.1f} s"


async def cancel(chaos: Chaos, rng: Random) -> str:
    """Cancel unfinished jobs and runs, blocks of runs and fits included."""
    operator, count = chaos.load.operator, 0
    for name in some(rng, [name for _, name in await live(chaos)]):
        chaos.cancelled.add(name)
        count += bool(await operator.insist(partial(operator.reckoner.cancel, name)))
    return f"{count} jobs" if count else ""


async def drain(chaos: Chaos, rng: Random) -> str:
    """Drain a worker."""
    operator = chaos.load.operator
    alive = [each for each in await operator.insist(operator.reckoner.operator.alive) or () if each.beat]
    if not alive:
        return ""
    each = rng.choice(alive)
    await operator.insist(partial(operator.reckoner.operator.drain, [each]))
    return each.worker


def always(chaos: Chaos) -> bool:
    return True


FAULTS = (
    Fault("a worker is killed", a_worker_runs, signalled(signal.SIGKILL)),
    Fault("a worker is told to stop", a_worker_runs, signalled(signal.SIGTERM)),
    Fault("a worker is drained", always, drain),
    Fault("a worker is frozen", a_worker_runs, frozen(longer_than_a_lease)),
    Fault("a worker is frozen for longer than a deadline", a_worker_runs, frozen(longer_than_a_deadline)),
    Fault("a worker's clock is set", always, shift),
    Fault("the server is killed", always, kill_server),
    Fault("the server is killed and has lost its last writes", always, kill_server_and_lose),
    Fault("the server is full", always, fill_server),
    Fault("the server's clock is behind the events", always, set_clock_behind),
    Fault("a worker's connections are cut", always, cut(workers_proxy)),
    Fault("a worker's connections are slow", always, slow(workers_proxy)),
    Fault("a worker's connections lead nowhere", always, lead_nowhere(workers_proxy)),
    Fault("a client's connections are cut", always, cut(clients_proxy)),
    Fault("a client's connections are slow", always, slow(clients_proxy)),
    Fault("a client's connections lead nowhere", always, lead_nowhere(clients_proxy)),
    Fault("jobs are lost", always, lose_jobs),
    Fault("bodies of jobs are lost", always, lose_bodies),
    Fault("partials are lost", always, lose_partials),
    Fault("claims are lost", always, lose_claims),
    Fault("jobs are delivered twice", always, deliver_twice),
    Fault("a bit of a model is flipped", always, flip_in_model),
    Fault("a bit of the snapshot is flipped", always, flip_in_snapshot),
    Fault("the store is away", always, take_store_away),
    Fault("another prefix uses the store", always, use_by_another_prefix),
    Fault("members and beats are planted", always, plant_members),
    Fault("a pointer or its record is damaged", always, damage_pointer),
    Fault("a lane is paused", always, pause),
    Fault("jobs are cancelled", always, cancel),
    Fault("a model is fitted", always, fit),
    Fault("a run is started", always, run),
)


def plan(seed: int, count: int) -> list[Fault]:
    """So many faults in a random order: all of them, then all again in another order."""
    rng, chosen = Random(f"{seed} plan"), list[Fault]()
    while len(chosen) < count:
        chosen += rng.sample(FAULTS, len(FAULTS))
    return chosen[:count]
