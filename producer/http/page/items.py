"""Item: what is near it, who sees it, and who must not?"""

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from reckoner.producer.http.page.people import PATIENCE_S
from reckoner.producer.http.page.screens import Seen, screen
from reckoner.shared.errors import ItemUnknownError, NothingFittedError, UsageError

if TYPE_CHECKING:
    from reckoner.producer.http.calls import Call

NEIGHBOURS = 20


class Asked(Struct, frozen=True, forbid_unknown_fields=True):
    """An item."""

    id: str = ""


async def gather(call: "Call", asked: Asked, _: Seen) -> dict[str, Any]:
    """The item, or a form that asks for one, with the hidden items."""
    hidden = await call.reckoner.catalogue.hidden(timeout=call.left_s)
    found: dict[str, Any] = {"item": asked.id, "shown": None, "refusal": "", "hidden": hidden}
    if asked.id:
        try:
            found["shown"] = await call.reckoner.operator.show_item(
                asked.id, NEIGHBOURS, patience_s=PATIENCE_S, timeout=call.left_s
            )
        except (ItemUnknownError, NothingFittedError, UsageError) as error:
            found["refusal"] = str(error)
    return found


ROUTES = (screen("/item", "Item", "item.html", gather, Asked, every_s=None),)
