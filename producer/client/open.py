"""`OpenReckoner`: a `Reckoner` with its parts, for the commands, which need more than the calls of applications."""

from typing import TYPE_CHECKING, Any

from reckoner.producer.client.calls import ASK_S, translates_redis_errors
from reckoner.producer.client.reckoner import Reckoner
from reckoner.shared.event_types import parse_event_types
from reckoner.shared.serving.impressions import Rotation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis
    from redis.asyncio.connection import ConnectionPool

    from reckoner.producer.client.answers import BasketAnswer
    from reckoner.producer.client.asking import Asking
    from reckoner.producer.client.caching import CachingResults
    from reckoner.shared.flows.flow_state import Flow
    from reckoner.shared.flows.flows import Flows
    from reckoner.shared.flows.runs import Runs
    from reckoner.shared.redis.keys import Keys
    from reckoner.shared.serving.events import Events
    from reckoner.shared.serving.impressions import Impressions
    from reckoner.shared.serving.results import Answer
    from reckoner.shared.settings import Settings
    from reckoner.shared.wire.filters import Filter
    from reckoner.shared.wire.shapes import Record


def client_options(settings: "Settings") -> dict[str, Any]:
    """The options of a client that follow from the settings."""
    return {
        "prefix": settings.prefix,
        "first_look_s": settings.first_look_s,
        "max_queued": settings.max_queued,
        "fallback": settings.fallback,
        "event_types": parse_event_types(settings.event_types),
        "max_events": settings.max_events,
        "rotation": Rotation(settings.rotation) if settings.rotation else None,
    }


class OpenReckoner(Reckoner):
    """A `Reckoner` that shows its connection for commands and what stands on it."""

    @property
    def redis(self) -> "Redis":
        """The connection for commands."""
        return self._client.redis

    @property
    def pools(self) -> "Sequence[ConnectionPool]":
        """The pools of all connections."""
        return self._client.pools

    @property
    def keys(self) -> "Keys":
        """The keys under its prefix."""
        return self._client.keys

    @property
    def flows(self) -> "Flows":
        """The flows."""
        return self._client.flows

    @property
    def results(self) -> "CachingResults":
        """The results and generations."""
        return self._client.results

    @property
    def events(self) -> "Events":
        """The recorded events."""
        return self._client.events

    @property
    def rotation(self) -> "Impressions | None":
        """The impressions by which lists rotate, None if they do not."""
        return self._client.impressions if self._client.rotates else None

    @property
    def asking(self) -> "Asking":
        """The requests to the workers."""
        return self._client.asking

    @property
    def runs(self) -> "Runs":
        """The runs."""
        return self._client.runs

    @translates_redis_errors
    async def ping(self, *, timeout: float | None = ASK_S) -> None:
        """Check that Redis answers.

        Raises:
            RedisUnavailableError: it does not, or refuses reads.
        """
        await self._client.results.generations.pointer(self._client.keys.current)

    @translates_redis_errors
    async def reach(
        self, n: int | None = None, generation: str | None = None, *, timeout: float | None = ASK_S
    ) -> "tuple[Record, int]":
        """A generation's record, by default the current one's, and the number of places to read.

        That is `n`, or at most ten by default.

        Raises:
            NothingFittedError: no model was fitted yet, or the record is missing.
            GenerationUnknownError: there is no such generation.
            UsageError: `n` is below 1 or above the length of the lists, or the generation's id is invalid.
        """
        return await self._reach(n, generation)

    @translates_redis_errors
    async def cached(
        self, users: "Sequence[str]", n: int, record: "Record | None", wanted: "Filter | None" = None
    ) -> "list[Answer]":
        """Like `get_many`, but in the generation of `record`, or the current one."""
        return await self._cached(users, n, record=record, wanted=wanted)

    @translates_redis_errors
    async def computed(
        self,
        users: "Sequence[str]",
        n: int | None = None,
        *,
        fresh: bool = False,
        record: "Record | None" = None,
        wanted: "Filter | None" = None,
    ) -> "tuple[list[Answer], dict[str, Flow | None]]":
        """Like `recommend_many`, but in the generation of `record`, or the current one, and failed jobs are returned.

        Returns:
            The lists of the users whose jobs succeeded; and the flow for each other user, None if Redis lost the job.
        """
        return await self._computed(users, n, fresh=fresh, record=record, wanted=wanted)

    @translates_redis_errors
    async def recommended_for(
        self, items: "Sequence[str]", n: int | None = None, *, wanted: "Filter | None" = None
    ) -> "BasketAnswer":
        """Like `recommend_for`, with a filter."""
        return await self._basket(items, n, wanted)
