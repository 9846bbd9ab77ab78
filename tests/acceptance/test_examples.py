"""The example applications under their servers: events, a list that follows them, and what is shown meanwhile."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.keys import Keys
from reckoner.shared.wire.shapes import Options, Record
from tests.patience import PATIENCE_S, slowness
from tests.processes import environment, started, wait_until
from tests.servers import answers, free_port, hanging, tcp_server
from tests.system import System, eventually, synthetic_pairs
from tests.world import make_known

USER, UNKNOWN, OTHER = "üser 003", "no/body?", "üser 004"
VISITORS = 30
NOTHING = {"source": "none", "items": []}
# Each application's command, for a port.
APPLICATIONS = {
    "fastapi": ("uvicorn", "examples.fastapi_app:app", "--no-access-log", "--port", "{port}"),
    "django": ("examples.django_app", "runserver", "127.0.0.1:{port}", "--noreload"),
}


@contextmanager
def served(application: str, url: str, log: Path) -> Iterator[str]:
    """Run an application in its own process; yields its URL."""
    port = free_port()
    module, *arguments = (part.format(port=port) for part in APPLICATIONS[application])
    with started(module, *arguments, environ=environment(RECKONER_REDIS_URL=url), log=log) as process:
        wait_until(lambda: answers(port) or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}"
        process.terminate()
        process.wait(PATIENCE_S)


@asynccontextmanager
async def visiting(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A browser for many concurrent pages."""
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as client:
        yield client


async def page(client: httpx.AsyncClient, user: str, n: int = 5) -> Any:
    """The shown page."""
    answer = await client.get("/recommendations", params={"user": user, "n": n})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def own_page(client: httpx.AsyncClient, user: str) -> Any:
    """The shown page once it has the user's own list, which a slow machine may compute for longer than a page waits."""

    async def look() -> Any:
        shown = await page(client, user)
        return shown if shown["source"] == "cache" else None

    return await eventually(look)


async def items(client: httpx.AsyncClient, user: str, n: int = 5) -> list[str]:
    """The items of the shown page."""
    return [place["item"] for place in (await page(client, user, n))["items"]]


async def post(client: httpx.AsyncClient, where: str, **fields: str) -> Any:
    """The answer to an accepted request."""
    answer = await client.post(where, json=fields)
    assert answer.status_code == 202, answer.text
    return answer.json()


async def reckoners(system: System) -> Counter[str]:
    """The clients' connections, by purpose."""
    redis = connect(system.server.url, client_name="test")
    names = [client["name"] for client in await redis.client_list()]
    await redis.aclose()
    return Counter(name for name in names if name in ("reckoner", "reckoner-listening"))


@pytest.mark.parametrize("application", APPLICATIONS)
async def test_an_example_is_a_shop(tmp_path: Path, application: str) -> None:
    """What is bought is gone from the next page and soon gives reasons; what is sold out is gone from all pages."""
    log = tmp_path / "application.log"
    async with System(tmp_path / "a home") as system:
        system.import_pairs(synthetic_pairs())
        system.start_workers(1)
        expected = system.reference_lists(await system.fit())
        with served(application, system.server.url, log) as url:
            async with visiting(url) as client:
                shown = await own_page(client, USER)
                places = json.loads(expected[USER])["items"][:5]
                assert [(place["item"], place["because"]) for place in shown["items"]] == [
                    (item, because) for item, _, because in places
                ]
                bought, disliked, viewed, *_ = [place["item"] for place in shown["items"]]
                assert await post(client, "/events", user=USER, item=bought, id="order 1") == {"recorded": True}
                assert await post(client, "/events", user=USER, item=bought, id="order 1") == {"recorded": True}
                assert await post(client, "/events", user=USER, item=disliked, type="dislike") == {"recorded": True}
                assert not {bought, disliked} & {*await items(client, USER)}

                async def follows() -> bool | None:
                    shown = (await page(client, USER, 20))["items"]
                    return any(place["because"] == bought for place in shown) or None

                await eventually(follows)
                async with system.reckoner() as reckoner:
                    assert len(await reckoner.recent(USER)) == 2

                # A visitor nobody knows has a list, and takes it along at the login.
                await post(client, "/events", user="visitor", item=bought)
                await post(client, "/events", user="visitor", item=viewed, type="view")
                assert bought not in [place["item"] for place in (await own_page(client, "visitor"))["items"]]
                assert await post(client, "/logins", visitor="visitor", user=OTHER) == {"merged": True}
                assert bought not in await items(client, OTHER, 20)

                gone = (await items(client, OTHER))[0]
                answer = await client.put("/sold-out", json=[gone, viewed])
                assert (answer.status_code, answer.json()) == (200, {"hidden": 2})
                for user in (USER, OTHER, UNKNOWN):
                    assert not {gone, viewed} & {*await items(client, user, 20)}
                assert (await client.put("/sold-out", json=[gone])).json() == {"hidden": 1}
                failed = await client.put("/sold-out", json=[])
                assert (failed.status_code, failed.json()["detail"]) == (
                    422,
                    "The list is empty, so nothing was changed.",
                )
                async with system.reckoner() as reckoner:
                    assert [hidden.item for hidden in await reckoner.catalogue.hidden()] == [gone]

                await refuses_what_is_wrong(client)
                assert (await page(client, UNKNOWN))["source"] == "popular"
                await waits_for_nobody(system, client)
    assert "Traceback" not in log.read_text()


