"""The recorded events of `reckoner import`: they are read from Redis, or only their mark is."""

from functools import partial
from typing import TYPE_CHECKING, Literal

from reckoner.producer.cli.edge import connect, run_async

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reckoner.producer.importing import RecordedEvents
    from reckoner.producer.importing.recorded import ReadEvents
    from reckoner.shared.serving.events import Mark
    from reckoner.shared.settings import Settings

# What becomes of the events: an import adds them, or only notes their mark since the source has them.
Use = Literal["add", "note"]


def events_reader(settings: "Settings", *, events: bool, source_has_events: bool) -> "ReadEvents | None":
    """What reads the events, None if none of the options says so.

    Raises:
        UsageError: both do.
    """
    from reckoner.shared.errors import UsageError

    if events and source_has_events:
        raise UsageError(
            "Either the source has the recorded events, or --events adds them. Remove --events or --source-has-events."
        )
    if not events and not source_has_events:
        return None
    return partial(_read, settings, "add" if events else "note")


def require_events_alone(*, events: bool, given: "Sequence[str]") -> None:
    """Check an import without a source, for which these options are given.

    Raises:
        UsageError: it does not take events, or an option is for a source.
    """
    from reckoner.shared.errors import UsageError

    if not events:
        raise UsageError("Name a SOURCE to import, or append the recorded events with --events.")
    if given:
        raise UsageError(f"{given[0]} is for a source. Name a SOURCE, or remove {given[0]}.")


def _read(
    settings: "Settings", use: Use, progress: "Callable[[int, int | None], None]", after: "Mark"
) -> "RecordedEvents":
    """The events after a mark.

    Raises:
        RedisUnavailableError: Redis is away.
    """
    return run_async(_from_redis(settings, use, progress, after))


async def _from_redis(
    settings: "Settings", use: Use, progress: "Callable[[int, int | None], None]", after: "Mark"
) -> "RecordedEvents":
    from redis.exceptions import RedisError

    from reckoner.producer.importing import RecordedEvents, read_recorded
    from reckoner.shared.redis.connections import unavailable

    async with connect(settings) as reckoner:
        try:
            if use == "note":
                return RecordedEvents(await reckoner.events.take(), taken=False)
            return await read_recorded(reckoner.events, after, progress)
        except RedisError as error:
            raise unavailable(reckoner.redis, error) from error
