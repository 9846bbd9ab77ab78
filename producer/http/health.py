"""Whether this process runs, and whether it should get requests."""

import structlog
from msgspec import Struct

from reckoner.producer.http.calls import Call
from reckoner.producer.http.problems import ProblemError
from reckoner.producer.http.routes import Nothing, Route
from reckoner.shared.errors import ReckonerError

log = structlog.get_logger()

# A probe's own limit is often a second.
PROBE_S = 0.8


class Health(Struct, frozen=True):
    """What a probe sees."""

    status: str


async def live(_: Call, __: Nothing) -> Health:
    """This process answers."""
    return Health("live")


async def ready(call: Call, _: Nothing) -> Health:
    """This process answers requests: it does not stop, and Redis answers.

    Raises:
        ProblemError: it is not ready.
    """
    if call.server.stopping:
        raise ProblemError("not-ready", "The server stops.")
    try:
        await call.reckoner.ping(timeout=PROBE_S)
    except ReckonerError as error:
        # Whoever asks needs no token, and need not know where Redis is.
        log.warning("not ready", error=str(error))
        raise ProblemError("not-ready", "Redis does not answer.") from error
    return Health("ready")


ROUTES = (
    Route(
        method="GET",
        path="/health/live",
        role=None,
        handle=live,
        summary="Tell that the process runs.",
        answer=Health,
        counted=False,
    ),
    Route(
        method="GET",
        path="/health/ready",
        role=None,
        handle=ready,
        summary="Tell whether requests are to be sent here: it does not stop, and Redis answers.",
        answer=Health,
        problems=("not-ready",),
        counted=False,
    ),
)
