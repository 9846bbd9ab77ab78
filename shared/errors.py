"""The one tree of errors; an error's docstring is its default message, its attribute `evidence` what it was seen on."""

from collections.abc import Sequence
from inspect import cleandoc
from typing import Any


class ReckonerError(Exception):
    """Something failed that was not foreseen."""

    exit_code = 1

    def __init__(self, message: str | None = None, **evidence: object) -> None:
        super().__init__(message or cleandoc(type(self).__doc__ or ""))
        self.evidence = evidence


class UsageError(ReckonerError):
    """The command was not called as it can be."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting is unknown or has a value that it cannot have."""


class MissingExtraError(ReckonerError):
    """A part of Ready Reckoner that this needs is not installed."""


class RedisUnavailableError(ReckonerError):
    """Redis does not answer."""


class NoRedisError(RedisUnavailableError):
    """No Redis: set RECKONER_REDIS_URL, or start the embedded one with `reckoner up` and leave it running."""


class EmbeddedServerError(ReckonerError):
    """The embedded Redis server did not start."""


class WorkersUnavailableError(ReckonerError):
    """The workers did not start, or have ended."""


class SourceError(ReckonerError):
    """A file cannot be read, or does not hold what it should."""


class NotTimesError(SourceError):
    """A column does not hold times."""


class OutputError(ReckonerError):
    """A file cannot be written."""


class StoreError(ReckonerError):
    """The artifact store cannot be used."""


class ForeignStoreError(ReckonerError):
    """The artifact store belongs to another prefix or another Redis."""


def is_environment_error(error: BaseException) -> bool:
    """Whether the store, the disk or the memory has failed, which is no fault of what was asked for and may pass."""
    if isinstance(error, StoreError):
        return not isinstance(error, ArtifactMissingError | ArtifactDamagedError)
    # asyncio's time-out is an OSError too, one without a number.
    times_out = isinstance(error, TimeoutError) and error.errno is None
    return isinstance(error, OSError | MemoryError) and not times_out


class ArtifactMissingError(StoreError):
    """The store does not hold that artifact."""


class ArtifactDamagedError(StoreError):
    """An artifact in the store does not match its hash."""


class ForeignFormatError(ArtifactDamagedError):
    """An artifact in the store was made by another release, or is damaged."""


class NothingImportedError(ReckonerError):
    """There is no snapshot yet: import interactions first, with `reckoner import PATH`."""


class NothingFittedError(ReckonerError):
    """There is no model yet: build one first, with `reckoner fit`."""


class WireError(ReckonerError):
    """Bytes from Redis do not have a known shape."""


class FlowUnknownError(ReckonerError):
    """No such job: it never was, or it ended so long ago that it is forgotten."""


class FlowFailedError(ReckonerError):
    """The job failed."""


class FlowCancelledError(FlowFailedError):
    """The job was cancelled."""


class QueueFullError(ReckonerError):
    """The queue holds as many jobs as it may: ask again when the workers have done some of them."""

    def __init__(self, queued: int, most: int, wanted: int = 1, taken: Sequence[Any] = (), before: int = 0) -> None:
        """`taken` are the first of those that were asked for, behind so many `before` them; the others were refused."""
        count = before + len(taken)
        only = f"Only the first {count:,} of {wanted:,} were taken: the" if count else "The"
        super().__init__(
            f"{only} queue holds {queued:,} jobs, and takes no more from {most:,} on (RECKONER_MAX_QUEUED); ask again "
            "when the workers have done some of them.",
            queued=queued,
            most=most,
        )
        self.queued, self.most, self.taken = queued, most, taken


class LetterUnknownError(ReckonerError):
    """No such dead letter: it was retried or dropped, or it made way for newer ones."""


class RetryRefusedError(ReckonerError):
    """This dead letter cannot be retried."""


class WaitTimeoutError(ReckonerError):
    """The answer did not come in time; what was asked for goes on."""


class ClientClosedError(ReckonerError):
    """This client is closed; what was asked for goes on, and another client can wait for it."""


class WrongLoopError(ReckonerError):
    """This client is used in another event loop already: make one client for each loop, and use it there alone."""


class WorkerUnknownError(ReckonerError):
    """No such worker is running: `reckoner status` shows those that are."""


class DrainRefusedError(ReckonerError):
    """This worker cannot be drained: stop its process with SIGTERM, and it hands its jobs back."""


class ItemUnknownError(ReckonerError):
    """The data do not have that item."""


class UserUnknownError(ReckonerError):
    """The data do not have that user."""
