"""Workers: who works on what, and for how long?"""

from typing import TYPE_CHECKING, Any

from reckoner.producer.http.page.screens import Seen, screen
from reckoner.producer.http.routes import Nothing

if TYPE_CHECKING:
    from reckoner.producer.http.calls import Call


async def gather(call: "Call", _: Nothing, __: Seen) -> dict[str, Any]:
    """All workers with a heartbeat."""
    now = await call.reckoner.operator.status(timeout=call.left_s)
    return {
        "status": now,
        "releases": sorted({each.beat.version for each in now.workers if each.beat}),
        "memory": sum(each.beat.memory_bytes for each in now.workers if each.beat),
        "jobs": sum(len(each.running_ms) for each in now.workers),
    }


ROUTES = (screen("/workers", "Workers", "workers.html", gather, every_s=2.0),)
