"""Dispatch: from a request to its route's handler, and from what that returns or raises to an answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from hashlib import blake2b
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
import structlog
from starlette.responses import Response
from starlette.routing import BaseRoute, Match

from reckoner.producer.client.deadlines import Deadlines
from reckoner.producer.http.calls import Call, Server
from reckoner.producer.http.problems import MEDIA_TYPE, ProblemError, as_problem
from reckoner.producer.http.routes import Bound, Table
from reckoner.producer.http.tokens import Identity
from reckoner.shared.errors import ReckonerError
from reckoner.shared.metrics.table import OTHER
from reckoner.shared.tracing import called_by

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

log = structlog.get_logger()

T = TypeVar("T")
Headers = list[tuple[bytes, bytes]]
# Shows a problem in another way than as JSON; None where it does not.
Explain = Callable[["Scope", ProblemError], Response | None]
# Of every answer but a page's, which says its own.
SAFE: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
JSON = (b"content-type", b"application/json")
NO_STORE = (b"cache-control", b"no-store")
# A cache asks whether its copy is still right.
REVALIDATE = (b"cache-control", b"private, no-cache")
# How much later than the client's call a request ends in any case.
GRACE_S = 0.5


class Answer(NamedTuple):
    """An answer that is ready to be sent."""

    status: int
    headers: Headers
    body: bytes


class Dispatch(BaseRoute):
    """All routes of a table, as one route of Starlette's: an id in a path may hold slashes."""

    def __init__(self, table: Table, explain: Explain | None = None) -> None:
        """`explain` may show a problem in another way, as to a browser."""
        self.table = table
        self.server: Server
        self._explain = explain
        self._deadlines = Deadlines()
        self._encode: Callable[[object], bytes] = msgspec.json.Encoder().encode

    def matches(self, scope: "Scope") -> tuple[Match, "Scope"]:
        """Every request."""
        return (Match.FULL if scope["type"] == "http" else Match.NONE), {}

    async def handle(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request, and count it."""
        answer: Answer | Response
        began_s, counting = monotonic(), self.server.counting
        try:
            answer = await self._answer(scope, receive)
        except ProblemError as problem:
            answer = self._of_problem(problem, scope)
        except ReckonerError as error:
            if (found := as_problem(error)).status == 500:
                log.exception("request failed", path=_path(scope))
            answer = self._of_problem(found, scope)
        except asyncio.CancelledError:
            answer = self._of_problem(ProblemError("not-ready", "The server stops."), scope)
        except Exception:
            log.exception("request failed", path=_path(scope))
            answer = self._of_problem(ProblemError("internal", "See the log of `reckoner serve`."), scope)
        status = answer.status_code if isinstance(answer, Response) else answer.status
        counting.request(scope.get("kind", OTHER), status, monotonic() - began_s)
        if isinstance(answer, Response):
            await answer(scope, receive, send)
            return
        status, headers, body = answer
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": [*headers, *SAFE]})
        await send({"type": "http.response.body", "body": body})

    def _of_problem(self, problem: ProblemError, scope: "Scope") -> "Answer | Response":
        shown = self._explain(scope, problem) if self._explain else None
        return _of_problem(problem) if shown is None else shown

    async def _answer(self, scope: "Scope", receive: "Receive") -> Answer | Response:
        server = self.server
        method, headers = scope["method"], dict(scope["headers"])
        bound, values = self.table.find(method, scope["raw_path"])
        scope["kind"] = bound.kind
        identity = server.access.identify(method, headers)
        _require_role(bound, identity)
        if not bound.route.counted:
            return await self._handled(server, bound, values, identity, scope, receive, headers)
        if server.in_flight >= server.config.limits.max_requests:
            raise ProblemError("too-busy", f"There are {server.in_flight:,} requests at once. Try again soon.")
        server.in_flight += 1
        try:
            return await self._handled(server, bound, values, identity, scope, receive, headers)
        finally:
            server.in_flight -= 1

    async def _handled(
        self,
        server: Server,
        bound: Bound,
        values: dict[str, Any],
        identity: Identity | None,
        scope: "Scope",
        receive: "Receive",
        headers: Mapping[bytes, bytes],
    ) -> Answer | Response:
        route = bound.route
        asked = bound.reader.parameters(values, scope["query_string"])
        call = Call(server, scope, receive, headers, identity, getattr(asked, "timeout", None))
        status = 500
        try:
            if route.body is not None:
                call.given = bound.reader.body(await self._body(call, route.most_body_bytes))
                call.limit(getattr(call.given, "timeout", None))
            with called_by(headers.get(b"traceparent")):
                result = await self._in_time(route.handle(call, asked), call.left_s + GRACE_S, "time-over")
            if isinstance(result, Response):
                status = result.status_code
                return result
            status = route.status
            return _of_result(route.status, result if isinstance(result, bytes) else self._encode(result), call)
        except ProblemError as problem:
            status = problem.status
            raise
        except ReckonerError as error:
            status = as_problem(error).status
            raise
        finally:
            if route.changes:
                _audit(call, status)

    async def _body(self, call: Call, most: int) -> bytes:
        kind = call.headers.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
        if kind != b"application/json":
            raise ProblemError("not-json", "The body must be JSON, with the content type application/json.")
        return await self._in_time(call.read(most), call.server.config.limits.body_s, "slow-request")

    async def _in_time(self, work: Awaitable[T], limit_s: float, name: str) -> T:
        """What `work` returns, or a problem after `limit_s` seconds."""
        deadline = self._deadlines.start(limit_s)
        try:
            return await work
        except asyncio.CancelledError:
            if deadline.ended():
                closing = {"connection": "close"} if name == "slow-request" else {}
                raise ProblemError(name, "The time is over. What was begun may continue.", headers=closing) from None
            raise
        finally:
            self._deadlines.stop(deadline)


def _require_role(bound: Bound, identity: Identity | None) -> None:
    role = bound.route.role
    if role is None or (identity is not None and identity.may(role)):
        return
    if identity is None:
        raise ProblemError(
            "no-token",
            "Send a valid token: `Authorization: Bearer TOKEN`.",
            headers={"www-authenticate": 'Bearer realm="reckoner"'},
        )
    raise ProblemError("role-too-low", f"This needs the role {role}, but the token's role is {identity.role}.")


def _of_result(status: int, body: bytes, call: Call) -> Answer:
    """An answer as JSON; of a GET with a strong ETag, and without its body if the caller has it."""
    if call.scope["method"] not in ("GET", "HEAD") or status != 200:
        return Answer(status, [JSON, NO_STORE], body)
    tag = b'"%b"' % blake2b(body, digest_size=12).hexdigest().encode()
    if (known := call.headers.get(b"if-none-match")) and (tag in known or known == b"*"):
        return Answer(304, [(b"etag", tag), REVALIDATE], b"")
    return Answer(200, [JSON, REVALIDATE, (b"etag", tag)], body)


def _of_problem(problem: ProblemError) -> Answer:
    more = [(name.encode(), value.encode()) for name, value in problem.headers.items()]
    return Answer(problem.status, [(b"content-type", MEDIA_TYPE), NO_STORE, *more], problem.body)


def _audit(call: Call, status: int) -> None:
    """Log a change, or an attempt: who, what, and how it ended."""
    who, peer = call.identity, call.scope.get("client")
    log.info(
        "change",
        who=who.name if who else "",
        role=who.role if who else "",
        method=call.scope["method"],
        path=_path(call.scope),
        status=status,
        peer=peer[0] if peer else "",
    )


def _path(scope: "Scope") -> str:
    return str(scope["raw_path"].decode("latin-1"))[:2_000]
