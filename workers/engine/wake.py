"""Waits for jobs: one task, with a connection of its own, blocks on the wake lists of the lanes."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from reckoner.shared.redis.connections import is_transient_redis_error
from reckoner.shared.redis.keys import wake_key
from reckoner.shared.redis.multiplexed import MultiplexedConnection
from reckoner.shared.redis.refusals import is_wrong_type
from reckoner.workers.engine.claims import Claims, EngineKeys, decode_mail

# The timeout of one blocking pop. A lost connection is noticed soon after.
WAIT_S = 5
RETRY_S = 0.5

log = structlog.get_logger()


class Wake:
    """Blocks on the wake lists of the lanes that its worker can claim from, and on no others.

    No other worker gets a token that it pops. So it pops the next one only after its worker has claimed.
    """

    def __init__(
        self,
        redis: Redis,
        keys: EngineKeys,
        claims: Claims,
        woken: Callable[[], None],
        mailed: Callable[[str], None],
    ) -> None:
        self._redis = redis
        # For one caller only: redis-py's own path takes three times the CPU of a pop.
        self._connection = MultiplexedConnection(redis)
        self._keys = keys
        self._claims = claims
        self._woken = woken
        self._mailed = mailed
        self._lanes: tuple[int, ...] = ()
        self._ready = asyncio.Event()
        self._blocked_on: tuple[int, ...] | None = None

    def listen(self, lanes: Sequence[int]) -> bool:
        """Block on these lanes next. False if it now blocks without some of them, and needs a message to notice."""
        self._lanes = tuple(lanes)
        self._ready.set()
        return self._blocked_on is None or set(self._lanes) <= set(self._blocked_on)

    async def run(self) -> None:
        """Wake the worker, for ever."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            try:
                await self._wait()
            except Exception as error:
                if is_wrong_type(error):
                    log.warning("wake list replaced", reason="the key held another type")
                    await self._replace_lists()
                elif not is_transient_redis_error(error):
                    raise
                self._ready.set()
                await asyncio.sleep(RETRY_S)

    async def _replace_lists(self) -> None:
        """Replace keys of another type: a claim replaces the lanes' lists, a message this worker's mail."""
        self._woken()
        with contextlib.suppress(RedisError):
            await self._claims.send("stir")

    async def _wait(self) -> None:
        self._blocked_on = self._lanes
        try:
            lists = [wake_key(self._keys.lanes[lane]) for lane in self._blocked_on]
            popped = decode_mail(await self._connection.read("BLPOP", self._keys.mail, *lists, WAIT_S))
        except asyncio.CancelledError:
            # The server would still pop, for nobody.
            await self._connection.stop()
            await self._redis.connection_pool.disconnect()
            raise
        finally:
            self._blocked_on = None
        if popped is None:
            self._ready.set()
        elif popped[0] == self._keys.mail.encode():
            self._ready.set()
            self._mailed(popped[1].decode(errors="replace"))
        else:
            self._ready.clear()
            self._woken()
