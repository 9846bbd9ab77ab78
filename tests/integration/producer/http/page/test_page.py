"""The page shows every screen, with and without data, and lets nobody change anything unasked."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from redis.asyncio import Redis
from starlette.responses import StreamingResponse

from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.http.calls import Call
from reckoner.producer.http.page.changes import CHANGES
from reckoner.producer.http.page.routes import ROUTES
from reckoner.producer.http.page.screens import MOST_STREAMS, Streams
from reckoner.producer.http.problems import ProblemError
from reckoner.producer.http.tokens import LOCAL
from reckoner.shared.flows.heartbeats import Heartbeats
from reckoner.shared.flows.nights import NightOptions
from reckoner.shared.flows.run_state import Figures, Manifest
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.history import Entry, History
from reckoner.shared.wire.shapes import (
    HOLDING,
    RESULT,
    Beat,
    Holding,
    Options,
    Record,
    Result,
    Running,
    ScoredItem,
    UserSpec,
)
from tests.commands import CommandLine
from tests.integration.producer.http.conftest import TOKENS, Serve
from tests.world import make_known

EVIL = "\"><script>alert(1)</script>\u202e&amp;'{{ 7*7 }}"
SCREENS = [route.path for route in ROUTES if route.role == "read"]
HTML = {"accept": "text/html"}


class Page(HTMLParser):
    """The figures, forms and links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.figures: dict[str, str] = {}
        self.fields: dict[str, str] = {}
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.action = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        assert "style" not in found, "the policy would refuse it"
        assert not [name for name in found if name.startswith("on")]
        if "data-figure" in found:
            self.figures[found["data-figure"]] = found["value"]
        if tag == "input" and "name" in found:
            self.fields[found["name"]] = found.get("value", "")
        if tag == "form" and found["action"].startswith("/change/"):
            self.action = found["action"]
        if tag == "a":
            self.links.append(found["href"])


