"""Fixtures for all tests: temporary files, one server, and a fresh key prefix for each test."""

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import hypothesis
import pytest
from redis.asyncio import Redis

from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.embedded import EmbeddedServer
from tests.objects import ObjectProxy, object_proxy
from tests.s3 import credentials, make_bucket, s3_server
from tests.servers import server_program, server_version, start_server

StartServer = Callable[..., EmbeddedServer]


def pytest_configure() -> None:
    """Give hypothesis no deadline: the machine may be busy."""
    hypothesis.settings.register_profile("no deadline", deadline=None)
    hypothesis.settings.load_profile("no deadline")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their parameter: what a compressor writes holds the time, and all workers need the same names."""
    return argname if isinstance(val, bytes) else None


def pytest_report_header() -> str:
    """Name the server at the top of the report."""
    return f"server: {server_program()}, version {server_version()}"


@pytest.fixture(scope="session", autouse=True)
def temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One directory for all temporary files of this process and its children.

    A killed process leaves its socket behind, and a socket's path has to be short. The tests' own directories stay.
    """
    tmp_path_factory.getbasetemp()
    with (
        tempfile.TemporaryDirectory(prefix="tests-", ignore_cleanup_errors=True) as directory,
        pytest.MonkeyPatch.context() as patch,
    ):
        for variable in ("TMPDIR", "XDG_RUNTIME_DIR"):
            patch.setitem(os.environ, variable, directory)
        patch.setattr(tempfile, "tempdir", directory)
        yield


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """The shared server. Tests must not stop it, flush it or change its configuration."""
    with start_server(tmp_path_factory.mktemp("home of the tests")) as running:
        yield running


@pytest.fixture(scope="session")
def redis_url(server: EmbeddedServer) -> str:
    """The URL of the shared server."""
    return server.url


@pytest.fixture
def prefix() -> str:
    """A key prefix that no other test uses."""
    return f"test-{uuid4().hex}"


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A pool on the shared server."""
    pool = connect(redis_url, client_name="test")
    yield pool
    await pool.aclose()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the shared server of S3's protocol."""
    with s3_server(tmp_path_factory.mktemp("s3") / "log") as url:
        yield url


@pytest.fixture
def objects_proxy(s3: str) -> Iterator[ObjectProxy]:
    """A proxy of that server, of the test's own."""
    with object_proxy(s3) as proxy:
        yield proxy


@pytest.fixture
def bucket(s3: str, objects_proxy: ObjectProxy, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a new bucket behind the proxy, `s3://...`, with its credentials in the environment."""
    for name, value in credentials(objects_proxy.url).items():
        monkeypatch.setenv(name, value)
    return f"s3://{make_bucket(s3)}"


@pytest.fixture
def fresh_server(tmp_path: Path) -> Iterator[StartServer]:
    """Start servers of the test's own: `fresh_server(home=..., maxmemory=...)`."""
    started: list[EmbeddedServer] = []

    def start(home: Path = tmp_path / "a home", **options: object) -> EmbeddedServer:
        started.append(start_server(home, **options))
        return started[-1]

    yield start
    for running in started:
        running.stop()
