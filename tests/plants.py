"""Forged values in Redis: members that are not jobs, future heartbeats, nonsense pointers and records."""

from random import Random

from redis.exceptions import ResponseError

from reckoner.shared.redis.keys import leases_key
from tests.chaos import LANES, Chaos
from tests.damages import ALL

# No job, flow, run or worker has such a name.
MEMBERS = (b"", b"\xff\xfe", b"no job", b"split:", b"chunk:a:b:c", b"x" * 3000)
SCORES = ("-inf", 0, 1, 1e14, 2e14, "inf")
# How far ahead of the server's clock the forged heartbeat is.
AHEAD_MS = 3_600_000


async def plant_members(chaos: Chaos, rng: Random) -> str:
    """Put forged members into a queue, its leases and the live set, and a worker with a heartbeat of tomorrow."""
    keys, lane = chaos.keys, rng.choice(LANES)
    places = [keys.lane(lane), leases_key(keys.lane(lane)), keys.live_of(lane)]
    chosen = [(rng.choice(places), rng.choice(SCORES), member) for member in MEMBERS]
    seconds, _ = await chaos.ask("TIME")
    chosen.append((keys.workers, int(seconds) * 1000 + AHEAD_MS, b"a worker of tomorrow"))
    chaos.planted = True
    try:
        await chaos.ask_all([("ZADD", *each) for each in chosen])
    except ResponseError:
        # The server is full.
        return ""
    return f"{len(chosen)} members, {lane} lane"


async def damage_pointer(chaos: Chaos, rng: Random) -> str:
    """Damage a pointer or its generation's record, and fit a model later."""
    pointer, damage = rng.choice(chaos.keys.pointers), rng.choice(ALL)
    config, generation = rng.choice(chaos.truths.configs), await chaos.ask("GET", pointer)
    if not generation:
        return ""
    chaos.planted = chaos.unfitted = True
    try:
        await damage(chaos.redis, chaos.keys, pointer, generation.decode(errors="replace"))
    except ResponseError:
        return ""
    await chaos.load.fit(config)
    return f"{damage.__name__} at {pointer.partition(':')[2]}, and a fit"
