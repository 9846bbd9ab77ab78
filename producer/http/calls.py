"""A call: one request on its way to a handler, with its client, its time and its body."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from reckoner.producer.http.counting import Counting
from reckoner.producer.http.problems import ProblemError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

    from reckoner.producer.client.open import OpenReckoner
    from reckoner.producer.http.config import HttpConfig
    from reckoner.producer.http.tokens import Access, Identity

T = TypeVar("T")


@dataclass
class Server:
    """What all requests of a process share."""

    config: "HttpConfig"
    access: "Access"
    reckoner: "OpenReckoner"
    counting: Counting = field(default_factory=Counting)
    stopping: bool = False
    """Whether it takes no new connections soon: then it is not ready."""
    in_flight: int = 0
    """The number of requests that are counted now."""
    extra: dict[str, object] = field(default_factory=dict)
    """What modules of routes keep for themselves, by their names."""


class Call:
    """One request."""

    __slots__ = ("_receive", "_until", "given", "headers", "identity", "scope", "server")

    def __init__(
        self,
        server: Server,
        scope: "Scope",
        receive: "Receive",
        headers: Mapping[bytes, bytes],
        identity: "Identity | None",
        timeout_s: float | None,
    ) -> None:
        self.server, self.scope, self.headers, self.identity = server, scope, headers, identity
        self._receive = receive
        self.limit(timeout_s)
        self.given: object = None
        """The decoded body, if the route has a shape for it."""

    @property
    def reckoner(self) -> "OpenReckoner":
        """The client of this process."""
        return self.server.reckoner

    def body(self, kind: type[T]) -> T:
        """The decoded body, which is of this type."""
        assert isinstance(self.given, kind)
        return self.given

    def limit(self, timeout_s: float | None) -> None:
        """Limit the request from now on; None and 0, which waits for no worker, are the time of any request."""
        self._until = monotonic() + (timeout_s or self.server.config.timeout_s)

    @property
    def left_s(self) -> float:
        """The seconds that are left of the request's time, for a call of the client."""
        return max(self._until - monotonic(), 0.0)

    async def read(self, most: int = 0) -> bytes:
        """The body, of at most `most` bytes, or of as many as each route takes if that is more.

        Raises:
            ProblemError: it is too large.
        """
        most = max(most, self.server.config.limits.max_body_bytes)
        if (length := self.headers.get(b"content-length", b"0")).isdigit() and int(length) > most:
            raise _too_large(most)
        parts, size = list[bytes](), 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ProblemError("slow-request", "The body ended early.")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > most:
                raise _too_large(most)
            if not message.get("more_body", False):
                return b"".join(parts)


def _too_large(most: int) -> ProblemError:
    return ProblemError("body-too-large", f"The body is over {most:,} bytes.")
