"""The app: one client for each process, and the routes of all modules."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from reckoner.producer.client.open import OpenReckoner, client_options
from reckoner.producer.http import health, jobs, metrics, operating, reading, writing
from reckoner.producer.http.calls import Server
from reckoner.producer.http.config import HttpConfig
from reckoner.producer.http.dispatch import Dispatch
from reckoner.producer.http.openapi import route_of
from reckoner.producer.http.page import routes as page
from reckoner.producer.http.page.screens import explain
from reckoner.producer.http.routes import Table
from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.redis.following import follow_embedded

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

# Each module of routes has a tuple of them.
ROUTES = (
    *health.ROUTES,
    *metrics.ROUTES,
    *reading.ROUTES,
    *writing.ROUTES,
    *jobs.ROUTES,
    *operating.ROUTES,
)


def make_app(config: HttpConfig) -> Starlette:
    """The app of one process; its client connects with the first request, so it starts without Redis."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with aclosing(OpenReckoner(config.redis_url, **client_options(config.settings))) as reckoner:
            app.state.server = dispatch.server = server = Server(config, config.access, reckoner)
            app.state.reckoner = reckoner
            following = asyncio.create_task(follow_embedded(config.settings, config.redis_url, reckoner.pools))
            try:
                async with server.counting.running(reckoner):
                    yield
            finally:
                await cancel_and_wait(following)

    dispatch = Dispatch(Table((*ROUTES, *page.ROUTES, route_of(ROUTES))), explain)
    app = Starlette(routes=[dispatch], lifespan=lifespan)

    async def stack(scope: "Scope", receive: "Receive", send: "Send") -> None:
        # Starlette's own layers catch what `dispatch` has caught, and take a tenth of a hit.
        await (dispatch.handle if scope["type"] == "http" else app.router)(scope, receive, send)

    app.middleware_stack = stack
    return app
