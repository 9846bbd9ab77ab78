"""What is read: recommendations, baskets, similar items, histories and named lists."""

from typing import TypedDict

from msgspec import Struct

from reckoner.producer.client.answers import BasketAnswer, Compared, HistoryItem, NamedList, RecentEvent, Similar
from reckoner.producer.client.calls import DEFAULT_N
from reckoner.producer.http.calls import Call
from reckoner.producer.http.fields import (
    Count,
    Cursor,
    Diversity,
    Exclude,
    Fresh,
    Id,
    Ids,
    Item,
    MaxPerTag,
    OfUser,
    Only,
    Patience,
    Places,
    Timeout,
    User,
    Without,
)
from reckoner.producer.http.paging import from_cursor, to_cursor
from reckoner.producer.http.problems import ProblemError
from reckoner.producer.http.routes import Nothing, Route
from reckoner.shared.serving.results import Answer
from reckoner.shared.wire.filters import is_filter
from reckoner.shared.wire.shapes import MAX_ITEMS


class Chosen(TypedDict):
    """The filter of a request, as the client takes it."""

    only: tuple[str, ...]
    without: tuple[str, ...]
    exclude: tuple[str, ...]
    max_per_tag: int | None
    diversity: float | None


class Filtered(Struct, frozen=True, kw_only=True):
    """A list's length, and what it leaves out."""

    n: Places | None = None
    only: Only = ()
    without: Without = ()
    exclude: Exclude = ()
    max_per_tag: MaxPerTag | None = None
    diversity: Diversity | None = None

    @property
    def filters(self) -> bool:
        """Whether the filter leaves out something."""
        return is_filter(**self.chosen)

    @property
    def chosen(self) -> Chosen:
        """The filter."""
        return Chosen(
            only=self.only,
            without=self.without,
            exclude=self.exclude,
            max_per_tag=self.max_per_tag,
            diversity=self.diversity,
        )


class Waits(Filtered, frozen=True, kw_only=True):
    """Whether the workers compute a list, and how long the answer may take."""

    fresh: Fresh = False
    timeout: Patience | None = None

    @property
    def only_cached(self) -> bool:
        """Whether the workers are not asked.

        Raises:
            ProblemError: they are to be asked, and not to be waited for.
        """
        if self.fresh and self.timeout == 0:
            raise ProblemError("invalid-parameter", "A fresh list takes time. Give a timeout above 0.")
        return self.timeout == 0


class ForUser(Waits, frozen=True, kw_only=True):
    """Whose list, and which part of it."""

    user: User


