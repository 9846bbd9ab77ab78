"""A bare Starlette app for comparison: a handler with one Redis GET, and one with an MGET of the users in a body.

`python tests/benchmarks bare_http REDIS_SOCKET PREFIX` prints its port.
"""

import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

import uvicorn
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


class State(TypedDict):
    """Shared by all requests."""

    redis: Redis
    stem: str


async def one(request: Request) -> Response:
    """One user's cached bytes."""
    data = await request.state.redis.get(f"{request.state.stem}{request.path_params['user']}")
    return Response(data or b"null", media_type="application/json")


async def many(request: Request) -> Response:
    """Many users' cached bytes."""
    users = json.loads(await request.body())["users"]
    values = await request.state.redis.mget([f"{request.state.stem}{user}" for user in users])
    return Response(b"[" + b",".join(value or b"null" for value in values) + b"]", media_type="application/json")


def main() -> int:
    """Serve until a signal."""
    path, prefix = sys.argv[1:]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[State]:
        async with Redis(unix_socket_path=path) as redis:
            yield {"redis": redis, "stem": f"{prefix}:rec:g:"}

    routes = [Route("/v1/users/{user}/recommendations", one), Route("/v1/recommendations", many, methods=["POST"])]
    app = Starlette(routes=routes, lifespan=lifespan)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(f"serving http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        config = uvicorn.Config(app, loop="uvloop", http="httptools", log_config=None, access_log=False)
        uvicorn.Server(config).run(sockets=[listening])
    return 0
