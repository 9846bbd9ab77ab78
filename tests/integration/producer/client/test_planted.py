"""For any value planted in any key, each command ends with an exit code and a sentence, never a stack trace.

No worker runs, so nothing is set aside behind the back of a command.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.keys import Keys, in_progress_key, job_key, leases_key, paused_key, tries_key, wake_key
from reckoner.shared.redis.scripts import Value, ask
from reckoner.shared.settings import variable_of
from reckoner.shared.wire.jobs import Split
from reckoner.shared.wire.shapes import UserSpec
from reckoner.workers.process.wiring import connect_worker
from tests.commands import call_here
from tests.world import Hand, World, make_world

HUGE = "9" * 400
PLANTED: dict[str, tuple[Value, ...]] = {
    "no text": ("SET", b"\xff\x00\xfe\x1b[2J"),
    "JSON of another shape": ("SET", '{"format":2,"generation":"g","snapshot":{},"items":[1]}'),
    "a list": ("RPUSH", b"\xff", ""),
    "a hash": ("HSET", b"\xff", b"\xff", "state", b"\xff", "0", HUGE, "", ""),
    "a sorted set": ("ZADD", "inf", b"\xff", "-inf", "", 1, "flow:", 2, "run:\x1b"),
    "a stream": ("XADD", "*", b"\xff", b"\xff"),
}
COMMANDS = [
    ("get", "Ada"),
    ("get", "Ada", "--json"),
    ("status",),
    ("status", "--json"),
    ("doctor",),
    ("job", "FLOW"),
    ("job", "RUN"),
    ("job", "RUN", "--json"),
    ("enqueue", "Ada"),
    ("enqueue", "--history", "item 01"),
    ("dead", "list"),
    ("dead", "list", "--json"),
    ("dead", "retry", "--all"),
    ("batch", "--no-wait"),
    ("fit", "--no-wait"),
    ("tag", "item 01", "+new"),
    ("tags", "item 01"),
    ("tags",),
    ("lists",),
    ("lists", "popular"),
    ("record", "Ada", "item 01", "--id", "order 1"),
    ("merge", "Ada", "user 2"),
    ("hide", "item 01", "--until", "3d"),
    ("hide", "item 02", "--for", "Ada"),
    ("hidden",),
    ("hidden", "--for", "Ada"),
    ("unhide", "item 02", "--for", "Ada"),
    ("unhide", "--all"),
    ("drain", "--all", "--no-wait"),
    ("pause", "click"),
    ("resume", "click"),
    ("cancel", "FLOW", "RUN"),
    ("dead", "drop", "--all", "--yes"),
]


class Scene:
    """A system under way: a generation with lists, a flow and a run that have not ended, a dead letter, a worker."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.generation = self.snapshot = self.flow = self.run = ""

    async def make(self, hand: Hand, world: World) -> None:
        """Create the system."""
        keys, flows, generation = self.keys, hand.runtime.flows, await hand.adopt(world)
        self.generation, self.snapshot = generation.id, generation.record.snapshot
        await hand.runtime.results.write(generation.id, list(generation.lists.items()), 600)
        self.flow, failed = await flows.create(
            [UserSpec(user, generation.id) for user in ("Ada", "user 2")],
            [keys.join_user(generation.id, user) for user in ("Ada", "user 2")],
        )
        await hand.deliver(Split(self.flow).job_id)
        await hand.deliver(f"chunk:{self.flow}:0:0")
        flow = await flows.load(failed)
        assert isinstance(flow, Flow)
        await flows.fail(flow, "told to", lease=None)
        self.run, _ = await hand.runtime.runs.start(generation.record, 2, 1)
        await ask(hand.redis, "SET", keys.night("2026-11-30"), self.run)

    def names(self) -> dict[str, str]:
        """One key of each kind, by what it is."""
        keys, split = self.keys, Split(self.flow).job_id
        return {
            **{name: getattr(keys, name) for name in ("click", "batch", "dead", "refused", "workers")},
            **{name: getattr(keys, name) for name in ("current", "previous", "newest", "sweeper")},
            "live": keys.live_of("click"),
            "leases": leases_key(keys.click),
            "wake": wake_key(keys.click),
            "paused": paused_key(keys.click),
            "job": job_key(split),
            "tries": tries_key(split),
            "claim": in_progress_key(split),
            "flow": keys.flow(self.flow),
            "partials": keys.partials(self.flow),
            "tasks": keys.tasks(self.flow),
            "join": keys.join_user(self.generation, "Ada"),
            "basket": keys.basket(self.generation, ["item 01"]),
            "result": keys.result(self.generation, "Ada"),
            "record": keys.record(self.generation),
            "titles": keys.titles(self.snapshot),
            "tags": keys.tags(self.snapshot),
            "lists": keys.named_lists(self.snapshot),
            "tagging": keys.tagging,
            "version of tags": keys.tagging_version,
            "run": keys.run(self.run),
            "flight": keys.flight(self.run),
            "blocks": keys.blocks(self.run),
            "generations": keys.generations,
            "run of": keys.run_of(self.generation),
            "events": keys.event_stream,
            "recent": keys.recent("Ada"),
            "left": keys.left("Ada"),
            "hides": keys.hides("Ada"),
            **{
                name: getattr(keys, name)
                for name in (
                    "recents",
                    "recent_versions",
                    "stale",
                    "hidden",
                    "hidden_version",
                    "hidden_changes",
                    "unavailable",
                )
            },
            "night": keys.night("2026-11-30"),
            "beat": keys.beat("planted"),
            "mail": keys.mail("planted"),
        }


