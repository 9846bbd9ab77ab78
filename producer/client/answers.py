"""The client's answers: frozen values."""

from dataclasses import dataclass

from reckoner.shared.event_types import Role
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.flows.run_state import Run
from reckoner.shared.serving.results import Entry, Source
from reckoner.shared.wire.shapes import Trace


def describe_outdated_model(snapshot: str | None) -> str:
    """The half sentence for a live model that was built from an older `snapshot` than the current one."""
    return f"the live model still uses {snapshot}. Run `reckoner night`, or see `reckoner runs`."


@dataclass(frozen=True)
class Enqueued:
    """The job that computes a user's list, None if the list is cached."""

    user: str
    job: str | None


@dataclass(frozen=True)
class EnqueuedBasket:
    """The job that computes a basket's list, None if the list is cached."""

    basket: list[str]
    """Distinct, in the order of their bytes."""
    job: str | None


@dataclass(frozen=True)
class BasketAnswer:
    """The list for a basket of an unknown user; the popular list if the basket gives no candidates."""

    basket: list[str]
    """Distinct, in the order of their bytes."""
    generation: str
    source: Source
    items: list[Entry]
    unknown: list[str]
    """The items of the basket that are not in the data."""
    left_out: int = 0
    """The places that were left out: their items are hidden, or do not pass a filter."""


@dataclass(frozen=True)
class NamedList:
    """A list that is the same for all users, and its name in `source`."""

    source: Source
    generation: str
    items: list[Entry]
    left_out: int = 0
    """The number of places that were left out to find these: their items are hidden."""


@dataclass(frozen=True)
class TaggedItem:
    """An item's tags, sorted by their bytes, and whether they were changed live."""

    item: str
    tags: list[str]
    live: bool


@dataclass(frozen=True)
class CatalogueItem:
    """An item as readers see it now; `hidden_until_ms` is None if it is not hidden, or for ever."""

    item: str
    title: str | None
    """None if the data of the live lists have none."""
    tags: list[str]
    live: bool
    """Whether the tags were changed live."""
    hidden: bool
    """Whether it is hidden from everybody."""
    hidden_until_ms: int | None


@dataclass(frozen=True)
class HiddenItem:
    """An item that is hidden from everybody; `until_ms`, in milliseconds since 1970, is None for ever."""

    item: str
    until_ms: int | None


@dataclass(frozen=True)
class RecentEvent:
    """A recorded event of a user that the snapshot of the live lists does not hold."""

    item: str
    type: str
    role: Role
    weight: float
    """That of the event times that of its type."""
    time_ms: int
    """In milliseconds since 1970."""


@dataclass(frozen=True)
class Neighbour:
    """An item similar to another item."""

    item: str
    title: str | None
    similarity: float


@dataclass(frozen=True)
class Similar:
    """An item's neighbours in a generation's model, most similar first, and the number of its users."""

    item: str
    title: str | None
    generation: str
    users: int
    items: list[Neighbour]


@dataclass(frozen=True)
class Compared:
    """The similarity of two items, even if the model has not kept it.

    `users` is the number of users of the item, `other_users` of the other item, `shared_users` of both.
    """

    item: str
    title: str | None
    other: str
    other_title: str | None
    generation: str
    similarity: float
    users: int
    other_users: int
    shared_users: int


@dataclass(frozen=True)
class HistoryItem:
    """An interaction of a user's history; `weight` is None if all weigh 1, `time_ms` if the data have no times."""

    item: str
    title: str | None
    weight: float | None
    time_ms: int | None


@dataclass(frozen=True)
class UserHistory:
    """A user's history in a generation's snapshot: its length, and its first interactions, newest first."""

    user: str
    generation: str
    count: int
    items: list[HistoryItem]


@dataclass(frozen=True)
class JobReport:
    """The state of a job."""

    flow: Flow
    tasks_done: int
    traces: dict[int, Trace]


@dataclass(frozen=True)
class RunReport:
    """The state of a run."""

    run: Run
    blocks_done: int

    @property
    def users_done(self) -> int:
        """The number of users done, at least: the last block may be smaller than the others."""
        return min(self.blocks_done * self.run.block_size, self.run.users)
