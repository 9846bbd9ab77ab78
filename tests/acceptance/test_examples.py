"""The example applications under their servers: a purchase, a list, and the popular items meanwhile."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest

from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.keys import Keys
from reckoner.shared.wire.shapes import Options, Record
from tests.patience import PATIENCE_S, slowness
from tests.processes import environment, started, wait_until
from tests.servers import free_port, hanging, tcp_server
from tests.system import System, synthetic_pairs
from tests.world import make_known

USER, UNKNOWN, OTHER = "üser 003", "no/body?", "üser 004"
VISITORS = 30


@contextmanager
def served(application: str, url: str, log: Path) -> Iterator[str]:
    """Run an application in its own process; yields its socket."""
    with TemporaryDirectory() as directory:
        socket = Path(directory) / "s"
        arguments = (application, "--uds", str(socket), "--no-access-log")
        with started("uvicorn", *arguments, environ=environment(RECKONER_REDIS_URL=url), log=log) as process:
            wait_until(lambda: socket.exists() or process.poll() is not None)
            assert process.poll() is None, log.read_text()
            yield str(socket)
            process.terminate()
            process.wait(PATIENCE_S)


@asynccontextmanager
async def visiting(socket: str) -> AsyncIterator[httpx.AsyncClient]:
    """A browser for many concurrent pages."""
    transport = httpx.AsyncHTTPTransport(uds=socket)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=PATIENCE_S) as client:
        yield client


async def page(client: httpx.AsyncClient, user: str, n: int = 5) -> Any:
    """The shown page."""
    answer = await client.get("/recommendations", params={"user": user, "n": n})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def reckoners(system: System) -> Counter[str]:
    """The clients' connections, by purpose."""
    redis = connect(system.server.url, client_name="test")
    names = [client["name"] for client in await redis.client_list()]
    await redis.aclose()
    return Counter(name for name in names if name in ("reckoner", "reckoner-listening"))


@pytest.mark.parametrize("application", ["examples.fastapi_app:app", "examples.django_app:application"])
async def test_an_example_takes_purchases_and_shows_lists(tmp_path: Path, application: str) -> None:
    """The list is ready after the purchase. A page that times out shows popular items and blocks no other."""
    log = tmp_path / "application.log"
    async with System(tmp_path / "a home") as system:
        system.import_pairs(synthetic_pairs())
        system.start_workers(1)
        generation = await system.fit()
        expected = system.reference_lists(generation)
        with served(application, system.server.url, log) as socket:
            async with visiting(socket) as client:
                bought = await client.post("/purchases", json={"user": USER, "item": "item:01"})
                assert bought.status_code == 202
                assert (await system.ended(bought.json()["job"])).state == "done"
                shown = await page(client, USER)
                assert shown["source"] == "cache"
                places = json.loads(expected[USER])["items"][:5]
                assert [(place["item"], place["because"]) for place in shown["items"]] == [
                    (item, because) for item, _, because in places
                ]
                assert (await client.post("/purchases", json={"user": USER, "item": "item:02"})).json() == {"job": None}
                assert (await page(client, UNKNOWN))["source"] == "popular"
                refused = await client.get("/recommendations", params={"user": USER, "n": 21})
                assert refused.status_code == 422
                assert "RECKONER_LIST_LENGTH" in refused.json()["detail"]
                for wrong in (b'{"item":"item:01"}', b"[]", b"{", b'{"user":"\\ud800","item":"item:01"}'):
                    answer = await client.post("/purchases", content=wrong)
                    assert answer.status_code == 422, answer.text

                await system.stop_workers()
                began = time.monotonic()
                pages = await asyncio.gather(*(page(client, f"üser {user:03d}") for user in range(10, 10 + VISITORS)))
                # In sequence they would take the sum.
                assert time.monotonic() - began < 0.3 * VISITORS / 2 * slowness()
                assert [shown["source"] for shown in pages] == ["popular"] * VISITORS
                assert await reckoners(system) == {"reckoner": 1, "reckoner-listening": 1}

                system.server.kill()
                assert await page(client, USER) == {"source": "none", "items": []}
                bought = await client.post("/purchases", json={"user": OTHER, "item": "item:01"})
                assert (bought.status_code, bought.json()) == (202, {"job": None})
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("application", ["examples.fastapi_app:app", "examples.django_app:application"])
async def test_an_example_starts_without_redis_and_continues_with_it(tmp_path: Path, application: str) -> None:
    """While Redis is unavailable or hangs, purchases are accepted without a job and pages are empty."""
    log, port = tmp_path / "application.log", free_port()
    with served(application, f"redis://127.0.0.1:{port}", log) as socket:
        async with visiting(socket) as client:
            assert await page(client, USER) == {"source": "none", "items": []}
            bought = await client.post("/purchases", json={"user": USER, "item": "item:01"})
            assert (bought.status_code, bought.json()) == (202, {"job": None})
            async with hanging(port):
                assert await page(client, USER) == {"source": "none", "items": []}
                bought = await client.post("/purchases", json={"user": USER, "item": "item:01"})
                assert (bought.status_code, bought.json()) == (202, {"job": None})
            with tcp_server(tmp_path, port=port):
                await adopt(f"redis://127.0.0.1:{port}")
                assert (await page(client, USER))["source"] == "popular"
                bought = await client.post("/purchases", json={"user": USER, "item": "item:01"})
                assert bought.json()["job"] is not None
    assert "Traceback" not in log.read_text()


async def adopt(url: str) -> None:
    """A generation without lists."""
    redis = connect(url, client_name="test")
    record = Record(2, "g", "m", "s", Options(20), 1, 1, ["a hit"])
    await make_known(redis, Keys("reckoner"), record, {})
    await redis.aclose()
