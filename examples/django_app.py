"""A shop with Django: a purchase enqueues the buyer's list, their page shows it, and nothing waits for long.

Run it beside the workers with `uvicorn examples.django_app:application`. In a project, settings, URLs and views are in
separate files, and `application` replaces the one in `asgi.py`.
"""

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import aclosing
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from reckoner import (
    Answer,
    FlowFailedError,
    NothingFittedError,
    Reckoner,
    RedisUnavailableError,
    UsageError,
    WaitTimeoutError,
)

# A page's longest waits in seconds: for its own list, then for the popular one, which takes long only if Redis hangs.
PATIENCE_S, POPULAR_S = 0.3, 1.0

Message = MutableMapping[str, Any]


async def purchases(request: HttpRequest) -> JsonResponse:
    """Accept a purchase, and prepare the buyer's list."""
    try:
        user = json.loads(request.body)["user"]
    except (ValueError, KeyError, TypeError):
        return JsonResponse({"detail": "A purchase names its user."}, status=422)
    # Here the purchase goes into the shop's own table, which `reckoner import` reads every night.
    try:
        asked = await reckoner_of(request).enqueue(str(user), timeout=PATIENCE_S)
    except UsageError as error:
        return JsonResponse({"detail": str(error)}, status=422)
    except (RedisUnavailableError, NothingFittedError, WaitTimeoutError):
        # The purchase is accepted; the list is computed when the buyer returns.
        return JsonResponse({"job": None}, status=202)
    return JsonResponse({"job": asked.job}, status=202)


async def recommendations(request: HttpRequest) -> JsonResponse:
    """Show a user's list. Without one, wait for a moment, then show the popular list."""
    user, n = request.GET.get("user", ""), request.GET.get("n", "10")
    try:
        answer = await list_for(reckoner_of(request), user, int(n))
    except ValueError:
        return JsonResponse({"detail": "n is not a number."}, status=422)
    except UsageError as error:
        # A list that is too long, or an invalid id.
        return JsonResponse({"detail": str(error)}, status=422)
    except (RedisUnavailableError, NothingFittedError, WaitTimeoutError):
        return JsonResponse({"source": "none", "items": []})
    places = [
        {"item": entry.item, "title": entry.title, "because": entry.because_title or entry.because}
        for entry in answer.items
    ]
    return JsonResponse({"source": answer.source, "items": places})


async def list_for(reckoner: Reckoner, user: str, n: int) -> Answer:
    """A user's list, or the popular one if theirs is not ready in time."""
    try:
        return await reckoner.recommend(user, n, timeout=PATIENCE_S)
    except (WaitTimeoutError, FlowFailedError):
        return await reckoner.get(user, n, timeout=POPULAR_S)


def reckoner_of(request: HttpRequest) -> Reckoner:
    """The client of this process."""
    reckoner: Reckoner = request.scope["state"]["reckoner"]
    return reckoner


class Application:
    """Django's application with one client for each process: three connections for all requests.

    Django does not handle an ASGI server's lifespan, so this class does. The client is not entered, so the shop starts
    without Redis.
    """

    def __init__(self, django: Callable[..., Awaitable[None]]) -> None:
        self._django = django

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer one request, or handle the server's lifespan."""
        if scope["type"] != "lifespan":
            await self._django(scope, receive, send)
            return
        await receive()
        async with aclosing(Reckoner(os.environ.get("RECKONER_REDIS_URL", "redis://localhost:6379"))) as reckoner:
            scope["state"]["reckoner"] = reckoner
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


urlpatterns = [path("purchases", purchases), path("recommendations", recommendations)]

if not settings.configured:
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost"])

application = Application(get_asgi_application())
