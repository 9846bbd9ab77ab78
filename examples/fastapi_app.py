"""A shop with FastAPI: a purchase has the buyer's list computed, their page shows it, and nothing waits for long.

Run it beside the workers with `uvicorn examples.fastapi_app:app`.
"""

import os
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Annotated, TypedDict

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from reckoner import (
    Entry,
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


class State(TypedDict):
    """What all requests of one process share."""

    reckoner: Reckoner


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[State]:
    """One client for each process: all its requests together take two connections.

    It is not entered, so the shop opens though Redis is away.
    """
    async with aclosing(Reckoner(os.environ.get("RECKONER_REDIS_URL", "redis://localhost:6379"))) as reckoner:
        yield {"reckoner": reckoner}


def get_reckoner(request: Request) -> Reckoner:
    """The client of this process."""
    reckoner: Reckoner = request.state.reckoner
    return reckoner


Client = Annotated[Reckoner, Depends(get_reckoner)]
app = FastAPI(lifespan=lifespan)


class Purchase(BaseModel):
    """Who bought what."""

    user: str
    item: str


class Place(BaseModel):
    """One place of a list, and why it is there."""

    item: str
    title: str | None
    because: str | None


class Page(BaseModel):
    """What is shown to somebody: their own list, the popular one, or nothing while Redis is away."""

    source: str
    items: list[Place]


@app.post("/purchases", status_code=202)
async def buy(purchase: Purchase, reckoner: Client) -> dict[str, str | None]:
    """Take a purchase, and have the buyer's list ready before they come back."""
    # Here the purchase goes into the shop's own table, which `reckoner import` reads by night.
    try:
        asked = await reckoner.enqueue(purchase.user, timeout=PATIENCE_S)
    except (RedisUnavailableError, NothingFittedError, WaitTimeoutError):
        # The purchase stands; the list is computed when the buyer comes back.
        return {"job": None}
    return {"job": asked.job}


@app.get("/recommendations")
async def recommendations(user: str, reckoner: Client, n: int = 10) -> Page:
    """Show somebody's list; who has none yet waits for a moment, and sees what is popular if that was too short."""
    try:
        try:
            answer = await reckoner.recommend(user, n, timeout=PATIENCE_S)
        except (WaitTimeoutError, FlowFailedError):
            answer = await reckoner.get(user, n, timeout=POPULAR_S)
    except (RedisUnavailableError, NothingFittedError, WaitTimeoutError):
        return Page(source="none", items=[])
    return Page(source=answer.source, items=[as_place(entry) for entry in answer.items])


@app.exception_handler(UsageError)
async def refuse(_: Request, error: UsageError) -> JSONResponse:
    """Say what was wrong with a request: more places than lists have, or an id that is no text."""
    return JSONResponse({"detail": str(error)}, status_code=422)


def as_place(entry: Entry) -> Place:
    """A place as the page shows it."""
    return Place(item=entry.item, title=entry.title, because=entry.because_title or entry.because)
