"""Fixtures for tests of the HTTP API: an app on the shared server, and a client that calls it without a network."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import pytest

from reckoner.producer.http.app import make_app
from reckoner.producer.http.config import HttpConfig
from reckoner.producer.http.tokens import Access
from reckoner.shared.settings import Settings

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

TOKENS = {"read": "read-token-0123456", "write": "write-token-012345", "admin": "admin-token-012345"}


@pytest.fixture
def serve(redis_url: str, prefix: str) -> Serve:
    """Serve under the test's prefix: `async with serve(tokens_file=...) as http`."""

    @asynccontextmanager
    async def serving(tokens_file: Path | None = None, **options: object) -> AsyncIterator[httpx.AsyncClient]:
        settings = msgspec.convert({"prefix": prefix}, Settings)
        fields: dict[str, object] = {
            "settings": settings,
            "redis_url": redis_url,
            "access": Access(tokens_file),
            **options,
        }
        app = make_app(HttpConfig(**fields))  # type: ignore[arg-type]
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8321") as http:
                http.headers.pop("accept-encoding")
                yield http

    return serving


@pytest.fixture
async def http(serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an app without tokens."""
    async with serve() as client:
        yield client


@pytest.fixture
def tokens_file(tmp_path: Path) -> Path:
    """A file with a token for each role."""
    file = tmp_path / "tokens"
    file.write_text("# for tests\n" + "".join(f"{role} {role}er {token}\n" for role, token in TOKENS.items()))
    return file
