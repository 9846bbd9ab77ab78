"""What `doctor` finds, looked up now and then and not for each visitor."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from reckoner.producer.doctor.examination import Examination
from reckoner.producer.doctor.findings import Finding
from reckoner.shared.settings import LoadedSettings, Settings
from reckoner.shared.store.location import is_store

if TYPE_CHECKING:
    from reckoner.producer.http.calls import Server

T = TypeVar("T")

# The checks write a key and a file, so they are not made for each look.
FRESH_S = 30.0
FIRST_WAIT_S = 3.0


@dataclass
class Checks:
    """The last findings, and the look that is under way."""

    findings: list[Finding] = field(default_factory=list)
    looked_s: float = float("-inf")
    looking: "asyncio.Task[None] | None" = None


async def last_findings(server: "Server") -> list[Finding]:
    """The findings of at most half a minute ago, or those of before while new ones are on their way."""
    checks = server.extra.setdefault("checks", Checks())
    assert isinstance(checks, Checks)
    if checks.looking is None and monotonic() - checks.looked_s > FRESH_S:
        checks.looking = asyncio.create_task(_look(server, checks))
    if checks.looking is not None and not checks.findings:
        await asyncio.wait({checks.looking}, timeout=FIRST_WAIT_S)
    return checks.findings


async def _look(server: "Server", checks: Checks) -> None:
    settings = server.config.settings
    examination = Examination(LoadedSettings(settings, None, dict.fromkeys(Settings.__struct_fields__, "")))
    try:
        found = [line async for line in examination.redis()]
        # A server without the store can tell nothing of it.
        if await in_daemon(lambda: is_store(settings)):
            found += await in_daemon(lambda: list(examination.store(None))) or []
        checks.findings = found
    finally:
        checks.looked_s, checks.looking = monotonic(), None


async def in_daemon(work: Callable[[], T], wait_s: float = 2.0) -> T | None:
    """What `work` returns in a thread that does not hold up the end of the process; None if it is late or fails."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    found = list[T]()

    def run() -> None:
        try:
            found.append(work())
        except Exception:
            found.clear()
        if not loop.is_closed():
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, daemon=True).start()
    try:
        await asyncio.wait_for(done.wait(), wait_s)
    except TimeoutError:
        return None
    return found[0] if found else None
