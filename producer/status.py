"""The system as it is now: who works, what waits, which generation readers see."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.errors import WireError
from shared.flow_state import UNFINISHED
from shared.redis.scripts import ask
from shared.runs import Run, Runs

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.redis.keys import Keys
    from shared.results import Results

# A worker beats once a second.
SILENT_AFTER_S = 5
SCAN_AT_ONCE = 1000


@dataclass(frozen=True)
class Status:
    """The system at one moment; `flows` counts the unfinished ones by state, `refused` what was refused by kind.

    `server` is `redis` or `valkey`, or what else a server calls itself.
    """

    server: str
    server_version: str
    redis_memory_bytes: int
    workers: list[str]
    queued: int
    flows: dict[str, int]
    runs: list[Run]
    generation: str | None
    previous: str | None
    newest: str | None
    results: int
    dead: int
    refused: dict[str, int]


async def read_status(redis: "Redis", keys: "Keys", results: "Results", runs: Runs) -> Status:
    """Look at everything; the results held are counted by a scan over all keys, which does not block the server."""
    info = await redis.info()
    server = str(info.get("server_name", "redis"))
    members = [member.decode(errors="replace") for member in await ask(redis, "ZRANGE", keys.live, 0, -1)]
    generation = await results.current()
    return Status(
        server=server,
        # What others answer under Redis' name is the version that they are compatible with.
        server_version=str(info.get(f"{server}_version", info["redis_version"])),
        redis_memory_bytes=int(info["used_memory"]),
        workers=await read_workers(redis, keys),
        queued=int(await ask(redis, "ZCARD", keys.queue)),
        flows=await _flow_states(redis, keys, [m.removeprefix("flow:") for m in members if m.startswith("flow:")]),
        runs=await _runs(runs, [m.removeprefix("run:") for m in members if m.startswith("run:")]),
        generation=generation,
        previous=await results.pointer(keys.previous),
        newest=await results.pointer(keys.newest),
        results=await _count(redis, keys.result(generation, "*")) if generation else 0,
        dead=int(await ask(redis, "XLEN", keys.dead)),
        refused={k.decode(errors="replace"): int(v) for k, v in (await ask(redis, "HGETALL", keys.refused)).items()},
    )


async def read_workers(redis: "Redis", keys: "Keys", since_ms: int = 0) -> list[str]:
    """The workers that have been heard of within the last seconds, or since a moment by the server's clock."""
    seconds, _ = await ask(redis, "TIME")
    oldest = max(since_ms, (int(seconds) - SILENT_AFTER_S) * 1000)
    names = await ask(redis, "ZRANGEBYSCORE", keys.workers, oldest, "+inf")
    return sorted(name.decode(errors="replace") for name in names)


async def _flow_states(redis: "Redis", keys: "Keys", flow_ids: Sequence[str]) -> dict[str, int]:
    counts: dict[str, int] = dict.fromkeys(UNFINISHED, 0)
    async with redis.pipeline(transaction=False) as pipe:
        for flow_id in flow_ids:
            pipe.hget(keys.flow(flow_id), "state")
        for state in await pipe.execute():
            name = (state or b"").decode(errors="replace")
            if name in counts:
                counts[name] += 1
    return counts


async def _runs(runs: Runs, run_ids: Sequence[str]) -> list[Run]:
    found = []
    for run_id in run_ids:
        try:
            found.append(await runs.load(run_id))
        except WireError:
            continue
    return [run for run in found if run is not None]


async def _count(redis: "Redis", pattern: str) -> int:
    count = 0
    async for _ in redis.scan_iter(match=pattern, count=SCAN_AT_ONCE):
        count += 1
    return count
