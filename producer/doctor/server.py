"""What the doctor looks at in the Redis server itself."""

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

from reckoner.producer.doctor.findings import Check, NotSeenError, WrongError, refused
from reckoner.shared.flows.flows import fresh_id
from reckoner.shared.flows.runs import Runs
from reckoner.shared.redis.connections import is_command_unavailable, is_forbidden, server_info
from reckoner.shared.redis.keys import Keys, in_progress_key
from reckoner.shared.redis.scripts import ask, commands_of_scripts
from reckoner.shared.serving.results import Results
from reckoner.shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arq import ArqRedis

# By the server's clock it is decided who is alive and what is due; by the hosts' what is shown.
MAX_SKEW_S = 5.0
MAX_MEMORY = 0.9
PROBE_TTL_MS = 10_000
HEAR_WITHIN_S = 2.0
# The commands that workers and clients send outside scripts.
ASKED = (
    "BLPOP", "DEL", "EXEC", "EXISTS", "EXPIRE", "GET", "HEXISTS", "HGET", "HGETALL", "HKEYS", "HLEN", "HMGET", "HSCAN",
    "HSET", "HVALS", "INCR", "MGET", "MULTI", "PEXPIRE", "PTTL", "SET", "TIME", "TTL", "UNLINK", "XDEL", "XLEN",
    "XRANGE", "ZADD", "ZCARD", "ZCOUNT", "ZMSCORE", "ZRANGE", "ZRANGEBYSCORE", "ZREM", "ZREMRANGEBYSCORE", "ZSCAN",
)  # fmt: skip
READ_BACK = "return redis.call('GET', KEYS[1])"
# The commands in ARGV that this user may not run on a key; none where the server cannot tell.
FORBIDDEN = """
local forbidden = {}
for _, command in ipairs(redis.acl_check_cmd and ARGV or {}) do
  if not redis.acl_check_cmd(command, KEYS[1]) then
    forbidden[#forbidden + 1] = command
  end
end
return forbidden
"""


@dataclass(frozen=True)
class Site:
    """What is looked at in Redis: the connection, and the names and settings that this command line has."""

    redis: "ArqRedis"
    settings: Settings
    where: str
    """Where the Redis is, without a secret."""

    @property
    def keys(self) -> Keys:
        """The keys under the prefix."""
        return Keys(self.settings.prefix)

    @property
    def results(self) -> Results:
        """The results and generations."""
        return Results(self.redis, self.keys)

    @property
    def runs(self) -> Runs:
        """The runs."""
        return Runs(self.redis, self.keys, self.settings.first_look_s)


async def look(site: Site, *command: str) -> Any:
    """The answer to a command that only looks.

    Raises:
        NotSeenError: the server does not let this user give it, or does not know it.
    """
    try:
        return await ask(site.redis, *command)
    except ResponseError as error:
        if is_command_unavailable(error):
            asked = " ".join(command)
            raise NotSeenError(f"Not looked at: the server does not let this user ask for {asked}.") from error
        raise


async def version(site: Site) -> str:
    """Redis answers; whether it is new enough and no cluster was looked at when the connection was made."""
    server = await server_info(site.redis)
    if not server.version:
        raise NotSeenError(f"The server at {site.where} does not let this user know its version.")
    return f"{server.name} {server.version} at {site.where}."


async def eviction(site: Site) -> str:
    """Nothing that was acknowledged may be thrown away."""
    policy = (await look(site, "INFO", "memory")).get("maxmemory_policy", "")
    if policy != "noeviction":
        raise WrongError(f"The policy is {policy}, by which a full memory loses jobs: set maxmemory-policy noeviction.")
    return "noeviction, so that nothing is lost when memory is full."


async def persistence(site: Site) -> str:
    """What was acknowledged outlives a restart."""
    info = await look(site, "INFO", "persistence")
    if not info.get("aof_enabled"):
        raise WrongError("There is no append-only file, so a restart loses jobs and lists: set appendonly yes.")
    if info.get("aof_last_write_status", "ok") != "ok":
        raise WrongError("The last write to the append-only file failed: look at the server's disk and log.")
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        raise WrongError("The last snapshot of the data could not be saved: look at the server's disk and log.")
    try:
        fsync = (await look(site, "CONFIG GET", "appendfsync")).get("appendfsync", "")
    except NotSeenError:
        return "Append-only file; how often it is flushed could not be looked at."
    if fsync == "no":
        raise WrongError("appendfsync is no, so a crash of its host loses what it likes: set appendfsync everysec.")
    return f"Append-only file, flushed {fsync}; its last write went well."


