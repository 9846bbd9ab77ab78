"""What is read: recommendations, baskets, similar items, histories and named lists."""

from typing import Annotated, TypedDict

from msgspec import Meta, Struct

from reckoner.producer.http.calls import Call
from reckoner.producer.http.routes import Route
from reckoner.shared.serving.results import Answer

N = (
    Annotated[int, Meta(description="The number of places, up to the length of the lists; at most 10 by default.")]
    | None
)
Timeout = (
    Annotated[
        float,
        Meta(ge=0, le=60, description="Seconds to wait for workers if the answer is not cached; 0 for not at all."),
    ]
    | None
)
MaxPerTag = Annotated[int, Meta(description="The most places whose items have the same tag.")] | None
Diversity = (
    Annotated[
        float, Meta(description="Above 0, up to 1: how much less a place counts for being similar to those before it.")
    ]
    | None
)
Tags = tuple[str, ...]


class Chosen(TypedDict):
    """The filter of a request, as the client takes it."""

    only: Tags
    without: Tags
    exclude: Tags
    max_per_tag: int | None
    diversity: float | None


class ForUser(Struct, frozen=True, kw_only=True):
    """Whose list, and which part of it."""

    user: Annotated[str, Meta(description="The user's id.")]
    n: N = None
    only: Annotated[Tags, Meta(description="A tag: items without any of those given are left out.")] = ()
    without: Annotated[Tags, Meta(description="A tag: items with it are left out.")] = ()
    exclude: Annotated[tuple[str, ...], Meta(description="An item to leave out.")] = ()
    max_per_tag: MaxPerTag = None
    diversity: Diversity = None
    fresh: Annotated[bool, Meta(description="Whether the list is computed anew.")] = False
    timeout: Timeout = None


async def recommendations(call: Call, asked: ForUser) -> Answer:
    """A user's list."""
    chosen = Chosen(
        only=asked.only,
        without=asked.without,
        exclude=asked.exclude,
        max_per_tag=asked.max_per_tag,
        diversity=asked.diversity,
    )
    if asked.timeout == 0 and not asked.fresh:
        answer = await call.reckoner.get(asked.user, asked.n, **chosen, timeout=call.server.config.timeout_s)
    else:
        answer = await call.reckoner.recommend(asked.user, asked.n, **chosen, fresh=asked.fresh, timeout=call.left_s)
    call.server.counting.lists([answer.source])
    return answer


ROUTES = (
    Route(
        method="GET",
        path="/v1/users/{user}/recommendations",
        role="read",
        handle=recommendations,
        summary="The first places of a user's list; the workers compute it if it is not in the cache.",
        asked=ForUser,
        answer=Answer,
        example={"user": "601", "n": 3},
    ),
)
