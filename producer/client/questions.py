"""Baskets and questions about items and users: asked of the workers, and answered with titles."""

from collections.abc import Sequence

from reckoner.producer.client.answers import BasketAnswer, Compared, Had, Neighbour, Similar, UserHistory
from reckoner.producer.client.asking import Asking
from reckoner.producer.client.calls import require_ids
from reckoner.shared.errors import FlowFailedError, ItemUnknownError, UsageError, UserUnknownError
from reckoner.shared.serving.results import Results
from reckoner.shared.wire.shapes import (
    MAX_BASKET_BYTES,
    MAX_ITEMS,
    History,
    HistorySpec,
    Neighbours,
    Pair,
    QuestionSpec,
    Record,
    Reply,
    SimilarSpec,
    Unknown,
)


def as_basket(items: Sequence[str]) -> list[str]:
    """A basket's distinct items in the order of their bytes.

    Raises:
        UsageError: they are one text and not several, are too many or too long, or one of them cannot be an id.
    """
    require_ids("item", items)
    # By their code points, which is by their bytes.
    basket = sorted(set(items))
    if len(basket) > MAX_ITEMS:
        raise UsageError(f"A basket has at most {MAX_ITEMS:,} items, and this one has {len(basket):,}.")
    size = sum(len(item.encode()) for item in basket)
    if size > MAX_BASKET_BYTES:
        raise UsageError(f"The ids of a basket have at most {MAX_BASKET_BYTES:,} bytes in sum, and these {size:,}.")
    return basket


def require_places(n: int) -> None:
    """Make sure that an answer can have so many places.

    Raises:
        UsageError: it cannot.
    """
    if not 1 <= n <= MAX_ITEMS:
        raise UsageError(f"n is {n}, and has to be from 1 to {MAX_ITEMS:,}.")


class Questions:
    """What the workers are asked about a generation, which its `record` names."""

    def __init__(self, asking: Asking, results: Results) -> None:
        self._asking = asking
        self._results = results

    async def basket(self, basket: list[str], n: int, record: Record) -> BasketAnswer:
        """The first `n` places of a basket's list; an empty one has the popular list, for which nobody is asked."""
        result = await self._asking.basket(basket, record.generation) if basket else None
        [(source, items)] = await self._results.lists([result], n, record)
        return BasketAnswer(basket, record.generation, source, items, result.unknown if result else [])

    async def neighbours(self, item: str, n: int, record: Record) -> Similar:
        """An item's first `n` neighbours.

        Raises:
            ItemUnknownError: it is not in the data.
        """
        reply = await self._reply(SimilarSpec(item, None, record.generation, n))
        if not isinstance(reply, Neighbours):
            raise _beside_the_point(reply)
        titles = await self._results.titles(record.snapshot, [item, *(near.item for near in reply.items)])
        items = [Neighbour(near.item, titles.get(near.item), near.similarity) for near in reply.items]
        return Similar(item, titles.get(item), record.generation, reply.users, items)

    async def pair(self, item: str, other: str, record: Record) -> Compared:
        """How similar two items are.

        Raises:
            ItemUnknownError: one of them is not in the data.
        """
        reply = await self._reply(SimilarSpec(item, other, record.generation, 1))
        if not isinstance(reply, Pair):
            raise _beside_the_point(reply)
        titles = await self._results.titles(record.snapshot, [item, other])
        counts = (reply.users, reply.other_users, reply.shared_users)
        return Compared(item, titles.get(item), other, titles.get(other), record.generation, reply.similarity, *counts)

    async def history(self, user: str, n: int, record: Record) -> UserHistory:
        """The first `n` of what a user has had, the newest first.

        Raises:
            UserUnknownError: the user is not in the data.
        """
        reply = await self._asking.question(HistorySpec(user, record.generation, n))
        if isinstance(reply, Unknown):
            raise UserUnknownError(f"The data do not have the user {user}.", user=user)
        if not isinstance(reply, History):
            raise _beside_the_point(reply)
        titles = await self._results.titles(record.snapshot, [had.item for had in reply.items])
        items = [Had(had.item, titles.get(had.item), had.weight, had.time_ms) for had in reply.items]
        return UserHistory(user, record.generation, reply.count, items)

    async def _reply(self, spec: QuestionSpec) -> Reply:
        reply = await self._asking.question(spec)
        if isinstance(reply, Unknown):
            what = "item" if len(reply.ids) == 1 else "items"
            raise ItemUnknownError(f"The data do not have the {what} {' and '.join(reply.ids)}.", items=reply.ids)
        return reply


def _beside_the_point(reply: Reply) -> FlowFailedError:
    return FlowFailedError(f"The answer in Redis is one to another question ({type(reply).__name__}); ask again.")
