"""A shop with Django: what a visitor does changes their next page, sold-out items vanish, and nothing waits for long.

Run it beside the workers with `python -m examples.django_app runserver`, or with `gunicorn examples.django_app`. In a
project, settings, URLs and views are in separate files.
"""

import json
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from reckoner import (
    Answer,
    EventsFullError,
    FlowFailedError,
    HistoryTooLongError,
    NothingFittedError,
    QueueFullError,
    RedisUnavailableError,
    SyncReckoner,
    UsageError,
    WaitTimeoutError,
)

# The longest waits in seconds: to record an event, for a page's own list, and then for the popular one. The first and
# the last take long only if Redis hangs.
RECORD_S, PATIENCE_S, POPULAR_S = 0.3, 0.3, 1.0

# One client for each process, which all its threads share. It connects with the first call, also after a fork, so the
# shop starts without Redis.
reckoner = SyncReckoner(os.environ.get("RECKONER_REDIS_URL", "redis://localhost:6379"))

View = Callable[[HttpRequest], JsonResponse]


def refusing(view: View) -> View:
    """A view that says what is wrong with a request, such as an invalid id or type."""

    @wraps(view)
    def wrapped(request: HttpRequest) -> JsonResponse:
        try:
            return view(request)
        except (ValueError, KeyError, TypeError):
            return JsonResponse({"detail": "The request is not as expected."}, status=422)
        except UsageError as error:
            return JsonResponse({"detail": str(error)}, status=422)

    return wrapped


@refusing
def events(request: HttpRequest) -> JsonResponse:
    """Record what a user did, such as a purchase, a view or a dislike: their next page follows it."""
    event: dict[str, Any] = json.loads(request.body)
    user, item, kind = event["user"], event["item"], event.get("type", "purchase")
    # Here the event goes into the shop's own table too, which `reckoner import TABLE --source-has-events` reads every
    # night: without that option it would count twice.
    try:
        # The id is the shop's own, such as an order's: a repeated request does not count twice.
        reckoner.record(user, item, type=kind, id=event.get("id", ""), timeout=RECORD_S)
    except (RedisUnavailableError, EventsFullError, WaitTimeoutError):
        # The shop goes on; lists know of it after the next import.
        return JsonResponse({"recorded": False}, status=202)
    return JsonResponse({"recorded": True}, status=202)


@refusing
def logins(request: HttpRequest) -> JsonResponse:
    """Join what a visitor did to a user."""
    login: dict[str, Any] = json.loads(request.body)
    try:
        reckoner.merge(login["visitor"], login["user"], timeout=RECORD_S)
    except (RedisUnavailableError, HistoryTooLongError, WaitTimeoutError):
        return JsonResponse({"merged": False}, status=202)
    return JsonResponse({"merged": True}, status=202)


@refusing
def sold_out(request: HttpRequest) -> JsonResponse:
    """Take the whole list of sold-out items from the warehouse: the next page shows none of them."""
    items: list[str] = json.loads(request.body)
    if not items:
        # A feed that failed is empty too, and would show everything again.
        raise UsageError("The list is empty, so nothing was changed.")
    try:
        return JsonResponse({"hidden": reckoner.catalogue.replace_hidden(items, timeout=POPULAR_S)})
    except (RedisUnavailableError, WaitTimeoutError) as error:
        # The warehouse tries again.
        return JsonResponse({"detail": str(error)}, status=503)


@refusing
def recommendations(request: HttpRequest) -> JsonResponse:
    """Show a user's list. Without one, wait for a moment, then show the popular list."""
    try:
        answer = list_for(request.GET["user"], int(request.GET.get("n", "10")))
    except (RedisUnavailableError, NothingFittedError, WaitTimeoutError):
        return JsonResponse({"source": "none", "items": []})
    places = [
        {"item": entry.item, "title": entry.title, "because": entry.because_title or entry.because}
        for entry in answer.items
    ]
    return JsonResponse({"source": answer.source, "items": places})


def list_for(user: str, n: int) -> Answer:
    """A user's list, or the popular one if theirs is not ready in time."""
    try:
        return reckoner.recommend(user, n, timeout=PATIENCE_S)
    except (WaitTimeoutError, FlowFailedError, QueueFullError):
        return reckoner.get(user, n, timeout=POPULAR_S)


urlpatterns = [
    path("events", require_POST(events)),
    path("logins", require_POST(logins)),
    path("sold-out", require_http_methods(["PUT"])(sold_out)),
    path("recommendations", require_GET(recommendations)),
]

if not settings.configured:
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost", "127.0.0.1"])

application = get_wsgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
