"""What is written: events, items' tags, what is hidden, and a visitor's move to a user."""

import time
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from reckoner.producer.client.answers import CatalogueItem, HiddenItem
from reckoner.producer.client.recording import Event, Recorded
from reckoner.producer.http.calls import Call
from reckoner.producer.http.fields import MOST, Count, Cursor, Id, Item, OfUser, Tags, User
from reckoner.producer.http.paging import from_cursor, to_cursor
from reckoner.producer.http.problems import ProblemError
from reckoner.producer.http.routes import Nothing, Route

# A list of hidden items replaces the one before whole.
MOST_HIDDEN = 100_000
# Ids of up to 160 bytes, in JSON.
MOST_HIDDEN_BYTES = 16 * 1_048_576


class NewEvent(Struct, frozen=True, forbid_unknown_fields=True):
    """What a user did with an item."""

    user: Id
    item: Id
    type: Annotated[str, Meta(description="An event type, such as purchase, view or dislike.")] = "interaction"
    weight: float | None = None
    time: Annotated[float, Meta(description="Seconds since 1970; now by default.")] | None = None
    id: Annotated[str, Meta(description="An id of the caller's: an event with it is recorded once a day.")] = ""


class NewEvents(Struct, frozen=True, forbid_unknown_fields=True):
    """Events in their order."""

    events: Annotated[list[NewEvent], Meta(min_length=1, max_length=MOST)]


class Outcomes(Struct, frozen=True):
    """What became of each event, in their order."""

    events: list[Recorded]


async def record(call: Call, _: Nothing) -> Outcomes:
    """Record events.

    Raises:
        ProblemError: Redis takes none of them, since it holds too many.
    """
    given = call.body(NewEvents).events
    events = [Event(one.user, one.item, one.type, one.weight, one.time, one.id) for one in given]
    found = await call.reckoner.record_many(events, timeout=call.left_s)
    call.server.counting.events(found)
    if all(one.is_full for one in found):
        raise ProblemError("events-full", found[0].reason)
    return Outcomes(found)


class OfItem(Struct, frozen=True):
    """Which item."""

    item: Item


HiddenUntil = Annotated[float, Meta(gt=0, le=253_402_300_799, description="Seconds since 1970.")]


class NewItem(Struct, frozen=True, forbid_unknown_fields=True):
    """An item's tags and whether it is hidden."""

    tags: Tags = ()
    hidden: bool = False
    hidden_until: HiddenUntil | None = None


class ItemChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What changes of an item; what is not named stays."""

    add: Annotated[Tags, Meta(description="Tags to add.")] = ()
    remove: Annotated[Tags, Meta(description="Tags to remove.")] = ()
    hidden: bool | UnsetType = UNSET
    hidden_until: HiddenUntil | None = None


async def item(call: Call, asked: OfItem) -> CatalogueItem:
    """An item."""
    return await call.reckoner.catalogue.item(asked.item, timeout=call.left_s)


async def put_item(call: Call, asked: OfItem) -> CatalogueItem:
    """Replace an item's tags, and hide or show it."""
    given = call.body(NewItem)
    _require_end(given.hidden, given.hidden_until)
    await call.reckoner.catalogue.set_tags(asked.item, given.tags, timeout=call.left_s)
    await _hide(call, asked.item, given.hidden, given.hidden_until)
    return await item(call, asked)


async def patch_item(call: Call, asked: OfItem) -> CatalogueItem:
    """Change an item's tags, or hide or show it."""
    given = call.body(ItemChange)
    _require_end(given.hidden is True, given.hidden_until)
    if given.add or given.remove:
        await call.reckoner.catalogue.tag(asked.item, add=given.add, remove=given.remove, timeout=call.left_s)
    if given.hidden is not UNSET:
        await _hide(call, asked.item, given.hidden, given.hidden_until)
    return await item(call, asked)


def _require_end(hidden: bool, until: float | None) -> None:
    """Check that an end is one of something that is hidden, and to come."""
    if until is not None and not hidden:
        raise ProblemError("invalid-parameter", "hidden_until is given, but hidden is not true.")
    if until is not None and until <= time.time():
        raise ProblemError("invalid-parameter", "hidden_until is over. Give a later time.")


async def _hide(call: Call, item: str, hidden: bool, until: float | None) -> None:
    if hidden:
        await call.reckoner.catalogue.hide([item], until=until, timeout=call.left_s)
    else:
        await call.reckoner.catalogue.unhide([item], timeout=call.left_s)


async def reset_tags(call: Call, asked: OfItem) -> CatalogueItem:
    """Undo the live changes of an item's tags."""
    await call.reckoner.catalogue.reset_tags(asked.item, timeout=call.left_s)
    return await item(call, asked)


class OfPage(Struct, frozen=True):
    """Which page."""

    n: Count = 100
    cursor: Cursor | None = None


class HiddenPage(Struct, frozen=True):
    """A page of the items that are hidden from everybody, in the order of their bytes."""

    items: list[HiddenItem]
    next: str | None


class HiddenItems(Struct, frozen=True, forbid_unknown_fields=True):
    """All items that are to be hidden from everybody."""

    items: Annotated[list[Id], Meta(max_length=MOST_HIDDEN)]


class Hidden(Struct, frozen=True):
    """The number of items that are hidden from everybody now."""

    hidden: int


