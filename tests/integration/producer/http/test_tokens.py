"""Who may what over HTTP."""

import os
from pathlib import Path

import httpx
import pytest
import structlog

from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.http import tokens
from reckoner.producer.http.app import ROUTES
from reckoner.producer.http.tokens import RANKS, Access
from reckoner.shared.errors import SettingsError
from reckoner.shared.redis.scripts import ask
from reckoner.shared.wire.shapes import FitSpec
from tests.integration.producer.http.conftest import TOKENS, Serve
from tests.integration.producer.http.problems import of_problem
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


def test_a_pipe_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tokens stay, also for processes that start later."""
    monkeypatch.setattr(tokens, "LOOK_S", 0.0)
    reading, writing = os.pipe()
    os.write(writing, b"read shop reader-token-0123456789\n")
    os.close(writing)
    access = Access(Path(f"/dev/fd/{reading}"))
    access.reload()
    assert access.of_token("reader-token-0123456789")
    os.close(reading)
    access.reload()
    assert len(access) == 1


# The least role of each change, and a change.
CHANGES = [
    ("write", "POST", "/v1/events", {"events": [{"user": "Ada", "item": "x"}]}),
    ("write", "PUT", "/v1/items/x", {"tags": ["new"]}),
    ("write", "PATCH", "/v1/items/x", {"add": ["new"]}),
    ("write", "DELETE", "/v1/items/x/tags", None),
    ("write", "PUT", "/v1/hidden", {"items": ["x"]}),
    ("write", "PUT", "/v1/users/Ada/hidden/x", None),
    ("write", "DELETE", "/v1/users/Ada/hidden/x", None),
    ("write", "POST", "/v1/users/visitor/merge", {"user": "Ada"}),
    ("write", "POST", "/v1/jobs", {"users": ["Ada"]}),
    ("write", "DELETE", "/v1/jobs/nothing", None),
    ("admin", "POST", "/v1/runs", {"kind": "run"}),
]


def test_every_change_is_in_the_table() -> None:
    """A new one needs a role too."""
    declared = {(route.role, route.method) for route in ROUTES if route.changes}
    assert len([route for route in ROUTES if route.changes and route.described]) == len(CHANGES)
    assert declared == {(role, method) for role, method, *_ in CHANGES}


@pytest.mark.parametrize(("needed", "method", "path", "body"), CHANGES)
async def test_a_change_needs_its_role(
    serve: Serve, tokens_file: Path, generation: Generation, needed: str, method: str, path: str, body: object
) -> None:
    """A lower one is refused, and nothing changes; each attempt is logged with its token's name, and no token."""
    async with serve(tokens_file=tokens_file) as http:
        for role, token in TOKENS.items():
            with structlog.testing.capture_logs() as logs:
                answer = await http.request(method, path, json=body, headers={"authorization": f"Bearer {token}"})
            if RANKS[role] < RANKS[needed]:
                of_problem(answer, "role-too-low", 403)
                assert not logs
            else:
                assert answer.status_code in (200, 202, 404), answer.text
                [line] = logs
                assert (line["event"], line["who"], line["status"]) == ("change", f"{role}er", answer.status_code)
                assert token not in repr(logs)
        of_problem(await http.request(method, path, json=body), "no-token", 401)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://localhost:8321"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
    ],
)
async def test_a_page_of_another_site_changes_nothing(
    http: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    """A browser names the site."""
    answer = await http.put("/v1/users/Ada/hidden/x", headers=headers)
    assert answer.status_code == status
    if status == 403:
        of_problem(answer, "foreign-origin", 403)


async def test_runs_are_cancelled_by_those_who_start_them(
    serve: Serve, tokens_file: Path, generation: Generation, reckoner: OpenReckoner
) -> None:
    """A role that may cancel jobs cancels no run, and no block of one or fit."""
    # None of them ends by itself.
    await reckoner.operator.pause("batch")
    [fit] = await reckoner.flows.create([FitSpec("s", "cosine", 5, 2.5, 20)], [reckoner.keys.join_fit("g")], "batch")
    async with serve(tokens_file=tokens_file) as http:
        by = {role: {"authorization": f"Bearer {token}"} for role, token in TOKENS.items()}
        run = (await http.post("/v1/runs", json={}, headers=by["admin"])).json()["id"]
        assert (await http.delete(f"/v1/jobs/{run}", headers=by["write"])).status_code == 404
        blocks = [flow_id.decode() for flow_id in await ask(reckoner.redis, "HVALS", reckoner.keys.flight(run))]
        assert blocks
        for flow_id in (fit, *blocks):
            of_problem(await http.delete(f"/v1/jobs/{flow_id}", headers=by["write"]), "role-too-low", 403)
        assert (await http.delete(f"/v1/jobs/{fit}", headers=by["admin"])).json()["cancelled"]
        job = (await http.post("/v1/jobs", json={"users": ["Bob"], "fresh": True}, headers=by["write"])).json()
        assert (await http.delete(f"/v1/jobs/{job['jobs'][0]['job']}", headers=by["write"])).json()["cancelled"]
        assert (await http.delete(f"/v1/jobs/{run}", headers=by["admin"])).json()["cancelled"]


@pytest.mark.parametrize(
    ("line", "said"),
    [("admin alice reader-token-0123456789", "is there twice"), ("read bob pässword-0123456789", "is not ASCII")],
)
def test_a_token_that_cannot_be_told_is_refused(tmp_path: Path, line: str, said: str) -> None:
    """With the number of its line, and without the token."""
    (tmp_path / "tokens").write_text(f"read shop reader-token-0123456789\n{line}\n")
    with pytest.raises(SettingsError, match=f"^The token in line 2 of .* {said}") as caught:
        Access(tmp_path / "tokens")
    assert line.split()[2] not in str(caught.value)


@pytest.mark.parametrize("path", ["/sign-in", "/sign-out"])
async def test_other_sites_neither_sign_in_nor_out(serve: Serve, tokens_file: Path, path: str) -> None:
    """Also without a cookie."""
    async with serve(tokens_file=tokens_file) as http:
        answer = await http.post(path, data={"token": TOKENS["admin"]}, headers={"origin": "https://evil.example"})
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


async def test_a_cookie_stands_for_a_token_on_pages_of_this_site(
    serve: Serve, tokens_file: Path, generation: Generation
) -> None:
    """Reads need nothing else; changes come from this site."""
    async with serve(tokens_file=tokens_file) as http:
        given = {"cookie": f"a=b; reckoner-session={Access(tokens_file).session_of(TOKENS['write'])}"}
        assert (await http.get(LIST, headers=given)).status_code == 200
        assert (await http.put("/v1/users/Ada/hidden/x", headers=given)).status_code == 200
        evil = given | {"origin": "http://evil.example"}
        of_problem(await http.put("/v1/users/Ada/hidden/x", headers=evil), "foreign-origin", 403)
        by_header = {"authorization": f"Bearer {TOKENS['write']}", "origin": "http://evil.example"}
        assert (await http.put("/v1/users/Ada/hidden/x", headers=by_header)).status_code == 200