# What is no string; of each a value of its own type, and one of another.
TYPES = {
    **dict.fromkeys(("click", "batch", "live", "workers", "leases"), "a sorted set"),
    **dict.fromkeys(("refused", "flow", "partials", "tasks", "titles", "tags", "lists", "tagging"), "a hash"),
    **dict.fromkeys(("run", "flight", "blocks", "generations"), "a hash"),
    **dict.fromkeys(("wake", "mail"), "a list"),
    **dict.fromkeys(("dead", "events", "hidden_changes"), "a stream"),
    **dict.fromkeys(("recents", "stale", "hidden", "unavailable"), "a sorted set"),
    "recent": "a list",
    "recent_versions": "a hash",
}
CASES = [
    (kind, planted)
    for kind in Scene(Keys("p")).names()
    for planted in ((TYPES[kind], "no text") if kind in TYPES else ("no text", "JSON of another shape", "a list"))
]


@pytest.fixture(scope="module")
def own_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world of this module's own: its current snapshot and its models stay as they are."""
    return make_world(tmp_path_factory.mktemp("planted") / "store")


@pytest.fixture
def perform(
    own_world: World, redis_url: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Callable[[Scene, Any], Awaitable[object]]], None]]:
    """Make a scene, plant something in it by what is given, and call all commands, before each of which it is planted
    again.
    """
    from reckoner.shared.settings import Settings

    for name, value in {
        "redis_url": redis_url,
        "prefix": prefix,
        "home": tmp_path,
        "store_url": own_world.store.root.as_uri(),
        "nightly": "03:00",
    }.items():
        monkeypatch.setenv(variable_of(name), str(value))

    async def make() -> Scene:
        redis = connect_worker(Settings(), redis_url)
        hand, scene = Hand(own_world, redis, prefix), Scene(Keys(prefix))
        try:
            await scene.make(hand, own_world)
        finally:
            hand.close()
            await redis.aclose()
        return scene

    def perform(planting: Callable[[Scene, Any], Awaitable[object]]) -> None:
        # One loop and one connection for all that is planted, since the commands have their own each.
        with asyncio.Runner() as runner:
            scene, redis = runner.run(make()), connect(redis_url)

            async def plant() -> None:
                await planting(scene, redis)

            for command in COMMANDS:
                runner.run(plant())
                ended = call_here(*({"FLOW": scene.flow, "RUN": scene.run}.get(part, part) for part in command))
                assert ended.is_defined, (command, ended)
                assert len(ended.err.strip().splitlines()) <= 3, (command, ended)
            runner.run(redis.aclose())

    yield perform
    asyncio.run(_forget(redis_url, prefix))


async def _forget(redis_url: str, prefix: str) -> None:
    async with connect(redis_url) as redis:
        names = [name async for name in redis.scan_iter(match=f"{prefix}:*", count=10_000)]
        await ask(redis, "UNLINK", f"{prefix}:none", *names)


@pytest.mark.parametrize(("kind", "planted"), CASES)
def test_a_planted_key_ends_no_command_in_a_stack_trace(perform: Any, kind: str, planted: str) -> None:
    """Bytes, numbers and types that are invalid there."""
    command, *values = PLANTED[planted]

    async def plant(scene: Scene, redis: Any) -> None:
        key = scene.names()[kind]
        await ask(redis, "DEL", key)
        await ask(redis, str(command), key, *values)

    perform(plant)


@pytest.mark.parametrize("value", [b"\xff\x00", "", HUGE, "-1"])
@pytest.mark.parametrize("kind", ["flow", "run"])
def test_a_planted_field_ends_no_command_in_a_stack_trace(perform: Any, kind: str, value: str | bytes) -> None:
    """All fields of a flow and of a run."""

    async def plant(scene: Scene, redis: Any) -> None:
        key = scene.names()[kind]
        for field in await ask(redis, "HKEYS", key):
            await ask(redis, "HSET", key, field, value)

    perform(plant)
