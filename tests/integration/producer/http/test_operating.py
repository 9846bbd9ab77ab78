"""What operators ask over HTTP."""

import asyncio
from typing import Any

import httpx

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.serving.history import Entry, History
from tests.commands import CommandLine
from tests.integration.producer.http.problems import all_pages
from tests.world import Generation


async def test_the_status_is_the_commands(
    http: httpx.AsyncClient, commands: CommandLine, generation: Generation
) -> None:
    """Field by field; ages differ."""
    found: dict[str, Any] = (await http.get("/v1/status")).json()
    [printed] = (await asyncio.to_thread(commands.call, "status", "--json")).objects
    assert found.keys() == printed.keys()
    same = set(found) - {"redis_memory_bytes", "results", "flows", "imported_snapshot"}
    assert {name: found[name] for name in same} == {name: printed[name] for name in same}
    assert found["generation"] == generation.id


async def test_the_history_comes_in_pages(http: httpx.AsyncClient, reckoner: OpenReckoner) -> None:
    """Newest first; each entry has a path of its own."""
    history = History(reckoner.redis, reckoner.keys)
    for number in range(7):
        kind = "night" if number % 2 else "run"
        await history.remember(
            Entry(id=f"e{number}", kind=kind, outcome="live", started_ms=1000 + number // 2, ended_ms=2000)  # type: ignore[arg-type]
        )
    found = [entry["id"] for page in await all_pages(http, "/v1/runs", 2) for entry in page["runs"]]
    assert found == [entry.id for entry in await reckoner.operator.entries(10)]
    assert len(found) == 7
    nights = (await http.get("/v1/runs?kind=night")).json()["runs"]
    assert [entry["id"] for entry in nights] == ["e5", "e3", "e1"]
    assert (await http.get("/v1/runs/e3")).json() == nights[1]


async def test_a_run_is_started_and_joined(http: httpx.AsyncClient, generation: Generation) -> None:
    """Its progress is at its path until it ends."""
    first = await http.post("/v1/runs", json={})
    assert (first.status_code, first.json()["new"]) == (202, True)
    for path in ("jobs", "runs"):
        assert (await http.get(f"/v1/{path}/{first.json()['id']}")).json()["kind"] == "run"
    night = (await http.post("/v1/runs", json={"kind": "night", "date": "2026-01-31", "dry": True})).json()
    assert night["new"]
    assert (await http.get(f"/v1/runs/{night['id']}")).json()["date"] == "2026-01-31"
    joined = (await http.post("/v1/runs", json={"kind": "night", "date": "2026-01-31", "dry": True})).json()
    assert joined == night | {"new": False}