async def clock(site: Site) -> str:
    """The server's clock against this host's, half the way there and back allowed for."""
    before_s = time.time()
    seconds, microseconds = await look(site, "TIME")
    after_s = time.time()
    skew_s = int(seconds) + int(microseconds) / 1e6 - (before_s + after_s) / 2
    if abs(skew_s) > MAX_SKEW_S:
        raise WrongError(f"The server's clock and this host's are {abs(skew_s):,.1f} s apart: keep both right by NTP.")
    return f"{abs(skew_s) * 1000:,.0f} ms from this host's."


async def memory(site: Site) -> str:
    """There is room for more."""
    info = await look(site, "INFO", "memory")
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    told = f"{used / 2**20:,.1f} MiB in use"
    if not most:
        return f"{told}, no limit set."
    told += f" of {most / 2**20:,.1f} MiB"
    if used > MAX_MEMORY * most:
        raise WrongError(f"{told}: raise maxmemory, or lower RECKONER_RESULT_TTL_S.")
    return f"{told}."


async def writing(site: Site) -> str:
    """A key under the prefix and one of arq's are written, read back by a script, and removed."""
    probe = fresh_id()
    names = [site.keys.probe(probe), in_progress_key(probe)]
    try:
        for name in names:
            await ask(site.redis, "SET", name, probe, "PX", PROBE_TTL_MS)
            # Everything that changes does so in scripts.
            if await ask(site.redis, "EVAL", READ_BACK, 1, name) != probe.encode():
                raise WrongError(f"What was written to {name} was not read back: does something else delete keys?")
            await ask(site.redis, "DEL", name)
        # PUBLISH needs a channel; the next check tries it.
        commands = sorted({*ASKED, *commands_of_scripts()} - {"PUBLISH"})
        forbidden = await ask(site.redis, "EVAL", FORBIDDEN, 1, names[0], *commands)
    except RedisError as error:
        raise WrongError(_cannot_write(site, error)) from error
    if forbidden:
        told = " and ".join(command.decode() for command in forbidden)
        raise WrongError(f"This user may not use {told}, and no worker goes on without: give it {site.keys.rights}.")
    return "A key of ours and one of arq's were written, read by a script, and removed."


def _cannot_write(site: Site, error: RedisError) -> str:
    if is_forbidden(error):
        return f"This user may not write, or not by scripts: give it {site.keys.rights}."
    if isinstance(error, ReadOnlyError):
        return "The server is a replica that takes no writes: set RECKONER_REDIS_URL to the primary."
    if isinstance(error, OutOfMemoryError):
        return "The server's memory is full: raise maxmemory, or lower RECKONER_RESULT_TTL_S."
    return refused(error)


async def telling(site: Site) -> str:
    """What is told on a channel of ours is heard."""
    channel = site.keys.events(fresh_id())
    async with site.redis.pubsub() as listening:
        try:
            await listening.subscribe(channel)
            async with asyncio.timeout(HEAR_WITHIN_S):
                await _hear(listening, "subscribe")
                await ask(site.redis, "PUBLISH", channel, "a look")
                await _hear(listening, "message")
        except TimeoutError as error:
            raise WrongError(f"What is told on {channel} is not heard within {HEAR_WITHIN_S:g} s.") from error
        except NoPermissionError as error:
            raise WrongError(f"This user may not subscribe or publish: give it {site.keys.rights}.") from error
    return "What is told on a channel is heard."


async def _hear(listening: Any, kind: str) -> None:
    while True:
        message: Mapping[str, Any] | None = await listening.get_message(timeout=HEAR_WITHIN_S)
        if message is not None and message["type"] == kind:
            return


SERVER_CHECKS: dict[str, Check[Site]] = {
    "redis": version,
    "eviction": eviction,
    "persistence": persistence,
    "clock": clock,
    "memory": memory,
    "writing": writing,
    "telling": telling,
}
