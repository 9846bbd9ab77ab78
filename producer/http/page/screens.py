"""Screens: how a page is gathered, rendered, kept up to date and refused."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from msgspec import Struct
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from reckoner.producer.http.page.rendering import render
from reckoner.producer.http.page.sessions import seal
from reckoner.producer.http.problems import ProblemError
from reckoner.producer.http.routes import Nothing, Route
from reckoner.producer.http.tokens import cookie
from reckoner.shared.errors import ReckonerError
from reckoner.shared.version import installed_version

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from reckoner.producer.http.calls import Call

SAFE: Final[Mapping[str, str]] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}
# A sentence that is shown once, after a change.
NOTICE = "reckoner-notice"
# A stream ends after this time, and the browser opens another one.
STREAM_S = 300.0
# One takes up to a hundredth of a core.
MOST_STREAMS = 30
# Within this time, a stream notices that the server stops.
TICK_S = 0.5
NAVIGATION = (
    ("/", "Overview"),
    ("/nights", "Nights"),
    ("/queue", "Queue"),
    ("/workers", "Workers"),
    ("/failures", "Failures"),
    ("/user", "User"),
    ("/item", "Item"),
    ("/models", "Models"),
)


@dataclass
class Seen:
    """What one open page has seen of figures over time, the oldest first."""

    series: dict[str, list[float | None]] = field(default_factory=dict)

    def add(self, name: str, value: float | None, most: int = 120) -> list[float | None]:
        """Add a value and return all of them."""
        values = self.series.setdefault(name, [])
        values.append(value)
        del values[:-most]
        return values


@dataclass
class Streams:
    """The number of open streams of a process."""

    count: int = 0


class Stream(StreamingResponse):
    """Events of an open page, which is counted until the answer has ended, whether it was begun or not."""

    def __init__(self, streams: Streams, events: AsyncIterator[str]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={**SAFE, "x-accel-buffering": "no"})
        self._streams = streams
        streams.count += 1

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.count -= 1


Gather = Callable[["Call", Any, Seen], Awaitable[dict[str, Any]]]


def screen(
    path: str, title: str, template: str, gather: Gather, asked: type[Struct] = Nothing, every_s: float | None = 2.0
) -> Route:
    """The route of a screen, which reads; it is gathered again every `every_s` seconds while somebody looks, or not."""

    async def show(call: "Call", parameters: Any) -> Response:
        async def context(seen: Seen) -> dict[str, Any]:
            return {
                "path": path,
                "title": title,
                "every_s": every_s,
                **of_visitor(call),
                **await gather(call, parameters, seen),
            }

        reads = call.scope["method"] == "GET"
        if every_s is not None and reads and b"text/event-stream" in call.headers.get(b"accept", b""):
            return _stream(call, template, context, every_s)
        return page(call, template, await context(Seen()))

    return Route(
        method="GET", path=path, role="read", handle=show, summary=f"Show {title}.", asked=asked, described=False
    )


def page(call: "Call", template: str, context: Mapping[str, Any], status: int = 200) -> Response:
    """A whole page, with the notice of the last change."""
    notice = unquote(cookie(call.headers, NOTICE))
    response = HTMLResponse(render(template, {**context, "notice": notice}), status, headers=SAFE)
    if notice:
        response.delete_cookie(NOTICE, httponly=True, samesite="strict")
    return response


def of_visitor(call: "Call") -> dict[str, Any]:
    """What each template needs to know about who looks, and where."""
    identity = call.identity
    return {
        "navigation": NAVIGATION,
        "identity": identity,
        "may_change": identity is not None and identity.may("admin"),
        "has_tokens": not call.server.access.is_local,
        "release": installed_version(),
        "seal": lambda *parts: seal(call, *parts),
    }


def moved(to: str, notice: str = "") -> Response:
    """Lead the browser to a path, which shows a notice once."""
    response = RedirectResponse(to, 303, headers=SAFE)
    if notice:
        # Browsers keep about 4 KiB of a cookie.
        response.set_cookie(NOTICE, quote(notice[:800]), max_age=60, httponly=True, samesite="strict")
    return response


def _stream(
    call: "Call", template: str, context: Callable[[Seen], Awaitable[dict[str, Any]]], every_s: float
) -> Response:
    """The screen again and again, as server-sent events with HTML in JSON."""
    streams = call.server.extra.setdefault("streams", Streams())
    assert isinstance(streams, Streams)
    if streams.count >= MOST_STREAMS:
        raise ProblemError("too-busy", f"There are {MOST_STREAMS} open pages. This one asks again instead.")

    async def events() -> AsyncIterator[str]:
        clock, seen, last = asyncio.get_running_loop().time, Seen(), ""
        until = clock() + STREAM_S
        while clock() < until and not call.server.stopping:
            # Each look has the time of a request.
            call.limit(None)
            try:
                text = render(template, {**await context(seen), "notice": ""})
                name = "page"
            except ReckonerError as error:
                text, name = str(error), "trouble"
            if text != last:
                yield f"event: {name}\ndata: {json.dumps(text)}\n\n"
                last = text
            else:
                yield ": nothing new\n\n"
            for _ in range(round(every_s / TICK_S)):
                if not call.server.stopping:
                    await asyncio.sleep(TICK_S)

    return Stream(streams, events())


def explain(scope: "Scope", problem: ProblemError) -> Response | None:
    """A problem as a page, if a browser asks for one; without a token, the sign-in form."""
    headers, path = dict(scope["headers"]), scope["path"]
    if b"text/html" not in headers.get(b"accept", b"") or path.startswith(("/v1/", "/health/", "/metrics")):
        return None
    if problem.status == 401:
        query = scope["query_string"].decode("latin-1")
        to = (scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")) if scope["method"] == "GET" else "/"
        return moved(f"/sign-in?to={quote(to, safe='')}")
    text = render(
        "problem.html", {"title": problem.problem.title, "problem": problem.problem, "navigation": NAVIGATION}
    )
    return HTMLResponse(text, problem.status, headers={**SAFE, **problem.headers})
