"""What tests of the HTTP API look for: problems, and whole pages."""

from typing import Any

import httpx


def of_problem(answer: httpx.Response, name: str, status: int) -> dict[str, Any]:
    """The problem of an answer, which is of a kind."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    found: dict[str, Any] = answer.json()
    assert (answer.status_code, found["status"], found["type"]) == (status, status, f"urn:reckoner:problem:{name}")
    assert found["detail"].endswith("."), found
    return found


async def all_pages(http: httpx.AsyncClient, path: str, n: int) -> list[dict[str, Any]]:
    """The pages of a path, of `n` entries each but the last."""
    pages, cursor = list[dict[str, Any]](), dict[str, str]()
    while True:
        answer = await http.get(path, params={"n": str(n)} | cursor)
        assert answer.status_code == 200, answer.text
        pages.append(answer.json())
        if pages[-1]["next"] is None:
            return pages
        cursor = {"cursor": pages[-1]["next"]}
