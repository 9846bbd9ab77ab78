"""User: what did they have, what are they shown, and why?"""

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from reckoner.producer.http.page.screens import Seen, screen
from reckoner.shared.errors import NothingFittedError, UsageError, UserUnknownError

if TYPE_CHECKING:
    from reckoner.producer.http.calls import Call

# The history comes from the workers; the rest of the page does not wait longer for them.
PATIENCE_S = 2.0


class Asked(Struct, frozen=True, forbid_unknown_fields=True):
    """A user."""

    id: str = ""


async def gather(call: "Call", asked: Asked, _: Seen) -> dict[str, Any]:
    """The user's side by side, or a form that asks for one."""
    if not asked.id:
        return {"user": "", "shown": None, "refusal": ""}
    operator = call.reckoner.operator
    try:
        record, _places = await call.reckoner.reach(timeout=call.left_s)
        shown = await operator.show(asked.id, record.options.list_length, patience_s=PATIENCE_S, timeout=call.left_s)
    except (UserUnknownError, NothingFittedError, UsageError) as error:
        return {"user": asked.id, "shown": None, "refusal": str(error)}
    return {"user": asked.id, "shown": shown, "refusal": ""}


ROUTES = (screen("/user", "User", "user.html", gather, Asked, every_s=None),)
