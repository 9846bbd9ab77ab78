"""Routes: one declaration makes the dispatch, the authorisation and the description of a path and a method."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote_to_bytes

from msgspec import Struct, field

from reckoner.producer.http.counting import request_kind
from reckoner.producer.http.parameters import Reader
from reckoner.producer.http.problems import ProblemError
from reckoner.producer.http.tokens import Role

if TYPE_CHECKING:
    from reckoner.producer.http.calls import Call

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Handler = Callable[["Call", Any], Awaitable[Any]]


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


class Route(Struct, frozen=True, kw_only=True, dict=True, eq=False):
    """A path and a method, and what happens there."""

    method: Method
    path: str
    """Its segments, as in `/v1/users/{user}/history`; one in braces is a parameter, percent-encoded in a request."""
    role: Role | None
    """The role that is needed; None for everybody."""
    handle: Handler
    """Gets the call and the parameters; returns JSON as bytes, a value to encode, or a whole response of Starlette."""
    summary: str
    """What it does, in a sentence."""
    asked: type[Struct] = Nothing
    """The parameters in the path and the query; a tuple may be repeated."""
    body: type[Struct] | None = None
    """The shape of the JSON body; without one the handler may read the body itself."""
    most_body_bytes: int = 0
    """The most bytes of its body, where that is more than the limit of all routes."""
    answer: Any = None
    """The shape of the JSON answer."""
    status: int = 200
    example: Mapping[str, Any] = {}
    """Values of parameters, `body` among them, with which the demonstration's data answer."""
    problems: tuple[str, ...] = ()
    """The kinds of problems that this route may have beside those of all."""
    described: bool = True
    """Whether /openapi.json has it."""
    counted: bool = True
    """Whether it counts among the requests at once; a probe does not."""

    @cached_property
    def segments(self) -> tuple[str, ...]:
        """The path's segments."""
        return tuple(self.path.split("/")[1:])

    @cached_property
    def in_path(self) -> frozenset[str]:
        """The names of the parameters in the path."""
        return frozenset(one[1:-1] for one in self.segments if one.startswith("{"))

    @cached_property
    def changes(self) -> bool:
        """Whether it changes something: then an audit line is logged."""
        return self.method != "GET" and self.role in ("write", "admin")


class Node(Struct):
    """The routes whose path begins alike: by the next segment, by a parameter, and those that end here."""

    literal: dict[str, "Node"] = field(default_factory=dict)
    parameter: "Node | None" = None
    routes: dict[str, "Bound"] = field(default_factory=dict)
    """By method."""


class Bound(Struct, frozen=True, eq=False):
    """A route, the reader of its parameters, and the names of those in its path in their order."""

    route: Route
    reader: Reader
    names: tuple[str, ...]
    kind: str
    """Under which it is counted."""


class Table:
    """Finds the routes of a path, whose segments are decoded one by one: an id may hold a slash."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._root = Node()
        for route in self.routes:
            node, names = self._root, []
            for segment in route.segments:
                if segment.startswith("{"):
                    names.append(segment[1:-1])
                    node.parameter = node.parameter or Node()
                    node = node.parameter
                else:
                    node = node.literal.setdefault(segment, Node())
            if route.method in node.routes:
                raise ValueError(f"{route.method} {route.path} is declared twice")
            reader = Reader(route.asked, route.body, route.in_path)
            node.routes[route.method] = Bound(route, reader, tuple(names), request_kind(route.path))

    def find(self, method: str, raw_path: bytes) -> tuple[Bound, dict[str, Any]]:
        """The route of a method and a path, and the path's parameters.

        Raises:
            ProblemError: there is none, the path does not take the method, or it is not percent-encoded UTF-8.
        """
        node, values = self._root, list[str]()
        for segment in raw_path.decode("latin-1").split("/")[1:]:
            after = node.literal.get(segment)
            if after is None:
                after = node.parameter
                if after is None:
                    raise ProblemError("no-such-path", "There is nothing at this path. See /openapi.json.")
                values.append(_decoded(segment))
            node = after
        found = node.routes.get("GET" if method == "HEAD" else method)
        if found is None:
            if not node.routes:
                raise ProblemError("no-such-path", "There is nothing at this path. See /openapi.json.")
            allowed = ", ".join(sorted({*node.routes, *(["HEAD"] if "GET" in node.routes else [])}))
            raise ProblemError(
                "method-not-allowed", f"This path takes {allowed}, but not this method.", headers={"allow": allowed}
            )
        return found, dict(zip(found.names, values, strict=True))


def _decoded(segment: str) -> str:
    if "%" not in segment and segment.isascii():
        return segment
    try:
        return unquote_to_bytes(segment.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise ProblemError("malformed", "The path is not percent-encoded UTF-8.") from None
