"""All routes of the page."""

from typing import TYPE_CHECKING

from msgspec import Struct
from starlette.responses import Response

from reckoner.producer.http.page import (
    changes,
    failures,
    items,
    models,
    nights,
    overview,
    people,
    queue,
    signing_in,
    workers,
)
from reckoner.producer.http.page.rendering import FILES, static_file
from reckoner.producer.http.problems import ProblemError
from reckoner.producer.http.routes import Route

if TYPE_CHECKING:
    from reckoner.producer.http.calls import Call

KEPT = {"cache-control": "public, max-age=31536000, immutable", "x-content-type-options": "nosniff"}


class Asked(Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the page; its version makes browsers fetch a new one."""

    name: str
    version: str = ""


async def file(_: "Call", asked: Asked) -> Response:
    """Send a style sheet, a script or a picture."""
    if asked.name not in FILES:
        raise ProblemError("no-such-path", "The page has no such file.")
    return Response(static_file(asked.name)[0], media_type=FILES[asked.name], headers=KEPT)


ROUTES = (
    *overview.ROUTES,
    *nights.ROUTES,
    *queue.ROUTES,
    *workers.ROUTES,
    *failures.ROUTES,
    *people.ROUTES,
    *items.ROUTES,
    *models.ROUTES,
    *changes.ROUTES,
    *signing_in.ROUTES,
    Route(
        method="GET",
        path="/page/{name}",
        role=None,
        handle=file,
        summary="Send a file of the page.",
        asked=Asked,
        described=False,
    ),
)