@pytest.fixture(autouse=True)
def _without_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker answers here."""
    for name in ("people", "items"):
        monkeypatch.setattr(f"reckoner.producer.http.page.{name}.PATIENCE_S", 0.01)


@pytest.fixture
async def reckoner(redis_url: str, prefix: str) -> AsyncIterator[OpenReckoner]:
    async with OpenReckoner(redis_url, prefix=prefix) as client:
        yield client


@pytest.fixture
async def filled(reckoner: OpenReckoner, redis: Redis) -> str:
    """Two generations, workers, jobs, failures, a night that was refused, and ids that are no friends of HTML."""
    keys = reckoner.keys
    for number, name in enumerate(("before", "now")):
        record = Record(2, name, "model", "snapshot", Options(20), 1_700_000_000_000 + number, 12, ["i"])
        await make_known(redis, keys, record, {"i": f"Title {EVIL}", EVIL: EVIL})
        result = Result(2, [ScoredItem(EVIL, 0.5, "i"), ScoredItem(f"{number}", 0.4, EVIL)])
        await reckoner.results.write(name, [(EVIL, RESULT.encode(result))], 600)
        await ask(redis, "HSET", keys.held, name, HOLDING.encode(Holding(12, 3, 2**52)))
    await reckoner.operator.promote("now")
    jobs = [Running("chunk:89abcdef01234567:31:0", 1_700_000_000_000)]
    beat = Beat(1, f"shop {EVIL}", "host", 7, "1.0", 1_699_990_000_000, 1_700_000_000_500, 2**27, jobs, 60_000)
    await Heartbeats(redis, keys).write(beat)
    for user in (EVIL, "another"):
        [flow_id] = await reckoner.flows.create([UserSpec(user, "now")], [keys.join_user("now", user)])
        flow = await reckoner.flows.load(flow_id)
        assert flow is not None
        await reckoner.flows.fail(flow, f"no space is left on {EVIL}", lease=None)
    await reckoner.enqueue("waits", fresh=True)
    await reckoner.catalogue.hide([EVIL])
    await reckoner.catalogue.tag("i", add=[EVIL.strip()])
    await reckoner.record(EVIL, "i")
    figures = Figures(0.1, 0.2, 0.95, 0.01, 0.0, 90, 100, 0.2, 0.1)
    manifest = Manifest(12, 12, 0, 3, 1.5, 8.0, ["churn is too high"], {}, figures)
    for night, speed in (("n1", 4.0), ("n2", 8.0)):
        entry = Entry(
            id=night,
            kind="night",
            outcome="refused",
            started_ms=1_700_000_000_000 + int(speed),
            ended_ms=1_700_000_090_000,
            starter="command",
            date="2026-11-30",
            generation="before",
            reasons=[f"gate: {EVIL}"],
            stages=[{"name": "gate", "started_ms": 0, "ended_ms": 10, "outcome": "refused", "message": EVIL}],
            figures=msgspec.to_builtins(msgspec.structs.replace(manifest, users_per_second=speed)),
        )
        await History(redis, keys).remember(entry)
    await reckoner.operator.begin_night("2026-12-01", NightOptions())
    return "now"


def path_of(screen: str) -> str:
    """The address of a screen, with what it must be given."""
    return screen + ("?id=n1" if screen == "/night" else "")


@pytest.mark.parametrize("screen", [screen for screen in SCREENS if screen != "/night"])
async def test_every_screen_is_there_before_anything_is(http: httpx.AsyncClient, screen: str) -> None:
    """A new installation has a page that says what to do first."""
    answer = await http.get(screen, headers=HTML)
    assert answer.status_code == 200, answer.text
    assert "<h1>" in answer.text


@pytest.mark.parametrize("screen", [*map(path_of, SCREENS), "/queue?job=none", "/user?id={evil}", "/item?id={evil}"])
async def test_ids_of_any_kind_are_text(http: httpx.AsyncClient, filled: str, screen: str) -> None:
    """No id becomes markup, reverses a line or runs; the policy allows nothing from elsewhere."""
    answer = await http.get(screen.replace("{evil}", str(httpx.QueryParams({"x": EVIL}))[2:]), headers=HTML)
    assert answer.status_code == 200, answer.text
    assert "<script>alert" not in answer.text
    assert "\u202e" not in answer.text
    page = Page(answer.text)
    assert not page.tags & {"style", "iframe", "img", "object", "base"}
    assert [link for link in page.links if not link.startswith(("/", "#"))] == []
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def at(object_: Any, path: str) -> Any:
    """A value in `status --json`."""
    if path.startswith("#"):
        return len(object_[path[1:]])
    for part in path.split("."):
        object_ = object_[part]
    return object_


async def test_the_numbers_are_those_of_the_command(
    http: httpx.AsyncClient, filled: str, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """Each figure of each screen equals the one of `reckoner status --json`; ages and memory lie between two looks."""
    commands = CommandLine(redis_url=redis_url, prefix=prefix, home=tmp_path)
    [before] = commands.call("status", "--json").objects
    pages = [Page((await http.get(path_of(screen), headers=HTML)).text) for screen in SCREENS]
    [after] = commands.call("status", "--json").objects
    shown = {name: value for page in pages for name, value in page.figures.items()}
    assert {
        "queued",
        "dead",
        "lanes.batch.waiting",
        "lanes.batch.oldest_waiting_ms",
        "holdings.now.empty",
    } <= shown.keys()
    assert {
        "flows.split",
        "hidden_items",
        "events",
        "#workers",
        "generations.now.users",
        "redis_memory_bytes",
    } <= shown.keys()
    for name, value in shown.items():
        if name.endswith("_ms"):
            assert at(before, name) <= float(value) <= at(after, name), name
        elif name != "redis_memory_bytes":
            assert float(value) == at(before, name) == at(after, name), name
    assert shown["queued"] == "2"
    assert shown["dead"] == "2"


async def test_a_night_is_seen_with_its_gate(http: httpx.AsyncClient, filled: str) -> None:
    """Each figure beside the live one's and the limit, the reasons, and a line over the last nights."""
    night = (await http.get("/night?id=n1", headers=HTML)).text
    for text in ("95.0%", "at most 90.0%", "at least 50", "refused", "Acknowledge"):
        assert text in night
    assert '<span class="state bad">95.0%</span>' in night, "it is beyond its limit"
    nights = (await http.get("/nights", headers=HTML)).text
    assert "users per second: 2 values from 4 to 8, the first 4, the last 8" in nights
    assert "The night of 2026-12-01 is under way" in nights