class ForUsers(Waits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose lists, and which part of them."""

    users: Ids


class ForBasket(Filtered, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The items of a visitor of whom nothing else is known, the latest last."""

    items: Ids
    timeout: Timeout | None = None


class Answers(Struct, frozen=True):
    """The lists in the order of the users."""

    answers: list[Answer]


async def recommendations(call: Call, asked: ForUser) -> Answer:
    """A user's list."""
    if asked.only_cached:
        answer = await call.reckoner.get(asked.user, asked.n, **asked.chosen, timeout=call.left_s)
    else:
        answer = (None if asked.fresh or asked.filters else await _whole(call, asked)) or (
            await call.reckoner.recommend(asked.user, asked.n, **asked.chosen, fresh=asked.fresh, timeout=call.left_s)
        )
    call.server.counting.lists([answer.source])
    return answer


async def _whole(call: Call, asked: ForUser) -> Answer | None:
    """A list that is whole in the cache, as most are: the call that may wait for a job takes longer to read it."""
    answer = await call.reckoner.get(asked.user, asked.n, timeout=call.left_s)
    return answer if answer.source == "cache" and len(answer.items) >= (asked.n or DEFAULT_N) else None


async def recommendations_of_many(call: Call, _: Nothing) -> Answers:
    """The lists of several users."""
    asked = call.body(ForUsers)
    users = list(asked.users)
    if asked.only_cached:
        answers = await call.reckoner.get_many(users, asked.n, **asked.chosen, timeout=call.left_s)
    else:
        answers = await call.reckoner.recommend_many(
            users, asked.n, **asked.chosen, fresh=asked.fresh, timeout=call.left_s
        )
    call.server.counting.lists(answer.source for answer in answers)
    return Answers(answers)


async def basket(call: Call, _: Nothing) -> BasketAnswer:
    """A basket's list."""
    asked = call.body(ForBasket)
    answer = await call.reckoner.recommend_for(list(asked.items), asked.n, **asked.chosen, timeout=call.left_s)
    call.server.counting.lists([answer.source])
    return answer


class Near(Struct, frozen=True, kw_only=True):
    """Which item, and how many neighbours."""

    item: Item
    n: Count = DEFAULT_N
    timeout: Timeout | None = None


class Pair(Struct, frozen=True, kw_only=True):
    """Two items."""

    item: Item
    other: Item
    timeout: Timeout | None = None


async def similar(call: Call, asked: Near) -> Similar:
    """An item's neighbours."""
    return await call.reckoner.similar(asked.item, asked.n, timeout=call.left_s)


async def compared(call: Call, asked: Pair) -> Compared:
    """The similarity of two items."""
    return await call.reckoner.similar(asked.item, other=asked.other, timeout=call.left_s)


class OfHistory(Struct, frozen=True, kw_only=True):
    """Whose history, and which page of it."""

    user: User
    n: Count = 100
    cursor: Cursor | None = None
    timeout: Timeout | None = None


class HistoryPage(Struct, frozen=True):
    """A page of a user's history in the live lists' data, newest first, if the data have times."""

    user: str
    generation: str
    count: int
    """The length of the whole history, of which pages show the first 1,000."""
    items: list[HistoryItem]
    next: str | None
    """The cursor of the next page, null at the end."""


async def history(call: Call, asked: OfHistory) -> HistoryPage:
    """A page of a user's history.

    Raises:
        ProblemError: the cursor is invalid, or other lists have gone live since.
    """
    began, start = from_cursor(asked.cursor, tuple[str, int]) if asked.cursor else ("", 0)
    if not 0 <= start < MAX_ITEMS:
        raise ProblemError("invalid-parameter", "The cursor is invalid. Take `next` of the page before.")
    end = min(start + asked.n, MAX_ITEMS)
    found = await call.reckoner.history(asked.user, end, timeout=call.left_s)
    if began not in ("", found.generation):
        raise ProblemError("conflict", "Other lists have gone live since the page before. Begin again.")
    more = end < min(found.count, MAX_ITEMS)
    after = to_cursor((found.generation, end)) if more else None
    return HistoryPage(found.user, found.generation, found.count, found.items[start:], after)


class Recent(Struct, frozen=True):
    """What a user did since the data of the live lists, in the order of recording."""

    user: str
    events: list[RecentEvent]


async def recent(call: Call, asked: OfUser) -> Recent:
    """A user's recorded events."""
    return Recent(asked.user, await call.reckoner.recent(asked.user, timeout=call.left_s))


class OfList(Struct, frozen=True):
    """Which list, and how many places."""

    name: Id
    n: Places | None = None


class ListNames(Struct, frozen=True):
    """The names of the lists that are the same for all users, sorted."""

    lists: list[str]


async def list_names(call: Call, _: Nothing) -> ListNames:
    """The lists that are the same for all users."""
    return ListNames([*await call.reckoner.list_names(timeout=call.left_s)])


async def named_list(call: Call, asked: OfList) -> NamedList:
    """A list that is the same for all users."""
    return await call.reckoner.named_list(asked.name, asked.n, timeout=call.left_s)


OF_JOBS = ("queue-full", "job-failed", "cancelled", "no-model")

ROUTES = (
    Route(
        method="GET",
        path="/v1/users/{user}/recommendations",
        role="read",
        handle=recommendations,
        summary="The first places of a user's list. The workers compute it if it is not in the cache.",
        asked=ForUser,
        answer=Answer,
        example={"user": "601", "n": 3},
        problems=OF_JOBS,
    ),
    Route(
        method="POST",
        path="/v1/recommendations",
        role="read",
        handle=recommendations_of_many,
        summary="The lists of up to 1,000 users at once.",
        body=ForUsers,
        answer=Answers,
        example={"body": {"users": ["601", "42"], "n": 3}},
        problems=OF_JOBS,
    ),
    Route(
        method="POST",
        path="/v1/baskets",
        role="read",
        handle=basket,
        summary="A list for somebody of whom only some items are known, such as a basket's.",
        body=ForBasket,
        answer=BasketAnswer,
        example={"body": {"items": ["260", "1196"], "n": 3}},
        problems=OF_JOBS,
    ),
    Route(
        method="GET",
        path="/v1/items/{item}/similar",
        role="read",
        handle=similar,
        summary="An item's most similar items in the live model.",
        asked=Near,
        answer=Similar,
        example={"item": "260", "n": 3},
        problems=(*OF_JOBS, "item-unknown"),
    ),
    Route(
        method="GET",
        path="/v1/items/{item}/similar/{other}",
        role="read",
        handle=compared,
        summary="The similarity of two items in the live model.",
        asked=Pair,
        answer=Compared,
        example={"item": "260", "other": "1196"},
        problems=(*OF_JOBS, "item-unknown"),
    ),
    Route(
        method="GET",
        path="/v1/users/{user}/history",
        role="read",
        handle=history,
        summary="What the live lists know of a user, in pages.",
        asked=OfHistory,
        answer=HistoryPage,
        example={"user": "601", "n": 3},
        problems=(*OF_JOBS, "user-unknown", "conflict"),
    ),
    Route(
        method="GET",
        path="/v1/users/{user}/events",
        role="read",
        handle=recent,
        summary="The recorded events of a user that the data of the live lists do not hold yet.",
        asked=OfUser,
        answer=Recent,
        example={"user": "601"},
    ),
    Route(
        method="GET",
        path="/v1/lists",
        role="read",
        handle=list_names,
        summary="The names of the lists that are the same for all users.",
        answer=ListNames,
        problems=("no-model",),
    ),
    Route(
        method="GET",
        path="/v1/lists/{name}",
        role="read",
        handle=named_list,
        summary="A list that is the same for all users, such as popular.",
        asked=OfList,
        answer=NamedList,
        example={"name": "popular", "n": 3},
        problems=("no-model", "list-unknown"),
    ),
)
