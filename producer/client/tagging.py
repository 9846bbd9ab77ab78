"""Tags of items: reads and changes them for a client."""

from collections.abc import Sequence

from reckoner.producer.client.answers import TaggedItem
from reckoner.producer.client.calls import require_ids
from reckoner.shared.errors import UsageError
from reckoner.shared.ids import require_id
from reckoner.shared.serving.results import Results


class Tagging:
    """The tags of the current generation's snapshot, and live changes, which go before them."""

    def __init__(self, results: Results) -> None:
        self._results = results

    async def read(self, items: Sequence[str]) -> list[TaggedItem]:
        """The tags of items now.

        Raises:
            UsageError: an id is invalid.
        """
        require_ids("item", items)
        found = await self._results.tags.read(await self._snapshot(), items)
        return [TaggedItem(item, tags, live) for item, (tags, live) in zip(items, found, strict=True)]

    async def live(self) -> list[TaggedItem]:
        """The items whose tags were changed live, in the order of their ids."""
        return [TaggedItem(item, tags, True) for item, tags in (await self._results.tags.live()).items()]

    async def change(self, item: str, add: Sequence[str], remove: Sequence[str]) -> TaggedItem:
        """Change the tags of an item.

        Raises:
            UsageError: the item or a tag is invalid, nothing changes, or a tag is added and removed.
        """
        require_id("item", item)
        require_ids("tag", add)
        require_ids("tag", remove)
        if not (add or remove):
            raise UsageError("No tag is added and none is removed. Name at least one.")
        if blank := next((tag for tag in (*add, *remove) if tag != tag.strip()), None):
            raise UsageError(f"The tag {blank!a} has blanks around it. Remove them.")
        if both := sorted({*add} & {*remove}):
            raise UsageError(f"The tag {both[0]} is both added and removed.")
        return TaggedItem(item, await self._results.tags.change(await self._snapshot(), item, add, remove), True)

    async def reset(self, item: str) -> TaggedItem:
        """Undo the live changes of an item.

        Raises:
            UsageError: the item's id is invalid.
        """
        await self._results.tags.reset(require_id("item", item))
        return (await self.read([item]))[0]

    async def _snapshot(self) -> str | None:
        """The snapshot of the current generation, None without one."""
        record = (await self._results.generations.follow(self._results.keys.current)).record
        return record.snapshot if record else None
