"""A shop with FastAPI: a purchase enqueues the buyer's list, their page shows it, and nothing waits for long.

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

# A page's longest waits in seconds: for its own list, then for the popular one, which takes long only if Redis hangs.
PATIENCE_S, POPULAR_S = 0.3, 1.0


class State(TypedDict):
    """Shared by all requests of one process."""

    reckoner: Reckoner


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[State]:
    """One client for each process, with three connections for all requests.

    It is not entered, so the shop starts without Redis.
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
    """A user's purchase of an item."""

    user: str
    item: str


class Place(BaseModel):
    """One item of a list, with its reason."""

    item: str
    title: str | None
    because: str | None


class Page(BaseModel):
    """The shown list: the user's own, the popular one, or none while Redis is unavailable."""

    source: str
    items: list[Place]


@app.post("/purchases", status_code=202)
async def buy(purchase: Purchase, reckoner: Client) -> dict[str, str | None]:
    """Accept a purchase, and prepare the buyer's list."""
    # Here the purchase goes into the shop's own table, which `reckoner import` reads every night.
    try:
        asked = await reckoner.enqueue(purchase.user, timeout=PATIENCE_S)
    except (RedisUnavailableError, NothingFittedError, WaitTimeoutError):
        # The purchase is accepted; the list is computed when the buyer returns.
        return {"job": None}
    return {"job": asked.job}


@app.get("/recommendations")
async def recommendations(user: str, reckoner: Client, n: int = 10) -> Page:
    """Show a user's list. Without one, wait for a moment, then show the popular list."""
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
    """Say what is wrong with a request: a list that is too long, or an invalid id."""
    return JSONResponse({"detail": str(error)}, status_code=422)


def as_place(entry: Entry) -> Place:
    """An item as the page shows it."""
    return Place(item=entry.item, title=entry.title, because=entry.because_title or entry.because)