async def hidden(call: Call, asked: OfPage) -> HiddenPage:
    """A page of what is hidden from everybody."""
    after = from_cursor(asked.cursor, str) if asked.cursor else ""
    rest = [one for one in await call.reckoner.catalogue.hidden(timeout=call.left_s) if one.item > after]
    page = rest[: asked.n]
    return HiddenPage(page, to_cursor(page[-1].item) if len(rest) > len(page) else None)


async def put_hidden(call: Call, _: Nothing) -> Hidden:
    """Replace what is hidden from everybody."""
    items = call.body(HiddenItems).items
    return Hidden(await call.reckoner.catalogue.replace_hidden(items, timeout=call.left_s))


class OfUserItem(Struct, frozen=True):
    """Which item of which user."""

    user: User
    item: Item


class UserHidden(Struct, frozen=True):
    """The items that are hidden from a user, in the order of their bytes; at most some thousand."""

    user: str
    items: list[str]


class Changed(Struct, frozen=True):
    """Whether this request changed something."""

    changed: bool


async def hidden_for(call: Call, asked: OfUser) -> UserHidden:
    """What is hidden from a user."""
    return UserHidden(asked.user, await call.reckoner.hidden_for(asked.user, timeout=call.left_s))


async def hide(call: Call, asked: OfUserItem) -> Changed:
    """Hide an item from a user."""
    return Changed(bool(await call.reckoner.hide(asked.user, asked.item, timeout=call.left_s)))


async def unhide(call: Call, asked: OfUserItem) -> Changed:
    """Show an item to a user again."""
    return Changed(bool(await call.reckoner.unhide(asked.user, asked.item, timeout=call.left_s)))


class OfVisitor(Struct, frozen=True):
    """Which visitor."""

    visitor: Annotated[Id, Meta(description="The visitor's id.")]


class Login(Struct, frozen=True, forbid_unknown_fields=True):
    """Who the visitor turns out to be."""

    user: Id


class Merged(Struct, frozen=True):
    """The number of events that were moved."""

    moved: int


async def merge(call: Call, asked: OfVisitor) -> Merged:
    """Move what a visitor did to a user."""
    return Merged(await call.reckoner.merge(asked.visitor, call.body(Login).user, timeout=call.left_s))


ROUTES = (
    Route(
        method="POST",
        path="/v1/events",
        role="write",
        handle=record,
        summary="Record what users did. The next read leaves it out, and lists follow.",
        body=NewEvents,
        answer=Outcomes,
        example={"body": {"events": [{"user": "601", "item": "260", "type": "view"}]}},
        problems=("events-full",),
    ),
    Route(
        method="GET",
        path="/v1/items/{item}",
        role="read",
        handle=item,
        summary="An item's title and tags, and whether it is hidden from everybody.",
        asked=OfItem,
        answer=CatalogueItem,
        example={"item": "260"},
    ),
    Route(
        method="PUT",
        path="/v1/items/{item}",
        role="write",
        handle=put_item,
        summary="Replace an item's tags, and hide it from everybody or show it.",
        asked=OfItem,
        body=NewItem,
        answer=CatalogueItem,
        example={"item": "260", "body": {"tags": ["space"], "hidden": False}},
    ),
    Route(
        method="PATCH",
        path="/v1/items/{item}",
        role="write",
        handle=patch_item,
        summary="Add or remove an item's tags, or hide it from everybody or show it.",
        asked=OfItem,
        body=ItemChange,
        answer=CatalogueItem,
        example={"item": "260", "body": {"add": ["sale"]}},
    ),
    Route(
        method="DELETE",
        path="/v1/items/{item}/tags",
        role="write",
        handle=reset_tags,
        summary="Undo the live changes of an item's tags: those of the data count again.",
        asked=OfItem,
        answer=CatalogueItem,
        example={"item": "260"},
    ),
    Route(
        method="GET",
        path="/v1/hidden",
        role="read",
        handle=hidden,
        summary="The items that are hidden from everybody, in pages.",
        asked=OfPage,
        answer=HiddenPage,
    ),
    Route(
        method="PUT",
        path="/v1/hidden",
        role="write",
        handle=put_hidden,
        summary="Hide these items from everybody and no others, at once.",
        body=HiddenItems,
        most_body_bytes=MOST_HIDDEN_BYTES,
        answer=Hidden,
        example={"body": {"items": ["48516"]}},
    ),
    Route(
        method="GET",
        path="/v1/users/{user}/hidden",
        role="read",
        handle=hidden_for,
        summary="The items that are hidden from a user.",
        asked=OfUser,
        answer=UserHidden,
        example={"user": "601"},
    ),
    Route(
        method="PUT",
        path="/v1/users/{user}/hidden/{item}",
        role="write",
        handle=hide,
        summary="Hide an item from a user, who is not interested in it.",
        asked=OfUserItem,
        answer=Changed,
        example={"user": "601", "item": "48516"},
    ),
    Route(
        method="DELETE",
        path="/v1/users/{user}/hidden/{item}",
        role="write",
        handle=unhide,
        summary="Show an item to a user again.",
        asked=OfUserItem,
        answer=Changed,
        example={"user": "601", "item": "48516"},
    ),
    Route(
        method="POST",
        path="/v1/users/{visitor}/merge",
        role="write",
        handle=merge,
        summary="Move what a visitor did, and hid, to a user, as at a login.",
        asked=OfVisitor,
        body=Login,
        answer=Merged,
        example={"visitor": "a visitor", "body": {"user": "601"}},
        problems=("conflict",),
    ),
)
