"""A client's connections to one Redis, and the objects that use them."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from reckoner.producer.client.asking import Asking
from reckoner.producer.client.caching import CachingResults
from reckoner.producer.client.deadlines import Deadlines
from reckoner.producer.client.filtering import Filtering
from reckoner.producer.client.questions import Questions
from reckoner.producer.client.recording import Recording
from reckoner.producer.client.waiting import Waiting
from reckoner.shared.errors import WrongLoopError
from reckoner.shared.event_types import EventTypes
from reckoner.shared.flows.flows import Flows
from reckoner.shared.flows.runs import Runs
from reckoner.shared.redis.connections import check, connect
from reckoner.shared.redis.keys import Keys
from reckoner.shared.redis.multiplexed import MultiplexedConnection
from reckoner.shared.serving.events import Events
from reckoner.shared.serving.impressions import Impressions, Rotation

if TYPE_CHECKING:
    from redis.asyncio import Redis


class Client:
    """A client in one event loop: a connection for commands, one for reads and new jobs, one for notifications."""

    def __init__(
        self,
        url: str,
        prefix: str,
        first_look_s: float,
        max_queued: int | None,
        fallback: Sequence[str],
        event_types: EventTypes,
        max_events: int,
        rotation: Rotation | None,
    ) -> None:
        self.keys = Keys(prefix)
        self.redis: Redis = connect(url, max_connections=1)
        reading = connect(url, client_name="reckoner-reading", max_connections=1)
        self._reading = MultiplexedConnection(reading)
        self._listening = connect(url, client_name="reckoner-listening")
        self.pools = [one.connection_pool for one in (self.redis, reading, self._listening)]
        self.flows = Flows(self.redis, self.keys, first_look_s)
        self.results = CachingResults(self.redis, self.keys, self._reading.read, fallback)
        self.runs = Runs(self.redis, self.keys, first_look_s)
        self.waiting = Waiting(self._listening, self.flows)
        # Without redis-py's path, which takes 2 % of a click.
        creating = Flows(cast("Redis", self._reading), self.keys, first_look_s)
        self.asking = Asking(self.flows, creating, self.results, self.waiting, max_queued)
        self.filtering = Filtering(self.results, self.asking)
        self.questions = Questions(self.asking, self.results)
        self.events = Events(self.redis, self.keys, first_look_s, max_events)
        # An event that is sent again would count twice.
        recording = Events(cast("Redis", self._reading.once), self.keys, first_look_s, max_events)
        self.rotates = rotation is not None
        self.impressions = Impressions(cast("Redis", self._reading), self.keys, rotation or Rotation())
        self.recording = Recording(recording, self.impressions, self.results, event_types, max_events, max_queued)
        self.deadlines = Deadlines()
        self._loop: asyncio.AbstractEventLoop | None = None

    def require_own_loop(self) -> None:
        """Check that this client is used in one event loop only, which owns its connections.

        Raises:
            WrongLoopError: it was used in another loop before.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                raise WrongLoopError
            self._loop = loop

    async def open(self) -> None:
        """Connect, and check the server; a failure closes the client.

        Raises:
            RedisUnavailableError: Redis does not answer.
        """
        self.require_own_loop()
        try:
            await check(self.redis)
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Close the connections."""
        self.require_own_loop()
        self.deadlines.close()
        await self.waiting.aclose()
        await self._listening.connection_pool.aclose()
        await self._reading.aclose()
        await self.redis.connection_pool.aclose()

    @property
    def closed(self) -> bool:
        """Whether the client is closed."""
        return self.waiting.closed
