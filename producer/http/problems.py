"""Problems: what an answer says that is no success, as RFC 9457 has it; one table for all errors of the client."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from reckoner.shared import errors

# The type of a problem is this and its name: stable, and explained in docs/http.md.
TYPE_PREFIX = "urn:reckoner:problem:"
MEDIA_TYPE = b"application/problem+json"


class Kind(NamedTuple):
    """A kind of problem: its status, its title, and after how many seconds another try may succeed."""

    status: int
    title: str
    retry_after_s: int | None = None


KINDS: Mapping[str, Kind] = {
    "malformed": Kind(400, "The request cannot be read"),
    "no-token": Kind(401, "A token is needed"),
    "role-too-low": Kind(403, "The token's role does not allow this"),
    "foreign-host": Kind(403, "The host name is not this machine's"),
    "foreign-origin": Kind(403, "The change comes from another site"),
    "no-such-path": Kind(404, "There is nothing at this path"),
    "user-unknown": Kind(404, "The user is unknown"),
    "item-unknown": Kind(404, "The item is unknown"),
    "list-unknown": Kind(404, "The list is unknown"),
    "job-unknown": Kind(404, "The job is unknown"),
    "generation-unknown": Kind(404, "The generation is unknown"),
    "run-unknown": Kind(404, "The run is unknown"),
    "letter-unknown": Kind(404, "The dead letter is unknown"),
    "worker-unknown": Kind(404, "The worker is unknown"),
    "method-not-allowed": Kind(405, "The path does not take this method"),
    "slow-request": Kind(408, "The request did not arrive in time"),
    "no-model": Kind(409, "There is no model yet"),
    "conflict": Kind(409, "The present state does not allow this"),
    "cancelled": Kind(409, "The job was cancelled"),
    "body-too-large": Kind(413, "The body is too large"),
    "not-json": Kind(415, "The body is not JSON"),
    "invalid-parameter": Kind(422, "A value is invalid"),
    "unknown-parameter": Kind(422, "A parameter is unknown"),
    "queue-full": Kind(429, "The queue is full", 5),
    "events-full": Kind(429, "There are too many events", 60),
    "headers-too-large": Kind(431, "The request line or the headers are too large"),
    "internal": Kind(500, "An unexpected error occurred"),
    "job-failed": Kind(502, "The job failed"),
    "redis-away": Kind(503, "Redis does not answer", 1),
    "no-workers": Kind(503, "No worker is running", 5),
    "not-ready": Kind(503, "It is not ready", 1),
    "too-busy": Kind(503, "There are too many requests at once", 1),
    "time-over": Kind(504, "The answer was not ready in time"),
}

# The first class that matches counts.
NAMES: tuple[tuple[type[errors.ReckonerError], str], ...] = (
    (errors.UsageError, "invalid-parameter"),
    (errors.UserUnknownError, "user-unknown"),
    (errors.ItemUnknownError, "item-unknown"),
    (errors.ListUnknownError, "list-unknown"),
    (errors.FlowUnknownError, "job-unknown"),
    (errors.GenerationUnknownError, "generation-unknown"),
    (errors.EntryUnknownError, "run-unknown"),
    (errors.LetterUnknownError, "letter-unknown"),
    (errors.WorkerUnknownError, "worker-unknown"),
    (errors.NothingFittedError, "no-model"),
    (errors.NothingImportedError, "no-model"),
    (errors.FlowCancelledError, "cancelled"),
    (errors.FlowFailedError, "job-failed"),
    (errors.QueueFullError, "queue-full"),
    (errors.EventsFullError, "events-full"),
    (errors.RedisUnavailableError, "redis-away"),
    (errors.WorkersUnavailableError, "no-workers"),
    (errors.ClientClosedError, "not-ready"),
    (errors.WaitTimeoutError, "time-over"),
    (errors.UserForgottenError, "conflict"),
    (errors.BarredError, "conflict"),
    (errors.RunInProgressError, "conflict"),
    (errors.NightInProgressError, "conflict"),
    (errors.PromotionError, "conflict"),
    (errors.ListsMissingError, "conflict"),
    (errors.DrainRefusedError, "conflict"),
    (errors.RetryRefusedError, "conflict"),
    (errors.HistoryTooLongError, "conflict"),
)


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of an answer that is no success."""

    type: str
    title: str
    status: int
    detail: str
    near: str | None = None
    """What was probably meant."""


class ProblemError(Exception):
    """Ends a request with a problem of a kind; `headers` go with it."""

    def __init__(
        self, name: str, detail: str, *, near: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        kind = KINDS[name]
        self.status = kind.status
        self.problem = Problem(TYPE_PREFIX + name, kind.title, kind.status, detail, near)
        retry = {} if kind.retry_after_s is None else {"retry-after": str(kind.retry_after_s)}
        self.headers = retry | dict(headers or {})

    @property
    def body(self) -> bytes:
        """The problem as JSON."""
        return msgspec.json.encode(self.problem)


def as_problem(error: errors.ReckonerError) -> ProblemError:
    """The problem of an error of the client; `internal` for one that no request may cause."""
    name = next((name for kind, name in NAMES if isinstance(error, kind)), "internal")
    return ProblemError(name, str(error) if name != "internal" else "See the log of `reckoner serve`.")


def problem_schema() -> Any:
    """The JSON Schema of a problem."""
    return msgspec.json.schema(Problem)
