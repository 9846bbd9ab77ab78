"""What the client answers: frozen values."""

from dataclasses import dataclass

from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.flows.run_state import Run
from reckoner.shared.serving.results import Entry, Source
from reckoner.shared.wire.shapes import Trace


def behind(snapshot: str | None) -> str:
    """A sentence for a live model that is older than the imported data; its snapshot is `snapshot`."""
    return f"the live model is of another one, {snapshot}: `reckoner fit` and `reckoner batch` bring the new data."


@dataclass(frozen=True)
class Enqueued:
    """What was asked for one user: the job that works for it, None when the cached list is the answer."""

    user: str
    job: str | None


@dataclass(frozen=True)
class EnqueuedBasket:
    """What was asked for a basket: the job that works for it, None when the cached list is the answer."""

    basket: list[str]
    """Distinct, in the order of their bytes."""
    job: str | None


@dataclass(frozen=True)
class BasketAnswer:
    """The list for somebody of whom nothing is known but a basket; the popular one where that leads to nothing."""

    basket: list[str]
    """Distinct, in the order of their bytes."""
    generation: str
    source: Source
    items: list[Entry]
    unknown: list[str]
    """Those of the basket that are not in the data."""


@dataclass(frozen=True)
class Neighbour:
    """An item that is similar to another one."""

    item: str
    title: str | None
    similarity: float


@dataclass(frozen=True)
class Similar:
    """An item's neighbours in a generation's model, the most similar first, and how many users have the item."""

    item: str
    title: str | None
    generation: str
    users: int
    items: list[Neighbour]


@dataclass(frozen=True)
class Compared:
    """How similar two items are, whether or not the model has kept that.

    `users` have the one, `other_users` the other and `shared_users` both.
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
class Had:
    """One thing that a user has had; the weight is None where all weigh 1, the time where the data have none."""

    item: str
    title: str | None
    weight: float | None
    time_ms: int | None


@dataclass(frozen=True)
class UserHistory:
    """What a user has had in the data of a generation: how much, and the first of it, the newest first."""

    user: str
    generation: str
    count: int
    items: list[Had]


@dataclass(frozen=True)
class JobReport:
    """A job as it is now."""

    flow: Flow
    """Its state, its lane, and why it ended if it came to no good end, among other things."""
    tasks_done: int
    traces: dict[int, Trace]


@dataclass(frozen=True)
class RunReport:
    """A run as it is now."""

    run: Run
    blocks_done: int

    @property
    def users_done(self) -> int:
        """How many users the blocks that are done have, at least; the last block may be smaller than the others."""
        return min(self.blocks_done * self.run.block_size, self.run.users)
