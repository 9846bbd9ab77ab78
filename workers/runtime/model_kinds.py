"""The kinds of models: how each is planned, laid out, built in parts, and joined.

Models of all kinds are stored, laid out for scoring and scored alike: see `shared.store.models` and `kernels.scoring`.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.redis.scripts.constants import MAX_TASKS
from reckoner.shared.store.model_config import ModelConfig, Similarity
from reckoner.shared.store.snapshots import Snapshot
from reckoner.workers.kernels.compiled import NARROW, compile_rest

if TYPE_CHECKING:
    from reckoner.workers.runtime.building import Counting, Matrix, Tile

LaidOut = TypeVar("LaidOut")

# Half a second of the build, in the first tasks more and in the last ones less: far within a task's deadline, for a
# batch thread too that stands back while all cores are busy. Each task has lists for all of its columns, so that many
# tasks cost more than few.
WORK_PER_TASK = 520_000_000


class ModelKind(Protocol[LaidOut]):
    """How models of one kind are built from a snapshot. `stop`, uint8[1], ends a kernel, which then returns None."""

    def load_planning(self) -> None:
        """Import what `plan` needs."""

    def plan(self, snapshot: Snapshot, config: ModelConfig, least: int, tile_bytes: int) -> list[int]:
        """The bounds of the parts, at least `least` ranges of ranks where there are as many.

        It needs no compiled kernel, since all workers wait for it.
        """

    def kernels_for(self, snapshot: Snapshot) -> Callable[[], None]:
        """The function that imports, and compiles where need be, the kernels of `lay_out`, `build_part` and `join`."""

    def lay_out(self, snapshot: Snapshot, config: ModelConfig, stop: NDArray[np.uint8]) -> LaidOut | None:
        """The snapshot as all parts of one fit read it."""

    def build_part(
        self, laid_out: LaidOut, first: int, last: int, tile_bytes: int, stop: NDArray[np.uint8]
    ) -> "Tile | None":
        """The values of the ranks first..last-1, as lists of the items that they belong to."""

    def join(
        self, parts: "Sequence[Tile]", n_items: int, config: ModelConfig, stop: NDArray[np.uint8]
    ) -> "Matrix | None":
        """The model's matrix."""


class Neighbours:
    """Each item's most similar items, by one of the similarities (Deshpande and Karypis 2004, item-based top-N)."""

    def load_planning(self) -> None:
        """See `ModelKind`."""
        import_module("reckoner.workers.kernels.building.work")

    def plan(self, snapshot: Snapshot, config: ModelConfig, least: int, tile_bytes: int) -> list[int]:
        """See `ModelKind`; the costs of the rows are estimated."""
        from reckoner.workers.kernels.building.work import are_counted, estimated_cost, plan_rows

        counted = are_counted(config, snapshot.item_weights is not None)
        cost = estimated_cost(snapshot.item_ptr, snapshot.user_ptr, snapshot.user_items, counted)
        bounds: list[int] = plan_rows(cost, least, MAX_TASKS, WORK_PER_TASK, tile_bytes).tolist()
        return bounds

    def kernels_for(self, snapshot: Snapshot) -> Callable[[], None]:
        """See `ModelKind`; wide ranks need other kernels."""
        return _import_kernels if snapshot.n_items <= NARROW else _import_all_kernels

    def lay_out(self, snapshot: Snapshot, config: ModelConfig, stop: NDArray[np.uint8]) -> "Counting | None":
        """See `ModelKind`."""
        from reckoner.workers.runtime import building

        return building.lay_out(snapshot, config, stop)

    def build_part(
        self, laid_out: "Counting", first: int, last: int, tile_bytes: int, stop: NDArray[np.uint8]
    ) -> "Tile | None":
        """See `ModelKind`: the pairs of these ranks with more popular items."""
        from reckoner.workers.runtime import building

        return building.build_tiles(laid_out, first, last, tile_bytes, stop)

    def join(
        self, parts: "Sequence[Tile]", n_items: int, config: ModelConfig, stop: NDArray[np.uint8]
    ) -> "Matrix | None":
        """See `ModelKind`."""
        from reckoner.workers.runtime import building

        return building.join_tiles(parts, n_items, config.neighbours, stop=stop)


def _import_kernels() -> None:
    import_module("reckoner.workers.runtime.building")


def _import_all_kernels() -> None:
    _import_kernels()
    compile_rest()


_KINDS: Mapping[Similarity, ModelKind[Any]] = dict.fromkeys(get_args(Similarity), Neighbours())


def kind_of(config: ModelConfig) -> ModelKind[Any]:
    """The kind of the models that a configuration asks for."""
    return _KINDS[config.similarity]
