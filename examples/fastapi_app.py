"""A shop with FastAPI: what a visitor does changes their next page, sold-out items vanish, and nothing waits for long.

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
    EventsFullError,
    FlowFailedError,
    HistoryTooLongError,
    NothingFittedError,
    QueueFullError,
    Reckoner,
    RedisUnavailableError,
    UsageError,
    WaitTimeoutError,
)

# The longest waits in seconds: to record an event, for a page's own list, and then for the popular one. The first and
# the last take long only if Redis hangs.
RECORD_S, PATIENCE_S, POPULAR_S = 0.3, 0.3, 1.0


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


class Event(BaseModel):
    """What a user did with an item, such as a purchase, a view or a dislike."""

    user: str
    item: str
    type: str = "purchase"
    id: str = ""
    """The shop's own id, such as an order's: a repeated request does not count twice."""


class Login(BaseModel):
    """A visitor who turns out to be a user."""

    visitor: str
    user: str


class Place(BaseModel):
    """One item of a list, with its reason."""

    item: str
    title: str | None
    because: str | None


class Page(BaseModel):
    """The shown list: the user's own, the popular one, or none while Redis is unavailable."""

    source: str
    items: list[Place]


@app.post("/events", status_code=202)
async def event(event: Event, reckoner: Client) -> dict[str, bool]:
    """Record what a user did: their next page follows it."""
    # Here the event goes into the shop's own table too, which `reckoner import TABLE --source-has-events` reads every
    # night: without that option it would count twice.
    try:
        await reckoner.record(event.user, event.item, type=event.type, id=event.id, timeout=RECORD_S)
    except (RedisUnavailableError, EventsFullError, WaitTimeoutError):
        # The shop goes on; lists know of it after the next import.
        return {"recorded": False}
    return {"recorded": True}


@app.post("/logins", status_code=202)
async def login(login: Login, reckoner: Client) -> dict[str, bool]:
    """Join what the visitor did to the user."""
    try:
        await reckoner.merge(login.visitor, login.user, timeout=RECORD_S)
    except (RedisUnavailableError, HistoryTooLongError, WaitTimeoutError):
        return {"merged": False}
    return {"merged": True}


@app.put("/sold-out")
async def sold_out(items: list[str], reckoner: Client) -> dict[str, int]:
    """Take the whole list of sold-out items from the warehouse: the next page shows none of them."""
    if not items:
        # A feed that failed is empty too, and would show everything again.
        raise UsageError("The list is empty, so nothing was changed.")
    return {"hidden": await reckoner.catalogue.replace_hidden(items, timeout=POPULAR_S)}


@app.get("/recommendations")
async def recommendations(user: str, reckoner: Client, n: int = 10) -> Page:
    """Show a user's list. Without one, wait for a moment, then show the popular list."""
    try:
        try:
            answer = await reckoner.recommend(user, n, timeout=PATIENCE_S)
        except (WaitTimeoutError, FlowFailedError, QueueFullError):
            answer = await reckoner.get(user, n, timeout=POPULAR_S)
    except (RedisUnavailableError, NothingFittedError, WaitTimeoutError):
        return Page(source="none", items=[])
    return Page(source=answer.source, items=[as_place(entry) for entry in answer.items])


@app.exception_handler(UsageError)
async def refuse(_: Request, error: UsageError) -> JSONResponse:
    """Say what is wrong with a request: a list that is too long, or an invalid id or type."""
    return JSONResponse({"detail": str(error)}, status_code=422)


@app.exception_handler(RedisUnavailableError)
@app.exception_handler(WaitTimeoutError)
async def be_away(_: Request, error: Exception) -> JSONResponse:
    """Tell the warehouse to try again."""
    return JSONResponse({"detail": str(error)}, status_code=503)


def as_place(entry: Entry) -> Place:
    """An item as the page shows it."""
    return Place(item=entry.item, title=entry.title, because=entry.because_title or entry.because)
