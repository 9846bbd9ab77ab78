"""What is read over HTTP is what the client reads, and bad requests get one clear sentence."""

from typing import Any

import httpx
import msgspec
import pytest

from reckoner.producer.client.open import OpenReckoner
from tests.integration.producer.http.conftest import Serve
from tests.world import USERS, Generation


def of_problem(answer: httpx.Response, name: str, status: int) -> dict[str, Any]:
    """The problem of an answer, which is of a kind."""
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert (answer.status_code, found["status"], found["type"]) == (status, status, f"urn:reckoner:problem:{name}")
    assert found["detail"].endswith(".")
    return found


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
        ("n=0", "invalid-parameter", "n is 0"),
        ("n=two", "invalid-parameter", "n: expected"),
        ("n=1&n=2", "invalid-parameter", "twice"),
        ("timeout=nan", "invalid-parameter", "timeout"),
        ("timeout=61", "invalid-parameter", "timeout"),
        ("diversity=inf", "invalid-parameter", "diversity"),
        ("exclude=", "invalid-parameter", "The item '' is empty"),
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
        of_problem(await http.get("/health/ready"), "not-ready", 503)
        assert (await http.get("/health/live")).json() == {"status": "live"}


async def test_health(http: httpx.AsyncClient) -> None:
    """It is ready without a model."""
    assert (await http.get("/health/ready")).json() == {"status": "ready"}
