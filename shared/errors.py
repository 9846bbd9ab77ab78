"""All errors: a docstring is the default message, the attribute `evidence` holds the values that caused it."""

from collections.abc import Sequence
from inspect import cleandoc
from typing import Any

# The exit code of a supervised import whose source is away: EX_TEMPFAIL of sysexits.h.
SOURCE_AWAY = 75


class ReckonerError(Exception):
    """An unexpected error occurred."""

    exit_code = 1

    def __init__(self, message: str | None = None, **evidence: object) -> None:
        super().__init__(message or cleandoc(type(self).__doc__ or ""))
        self.evidence = evidence


class UsageError(ReckonerError):
    """The command has invalid arguments: see its `--help`."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting is unknown or invalid."""


class MissingExtraError(ReckonerError):
    """An optional dependency is not installed."""


class RedisUnavailableError(ReckonerError):
    """Redis does not answer."""


class NoRedisError(RedisUnavailableError):
    """No Redis: set RECKONER_REDIS_URL, or keep the embedded server running with `reckoner up`."""


class EmbeddedServerError(ReckonerError):
    """The embedded Redis server did not start."""


class WorkersUnavailableError(ReckonerError):
    """No worker is running: start workers with `reckoner up` or `reckoner workers`."""


class SourceError(ReckonerError):
    """A file cannot be read, or has invalid contents."""


class SourceAwayError(SourceError):
    """A database does not answer now: a retry may succeed."""


class NotTimesError(SourceError):
    """A column has invalid times."""


class ReadAgainError(ReckonerError):
    """A later value changes how a column is read, so the source is read again."""


class OutputError(ReckonerError):
    """A file cannot be written."""


class StoreError(ReckonerError):
    """The artifact store cannot be used."""


class ForeignStoreError(ReckonerError):
    """The artifact store belongs to another prefix or another Redis."""


def is_environment_error(error: BaseException) -> bool:
    """Whether the store, the disk or the memory failed: the request is valid, and a retry may succeed."""
    if isinstance(error, StoreError):
        return not isinstance(error, ArtifactMissingError | ArtifactDamagedError)
    # asyncio's timeout is an OSError without an errno.
    times_out = isinstance(error, TimeoutError) and error.errno is None
    return isinstance(error, OSError | MemoryError) and not times_out


class ArtifactMissingError(StoreError):
    """The store has no such artifact."""


class ArtifactDamagedError(StoreError):
    """An artifact in the store does not match its hash."""


class ForeignFormatError(ArtifactDamagedError):
    """An artifact in the store is from another release, or damaged."""


class NothingImportedError(ReckonerError):
    """There is no snapshot yet: import interactions with `reckoner import PATH`."""


class NothingFittedError(ReckonerError):
    """There is no model yet: build one with `reckoner fit`."""


class UserForgottenError(ReckonerError):
    """The user is forgotten: nothing is recorded for them until `reckoner forget --undo`."""


class ForgetRefusedError(ReckonerError):
    """A job or a run is under way, which may need a snapshot: repeat `reckoner forget --now` when it has ended."""


class GenerationUnknownError(ReckonerError):
    """There is no such generation: see `reckoner status`."""


class ListUnknownError(ReckonerError):
    """There is no such list: `reckoner lists` has the names."""


class EntryUnknownError(ReckonerError):
    """The history has no such entry: see `reckoner runs`."""


class BarredError(ReckonerError):
    """This generation was rolled back."""

    def __init__(self, generation: str) -> None:
        super().__init__(
            f"Generation {generation} was rolled back, so no run makes it live. Make it live again with `reckoner "
            f"promote {generation}`, or import new data and fit a model."
        )


class RunInProgressError(ReckonerError):
    """Another run of this generation is in progress."""

    def __init__(self, run: str) -> None:
        super().__init__(
            f"Run {run} of this generation is in progress, and only one of the two is a dry run. Wait for its end, or "
            f"end it with `reckoner cancel {run}`."
        )


class NightInProgressError(ReckonerError):
    """Another night is in progress."""

    def __init__(self, night: str) -> None:
        super().__init__(f"Night {night} is in progress, with other options. Wait for its end: see `reckoner status`.")


class PromotionError(ReckonerError):
    """This generation cannot go live."""


class ListsMissingError(ReckonerError):
    """The generation does not hold every user's list: compute them with `reckoner batch`."""


class WireError(ReckonerError):
    """Bytes from Redis are invalid."""


class FlowUnknownError(ReckonerError):
    """No such job: the id is wrong, or its record has expired."""


class FlowFailedError(ReckonerError):
    """The job failed."""


class FlowCancelledError(FlowFailedError):
    """The job was cancelled."""


class QueueFullError(ReckonerError):
    """The queue is full: retry when the workers have finished some jobs."""

    def __init__(self, queued: int, most: int, wanted: int = 1, taken: Sequence[Any] = (), before: int = 0) -> None:
        """`taken` are the accepted jobs of the refused batch; `before` counts the jobs of earlier batches."""
        count = before + len(taken)
        only = f"Only the first {count:,} of {wanted:,} jobs were enqueued: the" if count else "The"
        super().__init__(
            f"{only} queue is full with {queued:,} jobs (RECKONER_MAX_QUEUED is {most:,}). Retry when the workers have "
            "finished some of them.",
            queued=queued,
            most=most,
        )
        self.queued, self.most, self.taken = queued, most, taken


class LetterUnknownError(ReckonerError):
    """No such dead letter: it was retried, dropped, or replaced by newer ones."""


class RetryRefusedError(ReckonerError):
    """This dead letter cannot be retried."""


class WaitTimeoutError(ReckonerError):
    """The answer did not arrive in time. The job continues."""


class ClientClosedError(ReckonerError):
    """This client is closed. Its jobs continue, and another client can wait for them."""


class WrongLoopError(ReckonerError):
    """This client belongs to another event loop: create one client for each loop."""


class WorkerUnknownError(ReckonerError):
    """No such worker is running: `reckoner status` lists the running workers."""


class DrainRefusedError(ReckonerError):
    """This worker cannot be drained: stop it with SIGTERM, and it returns its jobs to the queue."""


class EventRefusedError(UsageError):
    """The event is invalid."""


class EventsFullError(ReckonerError):
    """Redis holds too many events that no live list counts yet: import them, and record this one again."""


class HistoryTooLongError(ReckonerError):
    """A user would have too many events since the last import, or hide too many items."""


class ItemUnknownError(ReckonerError):
    """The snapshot has no such item."""


class UserUnknownError(ReckonerError):
    """The snapshot has no such user."""
