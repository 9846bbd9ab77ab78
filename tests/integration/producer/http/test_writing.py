"""What is written over HTTP is what the client writes."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.http.writing import MOST_HIDDEN
from reckoner.shared.settings import Settings
from tests.integration.producer.http.conftest import Serve
from tests.integration.producer.http.problems import all_pages, of_problem
from tests.world import ITEMS, Generation, Hand


async def test_events_are_recorded_in_their_order(http: httpx.AsyncClient, reckoner: OpenReckoner) -> None:
    """Each has its outcome; a bad one harms no other."""
    events = [
        {"user": "Ada", "item": "a", "type": "view", "id": "1"},
        {"user": "Ada", "item": "b", "type": "no such type"},
        {"user": "Ada", "item": "a", "type": "view", "id": "1"},
        {"user": "Ada", "item": "c", "time": 1_700_000_000.5, "weight": 2},
    ]
    answer = await http.post("/v1/events", json={"events": events})
    assert [one["status"] for one in answer.json()["events"]] == ["recorded", "refused", "seen", "recorded"]
    found = await reckoner.recent("Ada")
    assert [(one.item, one.weight) for one in found] == [("a", 1), ("c", 2)]
    assert found[1].time_ms == 1_700_000_000_500


async def test_full_of_events_is_a_problem(serve: Serve, prefix: str) -> None:
    """With the time of another try."""
    settings = msgspec.convert({"prefix": prefix, "max_events": 1}, Settings)
    async with serve(settings=settings) as http:
        body = {"events": [{"user": "Ada", "item": "a"}]}
        assert (await http.post("/v1/events", json=body)).status_code == 200
        answer = await http.post("/v1/events", json=body)
        of_problem(answer, "events-full", 429)
        assert int(answer.headers["retry-after"]) > 0


async def test_an_item_changes(http: httpx.AsyncClient, reckoner: OpenReckoner, generation: Generation) -> None:
    """Its tags and whether it is hidden; each answer is the item as it is now."""
    path = "/v1/items/item%2001"
    before = (await http.get(path)).json()
    expected = {"item": ITEMS[1], "title": f"The {ITEMS[1]}", "tags": [], "live": False}
    assert before == expected | {"hidden": False, "hidden_until_ms": None}
    put = (await http.put(path, json={"tags": ["b", "a"], "hidden": True, "hidden_until": 4e9})).json()
    assert put == before | {"tags": ["a", "b"], "live": True, "hidden": True, "hidden_until_ms": 4_000_000_000_000}
    patched = (await http.patch(path, json={"add": ["c"], "remove": ["a"]})).json()
    assert patched == put | {"tags": ["b", "c"]}
    shown = (await http.patch(path, json={"hidden": False})).json()
    assert (shown["hidden"], (await http.get(path)).json()) == (False, shown)
    assert (await http.delete(f"{path}/tags")).json() == before
    assert (await http.put(path, json={})).json() == before | {"live": True}
    assert [one.item for one in await reckoner.catalogue.live_tags()] == [ITEMS[1]]


async def test_hidden_items_come_in_pages(http: httpx.AsyncClient) -> None:
    """Replaced as a whole."""
    names = [f"item {number}" for number in range(7)]
    assert (await http.put("/v1/hidden", json={"items": names})).json() == {"hidden": 7}
    pages = await all_pages(http, "/v1/hidden", 3)
    assert [len(page["items"]) for page in pages] == [3, 3, 1]
    found = [one["item"] for page in pages for one in page["items"]]
    assert found == sorted(names)


async def test_a_user_hides_and_a_visitor_becomes_one(http: httpx.AsyncClient, reckoner: OpenReckoner) -> None:
    """Ids with slashes are percent-encoded."""
    path = "/v1/users/a%2Fvisitor/hidden/one%2Ftwo"
    assert [(await http.put(path)).json() for _ in range(2)] == [{"changed": True}, {"changed": False}]
    await reckoner.record("a/visitor", "x")
    assert (await http.post("/v1/users/a%2Fvisitor/merge", json={"user": "Ada"})).json() == {"moved": 1}
    assert (await http.get("/v1/users/Ada/hidden")).json() == {"user": "Ada", "items": ["one/two"]}
    assert (await http.delete("/v1/users/Ada/hidden/one%2Ftwo")).json() == {"changed": True}


async def test_a_job_is_enqueued_seen_and_cancelled(
    http: httpx.AsyncClient, hand: Hand, generation: Generation
) -> None:
    """Its state is what `reckoner job --json` prints."""
    answer = await http.post("/v1/jobs", json={"users": ["Ada"], "fresh": True})
    [made] = answer.json()["jobs"]
    assert (answer.status_code, made["user"]) == (202, "Ada")
    while (seen := (await http.get(f"/v1/jobs/{made['job']}")).json())["state"] != "done":
        assert seen["state"] in ("split", "run", "reduce")
    assert (await http.delete(f"/v1/jobs/{made['job']}")).json() == {"cancelled": False}
    basket = (await http.post("/v1/jobs", json={"items": [ITEMS[2]]})).json()["jobs"]
    assert (basket[0]["user"], len(basket)) == (None, 1)
    of_problem(await http.post("/v1/jobs", json={"items": [ITEMS[2]], "fresh": True}), "invalid-parameter", 422)
    of_problem(await http.post("/v1/jobs", json={}), "invalid-parameter", 422)


@pytest.mark.parametrize(
    ("body", "kind", "name", "status"),
    [
        (b"{", "application/json", "malformed", 400),
        (b"\xff", "application/json", "malformed", 400),
        (b"[" * 100_000, "application/json", "invalid-parameter", 422),
        (b"{}", "application/json; charset=utf-8", "invalid-parameter", 422),
        (b'{"users": [], "n": 1, "more": 2}', "application/json", "invalid-parameter", 422),
        (b'{"users": ["\\ud800"]}', "application/json", "malformed", 400),
        (b"users=Ada", "application/x-www-form-urlencoded", "not-json", 415),
        (b" " * 1_048_577, "application/json", "body-too-large", 413),
    ],
)
async def test_a_bad_body_is_a_problem(http: httpx.AsyncClient, body: bytes, kind: str, name: str, status: int) -> None:
    """In one sentence."""
    of_problem(await http.post("/v1/recommendations", content=body, headers={"content-type": kind}), name, status)


async def test_as_many_items_are_hidden_as_is_promised(http: httpx.AsyncClient) -> None:
    """With long ids."""
    items = [f"{number:0120}" for number in range(MOST_HIDDEN)]
    assert (await http.put("/v1/hidden", json={"items": items})).json() == {"hidden": MOST_HIDDEN}


async def test_a_body_without_its_length_is_bounded_too(http: httpx.AsyncClient) -> None:
    """It is not read to its end."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65_536
            yield b" " * 65_536

    answer = await http.post("/v1/events", content=endless(), headers={"content-type": "application/json"})
    of_problem(answer, "body-too-large", 413)
    assert sent < 2_000_000


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("given", [{"hidden_until": 4_000_000_000}, {"hidden": True, "hidden_until": 1}])
async def test_an_end_without_something_hidden_is_refused(
    http: httpx.AsyncClient, method: str, given: dict[str, Any]
) -> None:
    """And one that is over."""
    of_problem(await http.request(method, "/v1/items/x", json=given), "invalid-parameter", 422)
    assert not (await http.get("/v1/items/x")).json()["hidden"]
