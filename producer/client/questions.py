"""Baskets and questions about items and users: answered by the workers, with titles added."""

from collections.abc import Sequence

from reckoner.producer.client.answers import BasketAnswer, Compared, HistoryItem, Neighbour, Similar, UserHistory
from reckoner.producer.client.asking import Asking
from reckoner.producer.client.calls import require_ids
from reckoner.shared.errors import FlowFailedError, ItemUnknownError, UsageError, UserUnknownError
from reckoner.shared.serving.results import Reading, Results
from reckoner.shared.wire.shapes import (
    MAX_BASKET_BYTES,
    MAX_ITEMS,
    BasketResult,
    BasketSpec,
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
    """A basket's distinct items in their order; a repeated one has its last place.

    Raises:
        UsageError: `items` is a single string, too many or too long, or an id is invalid.
    """
    require_ids("item", items)
    basket = [*dict.fromkeys(reversed(items))][::-1]
    if len(basket) > MAX_ITEMS:
        raise UsageError(f"The basket has {len(basket):,} items. At most {MAX_ITEMS:,} are supported.")
    size = sum(len(item.encode()) for item in basket)
    if size > MAX_BASKET_BYTES:
        raise UsageError(f"The ids of the basket have {size:,} bytes. At most {MAX_BASKET_BYTES:,} are supported.")
    return basket


def basket_spec(basket: Sequence[str], record: Record) -> BasketSpec:
    """The job for a basket: its items keep their order if the generation has recency."""
    ordered = bool(record.options.recency)
    # Python sorts by code points, which is byte order in UTF-8.
    return BasketSpec(list(basket) if ordered else sorted(basket), record.generation, ordered)


def require_places(n: int) -> None:
    """Check the length of an answer.

    Raises:
        UsageError: `n` is below 1 or above the maximum.
    """
    if not 1 <= n <= MAX_ITEMS:
        raise UsageError(f"n is {n}, but must be from 1 to {MAX_ITEMS:,}.")


class Questions:
    """Questions to the workers about the generation of a `record`."""

    def __init__(self, asking: Asking, results: Results) -> None:
        self._asking = asking
        self._results = results

    async def basket(self, basket: list[str], n: int, record: Record) -> BasketAnswer:
        """The first `n` places of a basket's list; an empty basket gets the popular list without a job."""
        spec = basket_spec(basket, record) if basket else None
        reading = await self._reading(basket, await self._results.read_basket(spec) if spec else None)
        if spec and (reading.results[0] is None or self._results.short(reading, n, record)):
            reading = await self._reading(basket, await self._asking.basket(spec))
        [result], [(source, items, left_out)] = reading.results, await self._results.lists(reading, n, record)
        return BasketAnswer(
            spec.items if spec else [], record.generation, source, items, result.unknown if result else [], left_out
        )

    async def _reading(self, basket: list[str], result: BasketResult | None) -> Reading:
        """A basket's list with what is hidden now."""
        return Reading([result], [basket], (await self._results.hidden.current()).items)

    async def neighbours(self, item: str, n: int, record: Record) -> Similar:
        """An item's first `n` neighbours that are not hidden.

        Raises:
            ItemUnknownError: the item is not in the data.
        """
        hidden = (await self._results.hidden.current()).items
        wanted = min(n + len(hidden), MAX_ITEMS)
        reply = await self._reply(SimilarSpec(item, None, record.generation, wanted))
        if not isinstance(reply, Neighbours):
            raise _mismatched(reply)
        shown = [near for near in reply.items if near.item not in hidden][:n]
        titles = await self._results.titles(record.snapshot, [item, *(near.item for near in shown)])
        items = [Neighbour(near.item, titles.get(near.item), near.similarity) for near in shown]
        return Similar(item, titles.get(item), record.generation, reply.users, items)

    async def pair(self, item: str, other: str, record: Record) -> Compared:
        """The similarity of two items.

        Raises:
            ItemUnknownError: an item is not in the data.
        """
        reply = await self._reply(SimilarSpec(item, other, record.generation, 1))
        if not isinstance(reply, Pair):
            raise _mismatched(reply)
        titles = await self._results.titles(record.snapshot, [item, other])
        counts = (reply.users, reply.other_users, reply.shared_users)
        return Compared(item, titles.get(item), other, titles.get(other), record.generation, reply.similarity, *counts)

    async def history(self, user: str, n: int, record: Record) -> UserHistory:
        """The first `n` interactions of a user's history, newest first.

        Raises:
            UserUnknownError: the user is not in the data.
        """
        reply = await self._asking.question(HistorySpec(user, record.generation, n))
        if isinstance(reply, Unknown):
            raise UserUnknownError(f"The user {user} is not in the data.", user=user)
        if not isinstance(reply, History):
            raise _mismatched(reply)
        titles = await self._results.titles(record.snapshot, [entry.item for entry in reply.items])
        items = [HistoryItem(entry.item, titles.get(entry.item), entry.weight, entry.time_ms) for entry in reply.items]
        return UserHistory(user, record.generation, reply.count, items)

    async def _reply(self, spec: QuestionSpec) -> Reply:
        reply = await self._asking.question(spec)
        if isinstance(reply, Unknown):
            what = "item {} is" if len(reply.ids) == 1 else "items {} are"
            found = what.format(" and ".join(reply.ids))
            raise ItemUnknownError(f"The {found} not in the data.", items=reply.ids)
        return reply


def _mismatched(reply: Reply) -> FlowFailedError:
    return FlowFailedError(f"The answer in Redis belongs to another question ({type(reply).__name__}). Ask again.")
