"""The configuration of `reckoner serve`."""

import os
from dataclasses import dataclass, field
from functools import partial

from reckoner.producer.http.tokens import Access
from reckoner.shared.settings import Settings


@dataclass(frozen=True)
class Limits:
    """What a client may take: times in seconds, of one connection."""

    headers_s: float = 10.0
    """For the headers of a request, and for the rest of a body that nobody reads any more."""
    body_s: float = 10.0
    idle_s: float = 30.0
    """Until the first request."""
    keep_alive_s: float = 75.0
    """Between requests: longer than proxies and load balancers keep idle connections."""
    stall_s: float = 30.0
    """Without reading anything of an answer."""
    check_s: float = 1.0
    """Between two checks of all connections."""
    max_header_bytes: int = 65_536
    max_body_bytes: int = 1_048_576
    max_connections: int = 10_000
    """In one process."""
    max_requests: int = 1_000
    """At once, in one process."""


@dataclass(frozen=True)
class HttpConfig:
    """What an app needs to know; the defaults are those of `reckoner serve`."""

    settings: Settings
    redis_url: str
    access: Access = field(default_factory=Access)
    """Read once for all processes: one that starts again has the tokens of its parent, whatever the file has become."""
    timeout_s: float = 10.0
    """The time of a request that does not say another one."""
    longest_timeout_s: float = 60.0
    limits: Limits = Limits()
    linger_s: float = 1.0
    """How long a process that gets SIGTERM still takes connections, so that load balancers see that it is not ready."""
    secret: bytes = field(default_factory=partial(os.urandom, 32), repr=False)
    """The key of the page's forms where there are no tokens, the same in all processes."""
    alive_fd: int | None = None
    """A pipe whose end tells that the parent died."""
