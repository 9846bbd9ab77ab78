"""Models: what each item says of other items, as a matrix that is scored in chunks of candidates."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from reckoner.shared.store.artifacts import JSON, Artifact, open_artifact, write_artifact
from reckoner.shared.store.balance import balance
from reckoner.shared.store.integrity import check_counts, check_pointers, check_rows, check_values
from reckoner.shared.store.manifests import read_manifest
from reckoner.shared.store.model_config import KERNEL_VERSION, ModelConfig, model_id
from reckoner.shared.store.snapshots import Snapshot

KIND: Final = "models"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The values of pairs of I items as one CSR matrix: row i holds what item i says of others.

    Of most kinds, that are the K items most similar to i. Of `slim` a row has any length: at most K values are of the
    same candidate.

    `row_ptr` int64[I + 1], `row_items` uint32[nnz] (the candidates, ascending within each row), `row_values`
    float32[nnz] (above zero), `candidate_ptr` int64[I + 1] (how many entries have a candidate below this index). All
    are read-only memory maps. `longest_row` is the number of entries of the longest row.
    """

    id: str
    snapshot_id: str
    config: ModelConfig
    row_ptr: NDArray[np.int64]
    row_items: NDArray[np.uint32]
    row_values: NDArray[np.float32]
    candidate_ptr: NDArray[np.int64]
    longest_row: int
    _task_bounds: dict[tuple[int, int], NDArray[np.int64]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def n_items(self) -> int:
        """I, the number of items."""
        return len(self.row_ptr) - 1

    def additions(self, items: NDArray[np.uint32]) -> int:
        """The number of additions for scoring histories with these items: the sum of their rows' lengths."""
        return int((self.row_ptr[items + np.uint32(1)] - self.row_ptr[items]).sum())

    def most_additions(self, items: int) -> int:
        """The most additions for scoring histories with so many items."""
        return items * self.longest_row

    def additions_of_all(self, snapshot: Snapshot) -> int:
        """The same for the histories of all users."""
        return int(np.diff(snapshot.item_ptr) @ np.diff(self.row_ptr))

    def share(self, first: int, last: int) -> float:
        """The share of the model's entries with candidates in [first, last); 0 for an empty model."""
        held, entries = self.candidate_ptr[last] - self.candidate_ptr[first], self.candidate_ptr[-1]
        return float(held / max(entries, 1))

    def chunk_bounds(self, n_chunks: int) -> NDArray[np.int64]:
        """The bounds of `n_chunks` similarity chunks, int64[chunks + 1]; chunk c holds candidates [b[c], b[c + 1]).

        Each holds about as many entries as the others and at least one candidate, so there are at most I chunks.
        """
        return balance(np.diff(self.candidate_ptr), n_chunks)

    def task_bounds(self, n_chunks: int, n_tasks: int) -> NDArray[np.int64]:
        """The bounds of `n_tasks` chunk tasks, int64[tasks + 1]; task t scores candidates [b[t], b[t + 1]).

        A task takes whole neighbouring chunks, so there are at most as many tasks as chunks. The bounds are cached and
        read-only.
        """
        found = self._task_bounds.get((n_chunks, n_tasks))
        if found is None:
            bounds = self.chunk_bounds(n_chunks)
            chunks = len(bounds) - 1
            tasks = min(n_tasks, chunks)
            found = bounds[np.arange(tasks + 1) * chunks // max(tasks, 1)]
            found.flags.writeable = False
            self._task_bounds[n_chunks, n_tasks] = found
        return found


def write_model(
    directory: Path,
    *,
    snapshot_id: str,
    config: ModelConfig,
    row_ptr: NDArray[np.int64],
    row_items: NDArray[np.uint32],
    row_values: NDArray[np.float32],
) -> str:
    """Write a model with the arrays of `Model` into `directory`, and return its id.

    Raises:
        StoreError: the directory cannot be written, or the disk is full.
    """
    candidate_ptr = np.zeros(len(row_ptr), dtype=np.int64)
    np.cumsum(np.bincount(row_items, minlength=len(row_ptr) - 1), out=candidate_ptr[1:])
    arrays: dict[str, NDArray[Any]] = {
        "row_ptr": row_ptr.astype(np.int64, copy=False),
        "row_items": row_items.astype(np.uint32, copy=False),
        "row_values": row_values.astype(np.float32, copy=False),
        "candidate_ptr": candidate_ptr,
    }
    facts: dict[str, JSON] = {
        "snapshot": snapshot_id,
        "config": config.facts(),
        "kernel_version": KERNEL_VERSION,
        "items": len(row_ptr) - 1,
        "entries": len(row_items),
    }
    return write_artifact(directory, KIND, arrays, facts, artifact_id=model_id(snapshot_id, config))


def open_model(directory: Path, *, verify: bool = False) -> Model:
    """Open the model in `directory`; with `verify`, check hashes and integrity too.

    Raises:
        ArtifactMissingError: there is none.
        ArtifactDamagedError: a file does not match the manifest, or is invalid for a model.
        StoreError: a file is temporarily unreadable.
    """
    artifact = open_artifact(directory, KIND, verify=verify)
    snapshot_id, config = _facts(artifact)
    row_ptr = artifact.array("row_ptr", np.int64)
    if not row_ptr.size:
        raise artifact.damage("row_ptr", "is empty")
    items, entries = row_ptr.size - 1, int(row_ptr[-1])
    if (artifact.facts.get("items"), artifact.facts.get("entries")) != (items, entries):
        raise artifact.damage("row_ptr", "does not match the counts in the manifest")
    model = Model(
        id=artifact.id,
        snapshot_id=snapshot_id,
        config=config,
        row_ptr=row_ptr,
        row_items=artifact.array("row_items", np.uint32, entries),
        row_values=artifact.array("row_values", np.float32, entries),
        candidate_ptr=artifact.array("candidate_ptr", np.int64, row_ptr.size),
        longest_row=int(np.diff(row_ptr).max(initial=0)),
    )
    if verify:
        check_pointers(artifact, "row_ptr", entries)
        if config.similarity != "slim" and model.longest_row > config.neighbours:
            raise artifact.damage("row_ptr", f"has a row of more than {config.neighbours} neighbours")
        check_rows(artifact, "row_items", "row_ptr", items)
        check_counts(artifact, "candidate_ptr", "row_items")
        if config.similarity == "slim" and int(np.diff(model.candidate_ptr).max(initial=0)) > config.neighbours:
            raise artifact.damage("candidate_ptr", f"has a candidate with more than {config.neighbours} values")
        check_values(artifact, "row_values")
    return model


def describe(directory: Path) -> tuple[str, ModelConfig]:
    """The snapshot and the configuration of the model in `directory`, from its manifest only.

    Raises:
        ArtifactMissingError: there is none.
        ArtifactDamagedError: its manifest is invalid.
        StoreError: it is temporarily unreadable.
    """
    artifact_id, manifest = read_manifest(directory)
    return _facts(Artifact(artifact_id, manifest.facts, {}))


def _facts(artifact: Artifact) -> tuple[str, ModelConfig]:
    """The snapshot and the configuration of a model, checked against its id."""
    try:
        snapshot_id = msgspec.convert(artifact.facts["snapshot"], str)
        config = msgspec.convert(artifact.facts["config"], ModelConfig)
        version = msgspec.convert(artifact.facts["kernel_version"], int)
    except (KeyError, msgspec.ValidationError) as error:
        raise artifact.fact_damage("does not describe a model") from error
    if model_id(snapshot_id, config, version) != artifact.id:
        raise artifact.fact_damage("describes another model")
    return snapshot_id, config
