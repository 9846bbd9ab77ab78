"""The configuration of `reckoner serve`."""

import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from reckoner.shared.settings import Settings


@dataclass(frozen=True)
class HttpConfig:
    """What an app needs to know; the defaults are those of `reckoner serve`."""

    settings: Settings
    redis_url: str
    tokens_file: Path | None = None
    """None for loopback only, where everybody may do everything."""
    timeout_s: float = 10.0
    """The time of a request that does not say another one."""
    longest_timeout_s: float = 60.0
    max_body_bytes: int = 1_048_576
    max_requests: int = 1_000
    """The most requests at once, in one process."""
    linger_s: float = 1.0
    """How long a process that gets SIGTERM still takes connections, so that load balancers see that it is not ready."""
    secret: bytes = field(default_factory=partial(os.urandom, 32), repr=False)
    """The key of the page's forms where there are no tokens, the same in all processes."""
    alive_fd: int | None = None
    """A pipe whose end tells that the parent died."""