async def test_a_user_is_side_by_side_with_the_generation_before(http: httpx.AsyncClient, filled: str) -> None:
    """What is new, what left, and what is hidden; without workers only the history is missing."""
    page = (await http.get("/user", params={"id": EVIL}, headers=HTML)).text
    assert "The workers did not answer in time" in page
    assert "hidden from everybody" in page
    assert ">new</span>" in page
    assert "Left the list since" in page


async def confirmed(http: httpx.AsyncClient, name: str, **asked: str) -> httpx.Response:
    """Ask for a change, and confirm it."""
    question = await http.get(f"/change/{name}", params=asked, headers=HTML)
    assert question.status_code == 200, question.text
    return await post(http, Page(question.text))


async def post(http: httpx.AsyncClient, question: "Page", **changes: str) -> httpx.Response:
    """Send the form of a question."""
    return await http.post(question.action, data={**question.fields, **changes}, headers=HTML)


async def test_a_change_is_asked_back_and_told(http: httpx.AsyncClient, filled: str, reckoner: OpenReckoner) -> None:
    """The question changes nothing; the answer does it, leads back, and says so once."""
    await http.get("/change/pause?of=batch", headers=HTML)
    assert (await reckoner.operator.status()).queues["batch"].paused_ms is None
    done = await confirmed(http, "pause", of="batch")
    assert (done.status_code, done.headers["location"]) == (303, "/queue")
    assert (await reckoner.operator.status()).queues["batch"].paused_ms is not None
    assert "The batch lane is paused." in (await http.get("/queue", headers=HTML)).text
    assert "The batch lane is paused." not in (await http.get("/queue", headers=HTML)).text


async def test_all_changes_do_what_they_say(http: httpx.AsyncClient, filled: str, reckoner: OpenReckoner) -> None:
    """Each of the table, one after the other."""
    operator, tried = reckoner.operator, set()

    async def change(name: str, **asked: str) -> None:
        tried.add(name)
        done = await confirmed(http, name, **asked)
        assert done.status_code == 303, done.text

    [worker] = [each.worker for each in await operator.alive()]
    await change("pause", of="click")
    await change("resume", of="click")
    assert (await operator.status()).queues["click"].paused_ms is None
    await change("roll-back", of="before")
    assert await reckoner.generation() == "before"
    await change("promote", of="now")
    assert await reckoner.generation() == "now"
    await change("acknowledge", of="n1")
    assert (await operator.entry("n1")).acknowledged
    await change("drain", of=worker)
    await change("unhide", of=EVIL)
    assert await reckoner.catalogue.hidden() == []
    await change("hide", of="i")
    assert [each.item for each in await reckoner.catalogue.hidden()] == ["i"]
    await change("tag", of="i", word=" new ")
    await change("untag", of="i", word=EVIL)
    assert [each.tags for each in await reckoner.catalogue.tags(["i"])] == [["new"]]
    await change("reset-tags", of="i")
    assert [each.tags for each in await reckoner.catalogue.tags(["i"])] == [[]]
    [group] = await operator.failures()
    await change("retry", of=group.id)
    assert (await operator.status()).dead == 0
    [flow_id] = await reckoner.flows.create([UserSpec("x", "now")], [reckoner.keys.join_user("now", "x")])
    await change("cancel", of=flow_id)
    flow = await reckoner.flows.load(flow_id)
    assert flow is not None
    assert flow.state == "cancelled"
    [other] = await reckoner.flows.create([UserSpec("y", "now")], [reckoner.keys.join_user("now", "y")])
    flow = await reckoner.flows.load(other)
    assert flow is not None
    await reckoner.flows.fail(flow, "again", lease=None)
    [group] = await operator.failures()
    await change("drop", of=group.id)
    assert await operator.failures() == []
    assert tried == CHANGES.keys()


