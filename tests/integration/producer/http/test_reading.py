"""What is read over HTTP is what the client reads, and bad requests get one clear sentence."""

import httpx
import msgspec
import pytest
import structlog

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.settings import Settings
from tests.integration.producer.http.conftest import Serve
from tests.integration.producer.http.problems import all_pages, of_problem
from tests.world import ITEMS, USERS, Generation, Hand, World


@pytest.mark.parametrize("user", ["Ada", "user:1", "usér", "ユーザー", "with an empty history", "nobody/at all?"])
async def test_recommendations_are_the_clients(
    http: httpx.AsyncClient, reckoner: OpenReckoner, generation: Generation, user: str
) -> None:
    """Computed at the first request, cached at the second; ids are percent-encoded and may hold slashes."""
    path = f"/v1/users/{httpx.QueryParams({'u': user})}".replace("u=", "").replace("+", "%20") + "/recommendations"
    first, second = await http.get(path, params={"n": 3}), await http.get(path, params={"n": 3})
    expected = msgspec.to_builtins(await reckoner.get(user, 3))
    assert first.status_code == 200, first.text
    assert first.json() == second.json() == expected
    assert first.json()["user"] == user
    assert first.json()["source"] == ("cache" if user in USERS and "empty" not in user else "popular")


async def test_the_same_bytes_have_an_etag(http: httpx.AsyncClient, generation: Generation) -> None:
    """With it, an unchanged list is 304 without a body; other places have another one."""
    first = await http.get("/v1/users/Ada/recommendations?n=3")
    again = await http.get("/v1/users/Ada/recommendations?n=3", headers={"if-none-match": first.headers["etag"]})
    other = await http.get("/v1/users/Ada/recommendations?n=2", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert (other.status_code, other.headers["etag"] == first.headers["etag"]) == (200, False)


@pytest.mark.parametrize(
    ("query", "name", "words"),
    [
        ("exlude=x", "unknown-parameter", "Do you mean exclude?"),
        ("user=x", "unknown-parameter", "user"),
        ("n=6", "invalid-parameter", "n is 6"),
        ("n=0", "invalid-parameter", "n: expected `int` >= 1"),
        ("n=two", "invalid-parameter", "n: expected"),
        ("n=1&n=2", "invalid-parameter", "twice"),
        ("timeout=null", "invalid-parameter", "timeout"),
        ("timeout=nan", "invalid-parameter", "timeout"),
        ("timeout=61", "invalid-parameter", "timeout"),
        ("diversity=inf", "invalid-parameter", "diversity"),
        ("exclude=", "invalid-parameter", "exclude[0]"),
    ],
)
async def test_a_bad_parameter_is_named(
    http: httpx.AsyncClient, generation: Generation, query: str, name: str, words: str
) -> None:
    """In a sentence, with what was probably meant."""
    found = of_problem(await http.get(f"/v1/users/Ada/recommendations?{query}"), name, 422)
    assert words in found["detail"]


async def test_without_a_model_there_is_a_problem(http: httpx.AsyncClient) -> None:
    """And not an empty list."""
    of_problem(await http.get("/v1/users/Ada/recommendations"), "no-model", 409)


@pytest.mark.parametrize(
    ("method", "path", "name", "status"),
    [
        ("GET", "/v1/nothing", "no-such-path", 404),
        ("GET", "/v1/users/Ada/recommendations/", "no-such-path", 404),
        ("DELETE", "/v1/users/Ada/recommendations", "method-not-allowed", 405),
        ("GET", "/v1/users/%ff/recommendations", "malformed", 400),
        ("GET", "/v1/users//recommendations", "invalid-parameter", 422),
    ],
)
async def test_a_bad_path_is_a_problem(
    http: httpx.AsyncClient, generation: Generation, method: str, path: str, name: str, status: int
) -> None:
    """With the methods that it takes."""
    answer = await http.request(method, path)
    of_problem(answer, name, status)
    assert (answer.headers.get("allow") == "GET, HEAD") == (status == 405)


async def test_redis_away_is_a_problem(serve: Serve) -> None:
    """With the time of another try; the process lives, but is not ready."""
    async with serve(redis_url="redis://localhost:1") as http:
        answer = await http.get("/v1/users/Ada/recommendations")
        of_problem(answer, "redis-away", 503)
        assert answer.headers["retry-after"] == "1"
        with structlog.testing.capture_logs() as logs:
            ready = await http.get("/health/ready")
        of_problem(ready, "not-ready", 503)
        # Where Redis is, is told in the log, and not to those without a token.
        assert "localhost" not in ready.text
        assert [("localhost" in line["error"], line["event"]) for line in logs] == [(True, "not ready")]
        assert (await http.get("/health/live")).json() == {"status": "live"}


async def test_health(http: httpx.AsyncClient) -> None:
    """It is ready without a model."""
    assert (await http.get("/health/ready")).json() == {"status": "ready"}


async def test_other_reads_are_the_clients(
    http: httpx.AsyncClient, reckoner: OpenReckoner, generation: Generation
) -> None:
    """Each with its shape."""
    await reckoner.record("Ada", ITEMS[39])
    expected = {
        "/v1/items/item%2001/similar?n=3": await reckoner.similar(ITEMS[1], 3),
        "/v1/items/item%2001/similar/item%2002": await reckoner.similar(ITEMS[1], other=ITEMS[2]),
        "/v1/users/Ada/events": {"user": "Ada", "events": await reckoner.recent("Ada")},
        "/v1/lists": {"lists": await reckoner.list_names()},
        "/v1/lists/popular?n=2": await reckoner.named_list("popular", 2),
    }
    for path, value in expected.items():
        answer = await http.get(path)
        assert (answer.status_code, answer.json()) == (200, msgspec.to_builtins(value)), path
    many = await http.post("/v1/recommendations", json={"users": ["Ada", "user:1"], "n": 2})
    assert many.json() == {"answers": msgspec.to_builtins(await reckoner.get_many(["Ada", "user:1"], 2))}
    basket = await http.post("/v1/baskets", json={"items": [ITEMS[3], "unknown"], "n": 2})
    assert basket.json() == msgspec.to_builtins(await reckoner.recommend_for([ITEMS[3], "unknown"], 2))


async def test_a_history_comes_in_pages(
    http: httpx.AsyncClient, reckoner: OpenReckoner, generation: Generation
) -> None:
    """Together they are the whole one."""
    whole = await reckoner.history("Ada", 1000)
    assert whole.count > 5
    pages = await all_pages(http, "/v1/users/Ada/history", 2)
    assert {page["count"] for page in pages} == {whole.count}
    found = [item for page in pages for item in page["items"]]
    assert found == msgspec.to_builtins(whole.items)
    of_problem(await http.get("/v1/users/Ada/history?cursor=x"), "invalid-parameter", 422)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/items/nothing/similar", "item-unknown"),
        ("/v1/users/nobody/history", "user-unknown"),
        ("/v1/lists/nothing", "list-unknown"),
        ("/v1/jobs/nothing", "job-unknown"),
        ("/v1/runs/nothing", "run-unknown"),
    ],
)
async def test_what_is_unknown_is_a_problem(
    http: httpx.AsyncClient, generation: Generation, path: str, name: str
) -> None:
    """Each of a kind of its own."""
    of_problem(await http.get(path), name, 404)


async def test_a_list_that_is_late_is_a_problem(http: httpx.AsyncClient, hand: Hand, world: World) -> None:
    """Nobody works here; with a timeout of 0 nobody is waited for."""
    await hand.adopt(world, 1)
    of_problem(await http.get("/v1/users/Ada/recommendations?timeout=0.05"), "time-over", 504)
    answer = await http.get("/v1/users/Ada/recommendations?timeout=0")
    assert (answer.status_code, answer.json()["source"]) == (200, "popular")
    of_problem(await http.get("/v1/users/Ada/recommendations?timeout=0&fresh=true"), "invalid-parameter", 422)


async def test_a_full_queue_is_a_problem(serve: Serve, hand: Hand, world: World, prefix: str) -> None:
    """With the time of another try."""
    await hand.adopt(world, 1)
    settings = msgspec.convert({"prefix": prefix, "max_queued": 1}, Settings)
    async with serve(settings=settings) as http:
        assert (await http.post("/v1/jobs", json={"users": ["Ada"], "lane": "click"})).status_code == 202
        answer = await http.get("/v1/users/user:1/recommendations")
        of_problem(answer, "queue-full", 429)
        assert int(answer.headers["retry-after"]) > 0
