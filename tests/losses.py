"""Faults of the data in Redis: lost and duplicated jobs."""

import re
from collections.abc import Sequence
from random import Random
from typing import TypeVar

import msgspec

from reckoner.shared.redis.keys import in_progress_key, job_key, leases_key
from reckoner.shared.wire.jobs import TASKS, Chunk, FlowTask, Reduce, Split, encode_job
from tests.chaos import Chaos

T = TypeVar("T")

AT_ONCE = 5
OURS = re.compile(rb"(split|chunk|reduce|finish|flow|run):[0-9a-f]{16}(:\d+)*\Z")


def some(rng: Random, things: Sequence[T]) -> Sequence[T]:
    """A few random elements."""
    return rng.sample(things, min(len(things), rng.randint(1, AT_ONCE)))


async def queued(chaos: Chaos) -> list[tuple[str, str]]:
    """The queued jobs, running ones included, each with its queue."""
    members = await chaos.ask_all([("ZRANGE", queue, 0, -1) for queue in chaos.queues])
    return [
        (queue, job.decode())
        for queue, jobs in zip(chaos.queues, members, strict=True)
        for job in jobs
        # The others were planted.
        if OURS.match(job)
    ]


async def lose_jobs(chaos: Chaos, rng: Random) -> str:
    """Remove jobs from their queues."""
    chosen = some(rng, await queued(chaos))
    chaos.displaced.update(job for _, job in chosen)
    removed = await chaos.ask_all([("ZREM", *pair) for pair in chosen])
    return f"{sum(removed)} jobs" if sum(removed) else ""


async def lose_bodies(chaos: Chaos, rng: Random) -> str:
    """Delete the bodies of queued jobs."""
    chosen = some(rng, await queued(chaos))
    removed = await chaos.ask_all([("DEL", job_key(job)) for _, job in chosen])
    return f"{sum(removed)} bodies" if sum(removed) else ""


async def lose_claims(chaos: Chaos, rng: Random) -> str:
    """Delete claims: fencing tokens or leases."""
    leases = list(map(leases_key, chaos.queues))
    members = await chaos.ask_all([("ZRANGE", name, 0, -1) for name in leases])
    jobs = [(name, job.decode()) for name, held in zip(leases, members, strict=True) for job in held if OURS.match(job)]
    chosen = some(rng, jobs)
    removed = await chaos.ask_all([
        ("ZREM", name, job) if rng.random() < 0.5 else ("DEL", in_progress_key(job)) for name, job in chosen
    ])  # fmt: skip
    return f"{sum(removed)} claims" if sum(removed) else ""


async def live(chaos: Chaos) -> list[tuple[str, str]]:
    """The unfinished flows and runs, each with its kind."""
    pages = await chaos.ask_all([("ZRANGE", key, 0, -1) for key in chaos.keys.all_live])
    members = [member.decode().partition(":") for page in pages for member in page if OURS.match(member)]
    return [(kind, name) for kind, _, name in members]


async def lose_partials(chaos: Chaos, rng: Random) -> str:
    """Delete partials of unfinished flows."""
    names = [chaos.keys.partials(name) for kind, name in await live(chaos) if kind == "flow"]
    fields = await chaos.ask_all([("HKEYS", name) for name in names])
    stored = [(name, field) for name, found in zip(names, fields, strict=True) for field in sorted(found)]
    removed = await chaos.ask_all([("HDEL", *pair) for pair in some(rng, stored)])
    return f"{sum(removed)} partials" if sum(removed) else ""


def tasks_of(flow: str) -> list[FlowTask]:
    """The likely tasks of a flow."""
    return [Split(flow), *(Chunk(flow, index, 0) for index in range(4)), Reduce(flow, 0)]


async def deliver_twice(chaos: Chaos, rng: Random) -> str:
    """Enqueue jobs again that run now or have ended, at the head of their queue."""
    ended = list(chaos.ends.counts)[-AT_ONCE:]
    pairs = [(rng.choice(chaos.queues), task) for flow in ended for task in tasks_of(flow)]
    for queue, job in await queued(chaos):
        kind, owner, *numbers = job.split(":")
        task = msgspec.convert([owner, *map(int, numbers)], TASKS[kind])
        if isinstance(task, FlowTask):
            pairs.append((queue, task))
    chosen = some(rng, pairs)
    await chaos.ask_all([
        command
        for queue, task in chosen
        for command in (
            ("SET", job_key(task.job_id), encode_job(task), "PX", 600_000),
            ("ZADD", queue, 1, task.job_id),
        )
    ])  # fmt: skip
    return f"{len(chosen)} jobs" if chosen else ""
