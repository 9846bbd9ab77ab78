"""The checks of the Redis server itself."""

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

from reckoner.producer.client.status import count_events
from reckoner.producer.doctor.findings import Check, CheckError, NotCheckedError, redis_message
from reckoner.shared.flows.nights import Nights
from reckoner.shared.ids import fresh_id
from reckoner.shared.redis.connections import is_command_unavailable, is_forbidden, server_info
from reckoner.shared.redis.keys import Keys, in_progress_key
from reckoner.shared.redis.scripts import ask, commands_of_scripts
from reckoner.shared.serving.history import History
from reckoner.shared.serving.results import Results
from reckoner.shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis.asyncio import Redis

# The server's clock decides what is alive and due; the hosts' clocks decide what is shown.
MAX_SKEW_S = 5.0
MAX_MEMORY = 0.9
MAX_EVENTS_SHARE = 0.8
PROBE_TTL_MS = 10_000
DELIVERY_S = 2.0
# The commands that workers and clients send outside scripts.
SENT_COMMANDS = (
    "BLPOP", "DEL", "EXEC", "EXISTS", "EXPIRE", "GET", "GETDEL", "HDEL", "HEXISTS", "HGET", "HGETALL", "HKEYS",
    "HLEN", "HMGET", "HSCAN", "HSET", "HVALS", "INCR", "LRANGE", "MGET", "MULTI", "PEXPIRE", "PTTL", "RENAME", "SET",
    "SMEMBERS", "TIME", "TTL", "TYPE", "UNLINK", "XDEL", "XINFO STREAM", "XLEN", "XRANGE", "XREVRANGE", "XTRIM",
    "ZADD", "ZCARD", "ZCOUNT", "ZMSCORE", "ZRANDMEMBER", "ZRANGE", "ZRANGEBYLEX", "ZRANGEBYSCORE", "ZREM",
    "ZREMRANGEBYSCORE", "ZREVRANGE", "ZSCAN", "ZSCORE",
)  # fmt: skip
# Commands that take their keys by number. Valkey 9.1 ends if a script asks for the right to one without its keys.
WITH_NUMBER_OF_KEYS = frozenset({"ZUNIONSTORE"})
READ_BACK = "return redis.call('GET', KEYS[1])"
# Returns the commands in ARGV that this user may not run on the key; none if the server cannot check.
FORBIDDEN = """
local forbidden = {}
for _, command in ipairs(redis.acl_check_cmd and ARGV or {}) do
  local words = {}
  for word in string.gmatch(command, '%S+') do words[#words + 1] = word end
  words[#words + 1] = KEYS[1]
  if not redis.acl_check_cmd(unpack(words)) then
    forbidden[#forbidden + 1] = command
  end
end
return forbidden
"""


@dataclass(frozen=True)
class Site:
    """The Redis to check, with the settings of this command line."""

    redis: "Redis"
    settings: Settings
    where: str
    """The address of the Redis, without secrets."""

    @property
    def keys(self) -> Keys:
        """The keys under the prefix."""
        return Keys(self.settings.prefix)

    @property
    def results(self) -> Results:
        """The results and generations."""
        return Results(self.redis, self.keys)

    @property
    def nights(self) -> Nights:
        """The nights."""
        return Nights(self.redis, self.keys)

    @property
    def history(self) -> History:
        """The history of nights."""
        return History(self.redis, self.keys)


async def look(site: Site, *command: str) -> Any:
    """The answer to a command that only reads.

    Raises:
        NotCheckedError: the server does not allow or know the command.
    """
    try:
        return await ask(site.redis, *command)
    except ResponseError as error:
        if is_command_unavailable(error):
            raise NotCheckedError(
                f"Not checked: the server does not allow {' '.join(command)} to this user."
            ) from error
        raise


async def version(site: Site) -> str:
    """Redis answers; connecting has checked that it is new enough and not a cluster."""
    server = await server_info(site.redis)
    if not server.version:
        raise NotCheckedError(f"The server at {site.where} does not show its version to this user.")
    return f"{server.name} {server.version} at {site.where}."


async def eviction(site: Site) -> str:
    """Redis must not evict acknowledged data."""
    policy = (await look(site, "INFO", "memory")).get("maxmemory_policy", "")
    if policy != "noeviction":
        raise CheckError(f"The policy is {policy}: full memory loses jobs. Set maxmemory-policy noeviction.")
    return "noeviction: full memory loses no data."


async def persistence(site: Site) -> str:
    """Acknowledged data survive a restart."""
    info = await look(site, "INFO", "persistence")
    if not info.get("aof_enabled"):
        raise CheckError("There is no append-only file: a restart loses jobs and lists. Set appendonly yes.")
    if info.get("aof_last_write_status", "ok") != "ok":
        raise CheckError("The last write to the append-only file failed. Check the server's disk and log.")
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        raise CheckError("The last RDB snapshot failed. Check the server's disk and log.")
    try:
        fsync = (await look(site, "CONFIG GET", "appendfsync")).get("appendfsync", "")
    except NotCheckedError:
        return "Append-only file; its fsync policy is unknown."
    if fsync == "no":
        raise CheckError(
            "appendfsync is no: a crash of the host may lose any amount of data. Set appendfsync everysec."
        )
    return f"Append-only file, fsync {fsync}; the last write succeeded."


