"""A server at its memory limit still lets jobs be claimed, renewed, settled and given back."""

from typing import Any

import pytest
from arq import func
from redis import exceptions
from structlog.testing import capture_logs

from reckoner.shared.redis.keys import leases_key
from reckoner.shared.redis.scripts import ask
from reckoner.workers.engine.claims import Claims, EngineKeys, Settled
from reckoner.workers.engine.lease import Lease
from tests.conftest import StartServer
from tests.lanes import PAUSED, Lanes, until


async def test_on_a_full_server_running_jobs_continue(fresh_server: StartServer, prefix: str) -> None:
    """Only new jobs are refused. When there is room again, workers continue by themselves."""
    lanes = Lanes(fresh_server().url, prefix)
    keys = lanes.keys
    claims = Claims(
        lanes.redis, EngineKeys(keys.lanes, (False, True), keys.workers, keys.mail("a"), keys.refused, keys.dead), 60.0
    )
    names = [lanes.name() for _ in range(8)]
    await lanes.put(lanes.click, *names, place=1)
    await ask(lanes.redis, "CONFIG", "SET", "maxmemory", "1mb")
    with pytest.raises(exceptions.OutOfMemoryError):
        await lanes.put(lanes.click, lanes.name())

    assert len((await claims.claim("t", 5, [5, 5], alone=True)).jobs) == 5
    assert (await claims.claim("u", 0, [0, 0], alone=False)).jobs == []
    claimed = sorted(names)[:5]
    leases = [Lease(name, lanes.click, "t", 1, lambda: False) for name in claimed]
    assert await claims.renew(lanes.click, leases) == []
    ways = [
        Settled(claimed[0], "t", "done", 1000, b"a result"),
        Settled(claimed[1], "t", "back"),
        Settled(claimed[2], "t", "later", 0, b"1"),
        Settled(claimed[3], "t", "done", reason="a reason"),
    ]
    assert await claims.settle(lanes.click, ways) == 4
    assert await claims.release(["t"]) == 1
    assert await lanes.score(lanes.click, claimed[2]) == PAUSED + 1
    await claims.claim("u", 1, [1, 1], alone=False)
    assert await lanes.score(lanes.click, claimed[2]) != PAUSED + 1
    await ask(lanes.redis, "DEL", leases_key(lanes.click))
    assert await claims.release_unheld() == 1

    refused = list[int]()

    async def write(ctx: dict[Any, Any]) -> None:
        refused.append(ctx["job_try"])
        await ask(ctx["redis"], "SET", f"{prefix}:written", "x" * 100)

    with capture_logs() as lines:
        async with lanes.running(lanes.make(func(write, name="work"), lease_s=1.0)):
            await until(lambda: len(refused) > 5)
            await ask(lanes.redis, "CONFIG", "SET", "maxmemory", "0")
            await until(lanes.idle)
    troubles = {line["error"] for line in lines if line["event"] == "worker paused"}
    assert troubles == {"OutOfMemoryError"}
    await lanes.close()