async def refuses_what_is_wrong(client: httpx.AsyncClient) -> None:
    """With a sentence, where it is not obvious."""
    refused = await client.get("/recommendations", params={"user": USER, "n": 21})
    assert refused.status_code == 422
    assert "RECKONER_LIST_LENGTH" in refused.json()["detail"]
    refused = await client.post("/events", json={"user": USER, "item": "item:01", "type": "veiw"})
    assert refused.status_code == 422
    assert "Do you mean view?" in refused.json()["detail"]
    for wrong in (b'{"item":"item:01"}', b"[]", b"{", b'{"user":"\\ud800","item":"item:01"}'):
        answer = await client.post("/events", content=wrong, headers={"content-type": "application/json"})
        assert answer.status_code == 422, answer.text


async def waits_for_nobody(system: System, client: httpx.AsyncClient) -> None:
    """Without workers, pages show popular items, and block no other; without Redis they are empty."""
    await system.stop_workers()
    began = time.monotonic()
    pages = await asyncio.gather(*(page(client, f"üser {user:03d}") for user in range(10, 10 + VISITORS)))
    # In sequence they would take the sum.
    assert time.monotonic() - began < 0.3 * VISITORS / 2 * slowness()
    assert [shown["source"] for shown in pages] == ["popular"] * VISITORS
    assert await reckoners(system) == {"reckoner": 1, "reckoner-listening": 1}
    system.server.kill()
    assert await page(client, USER) == NOTHING
    await goes_on(client)


async def goes_on(client: httpx.AsyncClient) -> None:
    """Without Redis, the shop does; the warehouse is told."""
    assert await post(client, "/events", user=OTHER, item="item:01") == {"recorded": False}
    assert await post(client, "/logins", visitor="visitor", user=OTHER) == {"merged": False}
    assert (await client.put("/sold-out", json=["item:01"])).status_code == 503


@pytest.mark.parametrize("application", APPLICATIONS)
async def test_an_example_starts_without_redis_and_continues_with_it(tmp_path: Path, application: str) -> None:
    """While Redis is unavailable or hangs, the shop goes on, each request within its time limits."""
    log, port = tmp_path / "application.log", free_port()
    with served(application, f"redis://127.0.0.1:{port}", log) as url:
        async with visiting(url) as client:
            assert await page(client, USER) == NOTHING
            await goes_on(client)
            async with hanging(port):
                began = time.monotonic()
                assert await page(client, USER) == NOTHING
                await goes_on(client)
                # 0.3 and 1 s for the page, 0.3 s each for the event and the login, 1 s for the warehouse.
                assert time.monotonic() - began < 2 * 2.9 * slowness()
            with tcp_server(tmp_path, port=port):
                await adopt(f"redis://127.0.0.1:{port}")
                assert (await page(client, USER))["source"] == "popular"
                assert await post(client, "/events", user=USER, item="item:01") == {"recorded": True}
    assert "Traceback" not in log.read_text()


async def adopt(url: str) -> None:
    """A generation without lists."""
    redis = connect(url, client_name="test")
    record = Record(2, "g", "m", "s", Options(20), 1, 1, ["a hit"])
    await make_known(redis, Keys("reckoner"), record, {})
    await redis.aclose()
