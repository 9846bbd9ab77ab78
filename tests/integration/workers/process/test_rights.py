"""A Redis user with the rights that the doctor asks for can do everything it needs, and nothing else."""

from collections.abc import AsyncIterator

import pytest
from arq import ArqRedis
from redis.exceptions import NoPermissionError

from reckoner.shared.flows.nights import NightOptions, Nights
from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.keys import Keys
from reckoner.shared.redis.scripts import ask
from reckoner.shared.settings import Settings
from reckoner.shared.wire.shapes import UserSpec
from reckoner.workers.maintenance.heartbeat import Heartbeat
from reckoner.workers.maintenance.sweeper import Sweeper
from reckoner.workers.night.driver import NightDriver
from reckoner.workers.process.wiring import connect_worker
from tests.conftest import StartServer
from tests.world import USERS, Hand, World, settle


@pytest.fixture(params=["", "-info"])
async def shop(request: pytest.FixtureRequest, fresh_server: StartServer, prefix: str) -> AsyncIterator[ArqRedis]:
    """A worker's connection of a user who has these rights only, with INFO and without."""
    server = fresh_server()
    owner = connect(server.url)
    rights = [*Keys(prefix).rights.split(), *request.param.split()]
    await ask(owner, "ACL SETUSER", "shop", "on", ">tiger", *rights)
    await ask(owner, "SET", "somebody:else", "1")
    await owner.aclose()
    redis = connect_worker(Settings(), server.url.replace("unix://", "unix://shop:tiger@"))
    yield redis
    await redis.aclose()


async def test_all_is_done_with_the_rights_that_are_asked_for(shop: ArqRedis, world: World, prefix: str) -> None:
    """A fit, a user's list, everybody's, by night too, a failure, a refusal, sweeps, beats; other keys stay closed."""
    hand = Hand(world, shop, prefix)
    flows, runs, keys = hand.runtime.flows, hand.runtime.runs, hand.runtime.keys
    try:
        generation = world.generations[0]
        await flows.create([generation.fit], [keys.join_fit(generation.id)])
        await hand.deliver_all()
        assert await hand.runtime.results.generations.pointer(keys.current) == generation.id
        run_id, _ = await runs.start(generation.record, 2, 2)
        night, _ = await Nights(shop, keys).begin("2026-01-01", "command", NightOptions())
        await flows.create([UserSpec(USERS[0], generation.id)], [keys.join_user(generation.id, USERS[0])])
        await settle(hand, Sweeper(hand.runtime).sweep)
        run = await runs.load(run_id)
        assert run is not None
        assert run.outcome == "passed"
        [failing] = await flows.create([UserSpec("u", generation.id)], [keys.join_user(generation.id, "u")])
        flow = await flows.load(failing)
        assert flow is not None
        assert await flows.fail(flow, "failed by the test", lease=None)
        await ask(shop, "ZADD", keys.click, 1, b"\xff")
        assert await flows.refusals.foreign_jobs() == 1
        await NightDriver(hand.runtime).drive()
        ended = await Nights(shop, keys).load(night)
        assert ended is not None
        assert ended.outcome == "unchanged"
        heartbeat = Heartbeat(hand.runtime)
        await heartbeat.beat()
        await heartbeat.stop()
        with pytest.raises(NoPermissionError):
            await ask(shop, "GET", "somebody:else")
    finally:
        hand.close()
