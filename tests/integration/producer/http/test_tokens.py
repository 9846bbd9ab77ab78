"""Who may what over HTTP."""

import os
from pathlib import Path

import httpx
import pytest

from reckoner.producer.http import tokens
from tests.integration.producer.http.conftest import TOKENS, Serve
from tests.integration.producer.http.test_reading import of_problem
from tests.world import Generation

LIST = "/v1/users/Ada/recommendations"


@pytest.mark.parametrize("host", ["example.com", "localhost.example.com", "127.0.0.1.example.com:80", "", "[::2]:80"])
async def test_without_tokens_only_this_machine_is_answered(http: httpx.AsyncClient, host: str) -> None:
    """A name that DNS leads here is none of its names."""
    of_problem(await http.get(LIST, headers={"host": host}), "foreign-host", 403)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.1.2.3:8321", "[::1]:8321", "a.localhost"])
async def test_this_machine_has_several_names(http: httpx.AsyncClient, generation: Generation, host: str) -> None:
    """All of them lead here only."""
    assert (await http.get(LIST, headers={"host": host})).status_code == 200


@pytest.mark.parametrize("role", TOKENS)
async def test_each_role_reads(serve: Serve, tokens_file: Path, generation: Generation, role: str) -> None:
    """From any host name."""
    async with serve(tokens_file=tokens_file) as http:
        given = {"authorization": f"Bearer {TOKENS[role]}", "host": "shop.example.com"}
        assert (await http.get(LIST, headers=given)).status_code == 200


@pytest.mark.parametrize(
    "given", [{}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKENS['admin']}"}, {"cookie": "x=y"}]
)
async def test_without_a_token_there_is_no_answer(serve: Serve, tokens_file: Path, given: dict[str, str]) -> None:
    """But a probe gets one."""
    async with serve(tokens_file=tokens_file) as http:
        answer = await http.get(LIST, headers=given)
        of_problem(answer, "no-token", 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert (await http.get("/health/live", headers=given)).status_code == 200


async def test_a_changed_file_counts_at_once(
    serve: Serve, tokens_file: Path, generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An invalid one leaves the tokens as they are."""
    monkeypatch.setattr(tokens, "LOOK_S", 0.0)
    new = {"authorization": "Bearer another-token-0123"}
    async with serve(tokens_file=tokens_file) as http:
        assert (await http.get(LIST, headers=new)).status_code == 401
        for text, expected in (("read shop another-token-0123\n", 200), ("read shop\n", 200), ("# none\n", 200)):
            other = tokens_file.with_suffix(".new")
            other.write_text(text)
            os.replace(other, tokens_file)
            assert (await http.get(LIST, headers=new)).status_code == expected
        old = {"authorization": f"Bearer {TOKENS['admin']}"}
        assert (await http.get(LIST, headers=old)).status_code == 401
