"""`SyncCatalogue`, made from `Catalogue` by `make sync`: do not edit it."""

from collections.abc import Sequence
from datetime import datetime

from reckoner.producer.client.answers import CatalogueItem, HiddenItem, TaggedItem
from reckoner.producer.client.background import Background
from reckoner.producer.client.calls import ASK_S


class SyncCatalogue:
    """`Catalogue` for code that is not asynchronous; see `SyncReckoner.catalogue`."""

    def __init__(self, background: Background) -> None:
        self._background = background

    def hide(
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
        return self._background.run(lambda client: client.catalogue.hide(items, until=until, timeout=timeout))

    def unhide(self, items: Sequence[str], *, timeout: float | None = ASK_S) -> int:
        """Undo `hide`; returns how many of the items were hidden.

        Raises:
            UsageError: an id is invalid (`require_id`).
        """
        return self._background.run(lambda client: client.catalogue.unhide(items, timeout=timeout))

    def replace_hidden(self, items: Sequence[str], *, timeout: float | None = None) -> int:
        """Hide these items from everybody and no others, at once; returns their number.

        Raises:
            UsageError: an id is invalid (`require_id`).
        """
        return self._background.run(lambda client: client.catalogue.replace_hidden(items, timeout=timeout))

    def hidden(self, *, timeout: float | None = ASK_S) -> list[HiddenItem]:
        """The items that are hidden from everybody, in the order of their bytes."""
        return self._background.run(lambda client: client.catalogue.hidden(timeout=timeout))

    def tag(
        self, item: str, *, add: Sequence[str] = (), remove: Sequence[str] = (), timeout: float | None = ASK_S
    ) -> TaggedItem:
        """Change the tags of an item at once; returns those that it has now.

        They stay so until `reset_tags`, whatever later imports say. Lists of tags follow with the next fit.

        Raises:
            UsageError: the item or a tag is invalid (`require_id`), nothing changes, or a tag is added and removed.
        """
        return self._background.run(lambda client: client.catalogue.tag(item, add=add, remove=remove, timeout=timeout))

    def set_tags(self, item: str, tags: Sequence[str], *, timeout: float | None = ASK_S) -> TaggedItem:
        """Give an item these tags and no others, at once; see `tag`.

        Raises:
            UsageError: the item or a tag is invalid (`require_id`).
        """
        return self._background.run(lambda client: client.catalogue.set_tags(item, tags, timeout=timeout))

    def reset_tags(self, item: str, *, timeout: float | None = ASK_S) -> TaggedItem:
        """Undo the live changes of an item's tags; returns those that it has now, of the current snapshot.

        Raises:
            UsageError: the item's id is invalid (`require_id`).
        """
        return self._background.run(lambda client: client.catalogue.reset_tags(item, timeout=timeout))

    def tags(self, items: Sequence[str], *, timeout: float | None = ASK_S) -> list[TaggedItem]:
        """The tags of items now; an unknown item has none.

        Raises:
            UsageError: an id is invalid (`require_id`).
        """
        return self._background.run(lambda client: client.catalogue.tags(items, timeout=timeout))

    def live_tags(self, *, timeout: float | None = ASK_S) -> list[TaggedItem]:
        """The items whose tags were changed live, in the order of their ids."""
        return self._background.run(lambda client: client.catalogue.live_tags(timeout=timeout))

    def item(self, item: str, *, timeout: float | None = ASK_S) -> CatalogueItem:
        """An item as readers see it now; an unknown one has no title and no tags.

        Raises:
            UsageError: the item's id is invalid (`require_id`).
        """
        return self._background.run(lambda client: client.catalogue.item(item, timeout=timeout))
