"""Overview: is all well?"""

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from reckoner.producer.http.page.checks import in_daemon, last_findings
from reckoner.producer.http.page.nights import series
from reckoner.producer.http.page.screens import Seen, screen
from reckoner.producer.http.routes import Nothing
from reckoner.shared.store.location import imported_last

if TYPE_CHECKING:
    from reckoner.producer.client.status import Status
    from reckoner.producer.http.calls import Call

SHOWN_NIGHTS = 30
# Where one sees more of what a check found.
SEEN_ON = MappingProxyType(
    {
        "night": "/nights",
        "workers": "/workers",
        "dead letters": "/failures",
        "refusals": "/failures",
        "queue": "/queue",
        "generation": "/models",
    }
)


async def gather(call: "Call", _: Nothing, seen: Seen) -> dict[str, Any]:
    """Everything at a glance."""
    operator = call.reckoner.operator
    now = await operator.status(timeout=call.left_s)
    nights = await operator.entries(SHOWN_NIGHTS, "night", timeout=call.left_s)
    findings = await last_findings(call.server)
    settings = call.server.config.settings
    for lane, queue in now.queues.items():
        seen.add(lane, float(queue.oldest_ms or 0))
    return {
        "status": now,
        "record": now.records.get(now.generation or ""),
        "fallback": share_on_fallback(now),
        "nights": nights,
        "series": series(nights),
        "waits": seen.series,
        "seen_on": SEEN_ON,
        "wrong": [each for each in findings if each.state == "wrong"],
        "others": [each for each in findings if each.state != "wrong"],
        "imported": await in_daemon(lambda: imported_last(settings), wait_s=3.0),
    }


def share_on_fallback(now: "Status") -> float | None:
    """The share of users whose own list is empty, so that they get a list for all; None if it is unknown."""
    holding = now.holdings.get(now.generation or "")
    return holding.empty / holding.lists if holding and holding.lists else None


ROUTES = (screen("/", "Overview", "overview.html", gather, every_s=2.0),)