async def test_a_form_is_good_for_its_own_change_alone(http: httpx.AsyncClient, reckoner: OpenReckoner) -> None:
    """Without its seal, with another lane or for another change it is refused, and nothing happens."""
    page = Page((await http.get("/change/pause?of=batch", headers=HTML)).text)
    assert page.action == "/change/pause?of=batch&word="
    for seal in ("", "0" * 64, "ä"):
        assert (await post(http, page, seal=seal)).status_code == 403
    for action in ("/change/pause?of=click&word=", "/change/resume?of=batch&word=", "/change/pause?of=batch&word=x"):
        assert (await http.post(action, data=page.fields, headers=HTML)).status_code == 403
    for headers in ({"origin": "http://elsewhere.example"}, {"sec-fetch-site": "same-site"}):
        assert (await http.post(page.action, data=page.fields, headers=headers)).status_code == 403
    assert (await http.post(page.action, json=page.fields, headers=HTML)).status_code == 400
    status = await reckoner.operator.status()
    assert [queue.paused_ms for queue in status.queues.values()] == [None, None]


async def test_a_browser_signs_in_with_a_token(serve: Serve, tokens_file: Path) -> None:
    """A cookie that scripts do not see stands for the token, whose role decides; a wrong token is refused."""
    async with serve(tokens_file=tokens_file) as http:
        asked = await http.get("/nights?x=1", headers=HTML)
        assert asked.headers["location"] == "/sign-in?to=%2Fnights%3Fx%3D1"
        wrong = await http.post("/sign-in", data={"token": "wrong-token-0123456", "to": "/nights"}, headers=HTML)
        assert (wrong.status_code, "not in the file of tokens" in wrong.text) == (403, True)
        done = await http.post("/sign-in", data={"token": TOKENS["read"], "to": "/nights"}, headers=HTML)
        assert (done.status_code, done.headers["location"]) == (303, "/nights")
        kept = done.headers["set-cookie"]
        assert "HttpOnly" in kept
        assert "SameSite=strict" in kept
        assert TOKENS["read"] not in kept
        nights = await http.get("/nights", headers=HTML)
        assert (nights.status_code, "reader, role read" in nights.text) == (200, True)
        refused = await http.get("/change/pause?of=batch", headers=HTML)
        assert (refused.status_code, "needs the role admin" in refused.text) == (403, True)
        await http.post("/sign-in", data={"token": TOKENS["admin"]}, headers=HTML)
        assert (await confirmed(http, "pause", of="batch")).status_code == 303
        await http.post("/sign-out", headers=HTML)
        assert (await http.get("/nights", headers=HTML)).status_code == 303


async def test_a_cookie_ends_with_its_time_and_with_its_token(serve: Serve, tokens_file: Path) -> None:
    """A longer time is not signed; a token that leaves the file takes its cookies along, in every process."""
    async with serve(tokens_file=tokens_file) as http, serve(tokens_file=tokens_file) as other:
        await http.post("/sign-in", data={"token": TOKENS["read"]}, headers=HTML)
        good = http.cookies["reckoner-session"]
        until, _, signature = good.partition(".")
        other.cookies.set("reckoner-session", good)
        assert (await other.get("/queue", headers=HTML)).status_code == 200
        for bad in (
            f"{int(until) + 1}.{signature}",
            f"{until}.",
            "",
            "x.y",
        ):
            http.cookies.clear()
            headers = {**HTML, "cookie": f"reckoner-session={bad}"}
            assert (await http.get("/queue", headers=headers)).status_code == 303


