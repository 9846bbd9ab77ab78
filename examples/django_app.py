"""A shop with Django: a purchase has the buyer's list computed, their page shows it, and nothing waits for long.

Run it beside the workers with `uvicorn examples.django_app:application`. In a project its settings, URLs and views are
in files of their own, and `application` takes the place of the one in `asgi.py`.
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

# A page does not wait for longer than this for its own list, nor then for the popular one, in seconds; the second is
# used up only where Redis hangs.
PATIENCE_S, POPULAR_S = 0.3, 1.0

Message = MutableMapping[str, Any]


async def purchases(request: HttpRequest) -> JsonResponse:
    """Take a purchase, and have the buyer's list ready before they come back."""
    try:
        user = json.loads(request.body)["user"]
    except (ValueError, KeyError, TypeError):
        return JsonResponse({"detail": "A purchase names its user."}, status=422)
    # Here the purchase goes into the shop's own table, which `reckoner import` reads by night.
    try:
        asked = await reckoner_of(request).enqueue(str(user), timeout=PATIENCE_S)
    except UsageError as error:
        return JsonResponse({"detail": str(error)}, status=422)
    except (RedisUnavailableError, NothingFittedError, WaitTimeoutError):
        # The purchase stands; the list is computed when the buyer comes back.
        return JsonResponse({"job": None}, status=202)
    return JsonResponse({"job": asked.job}, status=202)


async def recommendations(request: HttpRequest) -> JsonResponse:
    """Show somebody's list; who has none yet waits for a moment, and sees what is popular if that was too short."""
    user, n = request.GET.get("user", ""), request.GET.get("n", "10")
    try:
        answer = await list_for(reckoner_of(request), user, int(n))
    except ValueError:
        return JsonResponse({"detail": "n is no number."}, status=422)
    except UsageError as error:
        # More places than lists have, or an id that is no text.
        return JsonResponse({"detail": str(error)}, status=422)
    except (RedisUnavailableError, NothingFittedError, WaitTimeoutError):
        return JsonResponse({"source": "none", "items": []})
    places = [
        {"item": entry.item, "title": entry.title, "because": entry.because_title or entry.because}
        for entry in answer.items
    ]
    return JsonResponse({"source": answer.source, "items": places})


async def list_for(reckoner: Reckoner, user: str, n: int) -> Answer:
    """A user's list, or the popular one where theirs is not there in time."""
    try:
        return await reckoner.recommend(user, n, timeout=PATIENCE_S)
    except (WaitTimeoutError, FlowFailedError):
        return await reckoner.get(user, n, timeout=POPULAR_S)


def reckoner_of(request: HttpRequest) -> Reckoner:
    """The client of this process."""
    reckoner: Reckoner = request.scope["state"]["reckoner"]
    return reckoner


class Application:
    """Django's application, with one client for each process: all its requests together take two connections.

    Django leaves the lifespan of an ASGI server alone, so it is answered here. The client is not entered, so the shop
    opens though Redis is away.
    """

    def __init__(self, django: Callable[..., Awaitable[None]]) -> None:
        self._django = django

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer one request, or live from the server's start to its end."""
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
