"""`Catalogue`: the calls of whoever keeps the items: what is hidden from everybody, and tags."""

import math
from collections.abc import Sequence
from datetime import datetime

from reckoner.producer.client.answers import CatalogueItem, HiddenItem, TaggedItem
from reckoner.producer.client.calls import ASK_S, require_ids, translates_redis_errors
from reckoner.producer.client.connection import Client
from reckoner.producer.client.recording import until_ms
from reckoner.shared.errors import UsageError
from reckoner.shared.ids import require_id
from reckoner.shared.serving.hidden import Hidden


class Catalogue:
    """The calls about items of a client; see `Reckoner.catalogue`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @translates_redis_errors
    async def hide(
        self, items: Sequence[str], *, until: datetime | float | None = None, timeout: float | None = ASK_S
    ) -> int:
        """Hide items from everybody, until `unhide` or a time; returns how many have changed.

        The next read leaves them out, and lists are computed without them from now on.

        Args:
            items: Their ids, known or not.
            until: A datetime with a time zone, or seconds since 1970.
            timeout: In seconds.

        Raises:
            UsageError: an id (`require_id`) or the time is invalid.
        """
        require_ids("item", items)
        return await self._client.results.hidden.hide(items, until_ms(until))

    @translates_redis_errors
    async def unhide(self, items: Sequence[str], *, timeout: float | None = ASK_S) -> int:
        """Undo `hide`; returns how many of the items were hidden.

        Raises:
            UsageError: an id is invalid (`require_id`).
        """
        require_ids("item", items)
        return await self._client.results.hidden.show(items)

    @translates_redis_errors
    async def replace_hidden(self, items: Sequence[str], *, timeout: float | None = None) -> int:
        """Hide these items from everybody and no others, at once; returns their number.

        Raises:
            UsageError: an id is invalid (`require_id`).
        """
        require_ids("item", items)
        return await self._client.results.hidden.replace(items)

    @translates_redis_errors
    async def hidden(self, *, timeout: float | None = ASK_S) -> list[HiddenItem]:
        """The items that are hidden from everybody, in the order of their bytes."""
        return [HiddenItem(item, until) for item, until in await self._client.results.hidden.listed()]

    @translates_redis_errors
    async def tag(
        self, item: str, *, add: Sequence[str] = (), remove: Sequence[str] = (), timeout: float | None = ASK_S
    ) -> TaggedItem:
        """Change the tags of an item at once; returns those that it has now.

        They stay so until `reset_tags`, whatever later imports say. Lists of tags follow with the next fit.

        Raises:
            UsageError: the item or a tag is invalid (`require_id`), nothing changes, or a tag is added and removed.
        """
        require_id("item", item)
        _require_tags(add)
        _require_tags(remove)
        if not (add or remove):
            raise UsageError("No tag is added and none is removed. Name at least one.")
        if both := sorted({*add} & {*remove}):
            raise UsageError(f"The tag {both[0]} is both added and removed.")
        return TaggedItem(item, await self._client.results.tags.change(await self._snapshot(), item, add, remove), True)

    @translates_redis_errors
    async def set_tags(self, item: str, tags: Sequence[str], *, timeout: float | None = ASK_S) -> TaggedItem:
        """Give an item these tags and no others, at once; see `tag`.

        Raises:
            UsageError: the item or a tag is invalid (`require_id`).
        """
        require_id("item", item)
        _require_tags(tags)
        return TaggedItem(item, await self._client.results.tags.set(item, tags), True)

    @translates_redis_errors
    async def reset_tags(self, item: str, *, timeout: float | None = ASK_S) -> TaggedItem:
        """Undo the live changes of an item's tags; returns those that it has now, of the current snapshot.

        Raises:
            UsageError: the item's id is invalid (`require_id`).
        """
        await self._client.results.tags.reset(require_id("item", item))
        return (await self._read([item]))[0]

    @translates_redis_errors
    async def tags(self, items: Sequence[str], *, timeout: float | None = ASK_S) -> list[TaggedItem]:
        """The tags of items now; an unknown item has none.

        Raises:
            UsageError: an id is invalid (`require_id`).
        """
        require_ids("item", items)
        return await self._read(items)

    @translates_redis_errors
    async def live_tags(self, *, timeout: float | None = ASK_S) -> list[TaggedItem]:
        """The items whose tags were changed live, in the order of their ids."""
        return [TaggedItem(item, tags, True) for item, tags in (await self._client.results.tags.live()).items()]

    @translates_redis_errors
    async def item(self, item: str, *, timeout: float | None = ASK_S) -> CatalogueItem:
        """An item as readers see it now; an unknown one has no title and no tags.

        Raises:
            UsageError: the item's id is invalid (`require_id`).
        """
        require_id("item", item)
        snapshot, results = await self._snapshot(), self._client.results
        [(tags, live)] = await results.tags.read(snapshot, [item])
        titles = await results.titles(snapshot, [item]) if snapshot else {}
        hidden = await hidden_item(results.hidden, item)
        end = hidden.until_ms if hidden else None
        return CatalogueItem(item, titles.get(item), tags, live, hidden is not None, end)

    async def _read(self, items: Sequence[str]) -> list[TaggedItem]:
        found = await self._client.results.tags.read(await self._snapshot(), items)
        return [TaggedItem(item, tags, live) for item, (tags, live) in zip(items, found, strict=True)]

    async def _snapshot(self) -> str | None:
        """The snapshot of the current generation, None without one."""
        record = (await self._client.results.generations.follow(self._client.results.keys.current)).record
        return record.snapshot if record else None


def _require_tags(tags: Sequence[str]) -> None:
    require_ids("tag", tags)
    if blank := next((tag for tag in tags if tag != tag.strip()), None):
        raise UsageError(f"The tag {blank!a} has blanks around it. Remove them.")


async def hidden_item(hidden: Hidden, item: str) -> HiddenItem | None:
    """An item that is hidden from everybody now, None if it is not."""
    until = await hidden.until_ms(item)
    return None if until is None else HiddenItem(item, None if math.isinf(until) else int(until))