async def clock(site: Site) -> str:
    """The server's clock agrees with this host's, corrected by half the round trip."""
    before_s = time.time()
    seconds, microseconds = await look(site, "TIME")
    after_s = time.time()
    skew_s = int(seconds) + int(microseconds) / 1e6 - (before_s + after_s) / 2
    if abs(skew_s) > MAX_SKEW_S:
        raise CheckError(f"The clocks of the server and this host differ by {abs(skew_s):,.1f} s. Use NTP on both.")
    return f"{abs(skew_s) * 1000:,.0f} ms from this host's clock."


async def memory(site: Site) -> str:
    """Redis has free memory."""
    info = await look(site, "INFO", "memory")
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    usage = f"{used / 2**20:,.1f} MiB in use"
    if not most:
        return f"{usage}, no limit set."
    usage += f" of {most / 2**20:,.1f} MiB"
    if used > MAX_MEMORY * most:
        raise CheckError(f"{usage}. Raise maxmemory, or lower RECKONER_RESULT_TTL_S.")
    return f"{usage}."


async def events(site: Site) -> str:
    """There is room for recorded events."""
    count, most = await count_events(site.redis, site.keys), site.settings.max_events
    found = f"{count:,} recorded events of at most {most:,} are kept until the data of all lists hold them"
    if count >= MAX_EVENTS_SHARE * most:
        raise CheckError(
            f"{found}; above that, `record` refuses. Import them every night, by --events in RECKONER_SOURCE, or raise "
            "RECKONER_MAX_EVENTS."
        )
    return f"{found}."


async def writing(site: Site) -> str:
    """A key under the prefix and a key of arq can be written, read by a script, and removed."""
    probe = fresh_id()
    names = [site.keys.probe(probe), in_progress_key(probe)]
    try:
        for name in names:
            await ask(site.redis, "SET", name, probe, "PX", PROBE_TTL_MS)
            # Read by a script, since scripts make all changes.
            if await ask(site.redis, "EVAL", READ_BACK, 1, name) != probe.encode():
                raise CheckError(f"The key {name} was written, but is gone. Does another program delete keys?")
            await ask(site.redis, "DEL", name)
        # PUBLISH needs a channel; the check `pubsub` covers it. XINFO is checked with its subcommand.
        commands = sorted({*SENT_COMMANDS, *commands_of_scripts()} - {"PUBLISH", "XINFO"})
        asked = [f"{name} {names[0]} 1" if name in WITH_NUMBER_OF_KEYS else name for name in commands]
        forbidden = await ask(site.redis, "EVAL", FORBIDDEN, 1, names[0], *asked)
    except RedisError as error:
        raise CheckError(_cannot_write(site, error)) from error
    if forbidden:
        listed = " and ".join(command.decode().partition(f" {names[0]}")[0] for command in forbidden)
        raise CheckError(f"This user may not use {listed}, which workers need. Grant {site.keys.rights}.")
    return "Keys can be written, read by scripts, and removed."


def _cannot_write(site: Site, error: RedisError) -> str:
    if is_forbidden(error):
        return f"This user may not write keys or run scripts. Grant {site.keys.rights}."
    if isinstance(error, ReadOnlyError):
        return "The server is a read-only replica. Set RECKONER_REDIS_URL to the primary."
    if isinstance(error, OutOfMemoryError):
        return "The server's memory is full. Raise maxmemory, or lower RECKONER_RESULT_TTL_S."
    return redis_message(error)


async def pubsub(site: Site) -> str:
    """Messages on a channel under the prefix are delivered."""
    channel = site.keys.events(fresh_id())
    async with site.redis.pubsub() as listening:
        try:
            await listening.subscribe(channel)
            async with asyncio.timeout(DELIVERY_S):
                await _receive(listening, "subscribe")
                await ask(site.redis, "PUBLISH", channel, "test")
                await _receive(listening, "message")
        except TimeoutError as error:
            raise CheckError(f"A message on {channel} was not delivered within {DELIVERY_S:g} s.") from error
        except NoPermissionError as error:
            raise CheckError(f"This user may not subscribe or publish. Grant {site.keys.rights}.") from error
    return "Messages are delivered."


async def _receive(listening: Any, kind: str) -> None:
    while True:
        message: Mapping[str, Any] | None = await listening.get_message(timeout=DELIVERY_S)
        if message is not None and message["type"] == kind:
            return


SERVER_CHECKS: dict[str, Check[Site]] = {
    "redis": version,
    "eviction": eviction,
    "persistence": persistence,
    "clock": clock,
    "memory": memory,
    "events": events,
    "writing": writing,
    "pubsub": pubsub,
}