@pytest.mark.parametrize("to", ["//elsewhere.example", "/\\elsewhere.example", "https://elsewhere.example", "x"])
async def test_signing_in_leads_nowhere_else(serve: Serve, tokens_file: Path, to: str) -> None:
    """An address that was planted in the link is not followed."""
    async with serve(tokens_file=tokens_file) as http:
        done = await http.post("/sign-in", data={"token": TOKENS["read"], "to": to}, headers=HTML)
        assert done.headers["location"] == "/"


async def test_a_screen_is_sent_again_when_it_changes(
    http: httpx.AsyncClient, reckoner: OpenReckoner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As server-sent events with the whole screen in JSON, until the server stops."""
    # No pause between two looks.
    monkeypatch.setattr("reckoner.producer.http.page.screens.TICK_S", 1_000.0)
    server = http._transport.app.state.server  # type: ignore[attr-defined]
    [route] = [route for route in ROUTES if route.path == "/queue"]
    headers = {b"accept": b"text/event-stream"}
    # A stream lives longer than a request may take.
    call = Call(server, {"type": "http", "method": "GET"}, never, headers, LOCAL, 0.001)
    answer = await route.handle(call, route.asked())
    assert isinstance(answer, StreamingResponse)
    assert answer.media_type == "text/event-stream"
    events = aiter(answer.body_iterator)
    name, data = str(await anext(events)).removesuffix("\n\n").split("\n")
    assert name == "event: page"
    assert "paused for" not in json.loads(data.removeprefix("data: "))
    await reckoner.operator.pause("batch")
    while "paused for" not in str(await anext(events)):
        pass
    server.stopping = True
    assert [event async for event in events] == []


async def test_only_a_get_opens_a_stream(http: httpx.AsyncClient) -> None:
    """A HEAD has no body, and so no events."""
    answer = await http.head("/queue", headers={"accept": "text/event-stream"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")


async def test_a_page_too_many_is_told_to_ask_again(http: httpx.AsyncClient) -> None:
    """It gets no stream; whole pages are answered all the same."""
    server = http._transport.app.state.server  # type: ignore[attr-defined]
    server.extra["streams"] = Streams(MOST_STREAMS)
    answer = await http.get("/queue", headers={"accept": "text/event-stream"})
    assert answer.status_code == 503
    assert (await http.get("/queue", headers=HTML)).status_code == 200


async def test_open_pages_are_counted_before_they_get_anything(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So those that come at once are not too many; and no more once the browser has gone, whenever that is."""
    monkeypatch.setattr("reckoner.producer.http.page.screens.MOST_STREAMS", 2)
    server = http._transport.app.state.server  # type: ignore[attr-defined]
    [route] = [route for route in ROUTES if route.path == "/queue"]
    scope = {"type": "http", "method": "GET", "asgi": {"spec_version": "2.3"}}
    call = Call(server, scope, never, {b"accept": b"text/event-stream"}, LOCAL, None)
    both = [await route.handle(call, route.asked()) for _ in range(2)]
    with pytest.raises(ProblemError, match="There are 2 open pages"):
        await route.handle(call, route.asked())
    for answer in both:
        await answer(scope, gone, stuck)
    assert server.extra["streams"].count == 0


async def gone() -> dict[str, str]:
    """The browser closed the connection."""
    return {"type": "http.disconnect"}


async def stuck(_: object) -> None:
    """The browser reads nothing."""
    await asyncio.Event().wait()


async def never() -> Any:
    """No message arrives."""
    raise AssertionError


async def test_files_are_kept_by_their_version(http: httpx.AsyncClient) -> None:
    """The page names the version, so that another release's files are fetched anew; there are no others."""
    page = (await http.get("/", headers=HTML)).text
    for name in ("style.css", "script.js", "icon.svg"):
        [url] = re.findall(rf'"(/page/{name}\?version=\w+)"', page)
        answer = await http.get(url)
        assert (answer.status_code, "immutable" in answer.headers["cache-control"]) == (200, True)
    for name in ("base.html", "..%2Frendering.py", "rendering.py"):
        assert (await http.get(f"/page/{name}")).status_code == 404
