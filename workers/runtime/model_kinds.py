"""The model kinds: how each is planned, laid out, built in parts and joined. All kinds are stored and scored alike."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.redis.scripts.constants import MAX_TASKS
from reckoner.shared.store.model_config import ModelConfig, Similarity
from reckoner.shared.store.snapshots import Snapshot
from reckoner.shared.wire.shapes import Plan
from reckoner.workers.kernels.compiled import NARROW, compile_rest

if TYPE_CHECKING:
    from reckoner.workers.kernels.regression.sums import Shared
    from reckoner.workers.runtime.building import Counting, Matrix, Tile

LaidOut = TypeVar("LaidOut")

# About a tenth of a second of work, so that workers finish together. More tasks would cost more in total.
WORK_PER_TASK = 260_000_000


class ModelKind(Protocol[LaidOut]):
    """Builds models of one kind from a snapshot. A method returns None if its stop flag `stop`, uint8[1], was set."""

    def load_planning(self) -> None:
        """Import what `plan` needs."""

    def plan(self, snapshot: Snapshot, config: ModelConfig, least: int, tile_bytes: int) -> Plan:
        """The number of popular items, and the bounds of at least `least` ranges of rows, if there are as many rows.

        It uses no compiled kernel, since all workers wait for it.
        """

    def kernels_for(self, snapshot: Snapshot, popular: int) -> Callable[[], None]:
        """The function that imports and compiles the kernels of `lay_out`, `build_part` and `join`."""

    def lay_out(self, snapshot: Snapshot, config: ModelConfig, popular: int, stop: NDArray[np.uint8]) -> LaidOut | None:
        """Lay out the snapshot once for all parts of a fit."""

    def build_part(
        self,
        laid_out: LaidOut,
        config: ModelConfig,
        first: int,
        last: int,
        tile_bytes: int,
        stop: NDArray[np.uint8],
    ) -> "Tile | None":
        """Build the part of the rows first..last-1."""

    def join(
        self, parts: "Sequence[Tile]", n_items: int, config: ModelConfig, stop: NDArray[np.uint8]
    ) -> "Matrix | None":
        """Join all parts into the model's matrix."""


class Neighbours:
    """The K most similar items of each item (Deshpande and Karypis 2004, item-based top-N)."""

    def load_planning(self) -> None:
        """See `ModelKind`."""
        import_module("reckoner.workers.kernels.building.work")

    def plan(self, snapshot: Snapshot, config: ModelConfig, least: int, tile_bytes: int) -> Plan:
        """See `ModelKind`. The cost of rows is estimated."""
        from reckoner.workers.kernels.building.work import are_counted, estimated_cost, plan_rows

        counted = are_counted(config, snapshot.item_weights is not None)
        cost = estimated_cost(snapshot.item_ptr, snapshot.user_ptr, snapshot.user_items, counted)
        plan = plan_rows(cost, config.neighbours, least, MAX_TASKS, WORK_PER_TASK, tile_bytes)
        return Plan(plan.bounds, plan.popular)

    def kernels_for(self, snapshot: Snapshot, popular: int) -> Callable[[], None]:
        """See `ModelKind`. Wide ranks need other kernels."""
        return _import_kernels if popular <= NARROW else _import_all_kernels

    def lay_out(
        self, snapshot: Snapshot, config: ModelConfig, popular: int, stop: NDArray[np.uint8]
    ) -> "Counting | None":
        """See `ModelKind`."""
        from reckoner.workers.runtime import building

        return building.lay_out(snapshot, config, popular, stop)

    def build_part(
        self,
        laid_out: "Counting",
        config: ModelConfig,
        first: int,
        last: int,
        tile_bytes: int,
        stop: NDArray[np.uint8],
    ) -> "Tile | None":
        """See `ModelKind`: of popular items, the pairs with more popular ones; of others, all pairs."""
        from reckoner.workers.runtime import building

        return building.build_tiles(laid_out, first, last, tile_bytes, stop)

    def join(
        self, parts: "Sequence[Tile]", n_items: int, config: ModelConfig, stop: NDArray[np.uint8]
    ) -> "Matrix | None":
        """See `ModelKind`."""
        from reckoner.workers.runtime import building

        return building.join_tiles(parts, n_items, config.neighbours, stop=stop)


class Slim:
    """What a user has of the nearest items explains each item, by a local non-negative regression.

    Rows are targets, by rank. An interaction counts as such, whatever its weight: sums stay exact integers, and a
    weight still counts when a history is scored.
    """

    def load_planning(self) -> None:
        """See `ModelKind`."""
        import_module("reckoner.workers.kernels.regression.work")

    def plan(self, snapshot: Snapshot, config: ModelConfig, least: int, tile_bytes: int) -> Plan:
        """See `ModelKind`. The cost of targets is estimated."""
        from reckoner.workers.kernels.regression.work import plan_targets

        candidates = int(config.parameter("candidates"))
        cut = least, MAX_TASKS, WORK_PER_TASK
        plan = plan_targets(snapshot.item_ptr, snapshot.user_ptr, snapshot.user_items, candidates, *cut, tile_bytes)
        return Plan(plan.bounds, plan.popular)

    def kernels_for(self, snapshot: Snapshot, popular: int) -> Callable[[], None]:
        """See `ModelKind`. All items have ranks."""
        return _import_regression if snapshot.n_items <= NARROW else _import_all_regression

    def lay_out(
        self, snapshot: Snapshot, config: ModelConfig, popular: int, stop: NDArray[np.uint8]
    ) -> "Shared | None":
        """See `ModelKind`."""
        from reckoner.workers.kernels.regression.sums import share

        by_item = snapshot.item_ptr, snapshot.item_users
        return share(*by_item, snapshot.user_ptr, config.parameter("user_norm"), popular, stop=stop)

    def build_part(
        self,
        laid_out: "Shared",
        config: ModelConfig,
        first: int,
        last: int,
        tile_bytes: int,
        stop: NDArray[np.uint8],
    ) -> "Tile | None":
        """See `ModelKind`: a list for each target. It takes no memory but for one target at a time."""
        from reckoner.workers.kernels.regression.regress import regress

        return regress(
            *(laid_out, first, last),
            candidates=int(config.parameter("candidates")),
            neighbours=config.neighbours,
            l1=config.parameter("l1"),
            l2=config.parameter("l2"),
            l2_share=config.parameter("l2_share"),
            stop=stop,
        )

    def join(
        self, parts: "Sequence[Tile]", n_items: int, config: ModelConfig, stop: NDArray[np.uint8]
    ) -> "Matrix | None":
        """See `ModelKind`."""
        from reckoner.workers.kernels.regression.transpose import transpose

        return transpose(parts, n_items, stop=stop)


def _import_kernels() -> None:
    import_module("reckoner.workers.runtime.building")


def _import_regression() -> None:
    import_module("reckoner.workers.kernels.regression.regress")
    import_module("reckoner.workers.kernels.regression.transpose")


def _import_all_regression() -> None:
    _import_regression()
    compile_rest()


def _import_all_kernels() -> None:
    _import_kernels()
    compile_rest()


_KINDS: Mapping[Similarity, ModelKind[Any]] = {**dict.fromkeys(get_args(Similarity), Neighbours()), "slim": Slim()}


def kind_of(config: ModelConfig) -> ModelKind[Any]:
    """The model kind of a configuration."""
    return _KINDS[config.similarity]
