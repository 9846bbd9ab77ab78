"""Failures: what failed, why, how often?"""

from typing import TYPE_CHECKING, Any

from reckoner.producer.http.page.screens import Seen, screen
from reckoner.producer.http.routes import Nothing

if TYPE_CHECKING:
    from reckoner.producer.http.calls import Call


async def gather(call: "Call", _: Nothing, __: Seen) -> dict[str, Any]:
    """The groups, and the refusals of bytes by kind."""
    now = await call.reckoner.operator.status(timeout=call.left_s)
    return {"status": now, "groups": await call.reckoner.operator.failures(timeout=call.left_s)}


# Each look reads all dead letters.
ROUTES = (screen("/failures", "Failures", "failures.html", gather, every_s=10.0),)
