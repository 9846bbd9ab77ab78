"""A model is cut into chunks that hold every candidate once and about as much as the others."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from reckoner.shared.errors import ArtifactDamagedError
from reckoner.shared.store.artifacts import write_artifact
from reckoner.shared.store.model_config import ModelConfig, model_id
from reckoner.shared.store.models import KIND, Model, open_model, write_model


def model_with(entries_by_candidate: list[int]) -> Model:
    """A model with nothing but the number of entries of each candidate."""
    pointers = np.concatenate(([0], np.cumsum(entries_by_candidate, dtype=np.int64))).astype(np.int64)
    return Model(
        id="model",
        snapshot_id="snapshot",
        config=ModelConfig(),
        row_ptr=np.zeros(len(pointers), dtype=np.int64),
        row_items=np.zeros(0, dtype=np.uint32),
        row_values=np.zeros(0, dtype=np.float32),
        candidate_ptr=pointers,
        longest_row=0,
    )


def entries(model: Model, bounds: NDArray[np.int64]) -> list[int]:
    return [int(count) for count in np.diff(model.candidate_ptr[bounds])]


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 80), st.integers(1, 80))
def test_chunks_and_tasks_hold_every_candidate_once(counts: list[int], n_chunks: int, n_tasks: int) -> None:
    """Bounds rise from 0 to I without an empty range, and every bound of a task is the bound of a chunk."""
    model = model_with(counts)
    chunks, tasks = model.chunk_bounds(n_chunks), model.task_bounds(n_chunks, n_tasks)
    assert len(chunks) - 1 == min(n_chunks, len(counts))
    assert len(tasks) - 1 == min(n_tasks, n_chunks, len(counts))
    for bounds in (chunks, tasks):
        assert bounds.dtype == np.int64
        assert (bounds[0], bounds[-1]) == (0, len(counts))
        assert np.all(np.diff(bounds) > 0)
    assert set(tasks.tolist()) <= set(chunks.tolist())


@given(st.lists(st.integers(0, 50), min_size=1, max_size=200), st.integers(1, 10))
def test_no_chunk_holds_much_more_than_its_share(counts: list[int], n_chunks: int) -> None:
    """A chunk passes its share by less than the entries of the largest candidate, unless it is one candidate."""
    model = model_with(counts)
    bounds = model.chunk_bounds(n_chunks)
    share = sum(counts) / (len(bounds) - 1)
    for held, width in zip(entries(model, bounds), np.diff(bounds), strict=True):
        assert width == 1 or held <= share + max(counts) + 1


def test_forty_items_make_forty_chunks() -> None:
    """One chunk an item is possible, also when one item holds nearly all entries."""
    for counts in ([1] * 40, [0] * 40, [1000] + [1] * 39, [1] * 39 + [1000]):
        assert model_with(counts).chunk_bounds(40).tolist() == list(range(41))


def test_even_entries_make_even_chunks() -> None:
    """With as many entries everywhere all chunks are as wide."""
    model = model_with([3] * 100)
    assert model.chunk_bounds(4).tolist() == [0, 25, 50, 75, 100]
    assert model.task_bounds(4, 2).tolist() == [0, 50, 100]


def test_the_bounds_of_tasks_are_computed_once() -> None:
    """For each number of chunks and tasks; who asks cannot change them for the next one."""
    model = model_with([3] * 100)
    bounds = model.task_bounds(4, 2)
    assert model.task_bounds(4, 2) is bounds
    assert not bounds.flags.writeable
    assert [model.task_bounds(*asked).tolist() for asked in ((4, 1), (2, 2))] == [[0, 100], [0, 50, 100]]


def test_a_model_is_read_back(tmp_path: Path) -> None:
    """Rows, configuration and snapshot come back, and the entries are counted by candidate."""
    config = ModelConfig(neighbours=7, shrink=1.5)
    row_ptr, row_items = np.array([0, 2, 3, 3]), np.array([1, 2, 2], dtype=np.uint32)
    row_values = np.array([0.5, 0.25, 1.0], dtype=np.float32)
    written = write_model(
        tmp_path, snapshot_id="s", config=config, row_ptr=row_ptr, row_items=row_items, row_values=row_values
    )
    model = open_model(tmp_path, verify=True)
    assert model.id == written == model_id("s", config)
    assert (model.snapshot_id, model.config, model.n_items) == ("s", config, 3)
    assert model.candidate_ptr.tolist() == [0, 0, 1, 3]
    for found, given_array in ((model.row_ptr, row_ptr), (model.row_items, row_items), (model.row_values, row_values)):
        np.testing.assert_array_equal(found, given_array)


@pytest.mark.parametrize("facts", [{}, {"snapshot": 1, "config": {}}, {"snapshot": "s", "config": {"unknown": 1}}])
def test_facts_that_are_not_a_models_are_damage(tmp_path: Path, facts: dict[str, object]) -> None:
    """A manifest without snapshot or with an unknown configuration does not describe a model."""
    write_artifact(tmp_path, KIND, {}, facts)  # type: ignore[arg-type]
    with pytest.raises(ArtifactDamagedError, match="does not describe a model"):
        open_model(tmp_path)
