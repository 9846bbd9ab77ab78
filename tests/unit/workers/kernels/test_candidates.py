"""Tests of the layout of candidates for scoring."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.building import Model, flag
from workers.kernels.candidates import Candidates, lay_out

VALUES = st.sampled_from([0.25, 0.5, 1.0]) | st.floats(2.0**-149, 2.0**100, width=32)


@st.composite
def models(draw: st.DrawFn) -> list[dict[int, float]]:
    """For each of some items, its neighbours and their values."""
    size = draw(st.integers(1, 9))
    row = st.dictionaries(st.integers(0, size - 1), VALUES)
    return draw(st.lists(row, min_size=size, max_size=size))


def arrays(rows: list[dict[int, float]]) -> Model:
    """The same in CSR."""
    return (
        np.cumsum([0, *map(len, rows)], dtype=np.int64),
        np.array([item for row in rows for item in sorted(row)], np.uint32),
        np.array([row[item] for row in rows for item in sorted(row)], np.float32),
    )


def laid_out(rows: list[dict[int, float]], first: int, last: int) -> Candidates:
    candidates = lay_out(*arrays(rows), first, last, stop=flag())
    assert candidates is not None
    return candidates


def spans(ptr: np.ndarray, *columns: np.ndarray) -> list[list[tuple[float, ...]]]:
    """What lies between pointers, entry by entry."""
    return [
        list(zip(*(column[a:b].tolist() for column in columns), strict=True))
        for a, b in zip(ptr.tolist(), ptr.tolist()[1:], strict=False)
    ]


@given(rows=models(), bounds=st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_rows_and_columns_hold_what_the_model_has_of_the_range(
    rows: list[dict[int, float]], bounds: tuple[int, int]
) -> None:
    """Those that stand in most rows first, and each column from its highest value on; ties by index."""
    first, last = sorted(min(bound, len(rows)) for bound in bounds)
    found = laid_out(rows, first, last)
    stands = {item: sum(item in row for row in rows) for item in range(first, last)}
    order = sorted(stands, key=lambda item: (-stands[item], item))
    assert found.order.tolist() == order
    assert found.ranks.tolist() == [order.index(item) if item in stands else -1 for item in range(len(rows))]
    expected = [sorted((order.index(item), value) for item, value in row.items() if item in stands) for row in rows]
    assert spans(found.row_ptr, found.row_ranks, found.row_values) == expected
    columns = [[(item, row[candidate]) for item, row in enumerate(rows) if candidate in row] for candidate in order]
    falling = [sorted(column, key=lambda entry: (-entry[1], entry[0])) for column in columns]
    assert spans(found.column_ptr, found.column_items, found.column_values) == falling


def test_values_of_every_size_fall_in_a_column() -> None:
    """All bits of the numbers count in their order."""
    rng = np.random.default_rng(1)
    values = np.exp2(rng.uniform(-140, 120, 3000)).astype(np.float32)
    ptr = np.arange(values.size + 1, dtype=np.int64)
    found = lay_out(ptr, np.zeros(values.size, np.uint32), values, 0, 1, stop=flag())
    assert found is not None
    order = np.argsort(-values, kind="stable")
    assert found.column_items.tolist() == order.tolist()
    assert found.column_values.tolist() == values[order].tolist()


@pytest.mark.parametrize("candidates", [(-1, 2), (2, 1), (0, 3)])
def test_candidates_outside_the_items_are_refused(candidates: tuple[int, int]) -> None:
    """A kernel would read past its arrays."""
    with pytest.raises(ValueError, match="not among 2 items"):
        laid_out([{}, {}], *candidates)


def test_a_layout_that_is_stopped_is_none() -> None:
    """It looks at the flag every thousand entries."""
    assert lay_out(*arrays([{1: 0.5}, {}]), 0, 2, stop=flag(1)) is None


def test_read_only_arrays_are_taken() -> None:
    """Models are memory-mapped and cannot be written."""
    given_arrays = arrays([{1: 0.5, 2: 0.25}, {0: 0.5}, {}])
    for array in given_arrays:
        array.flags.writeable = False
    assert lay_out(*given_arrays, 0, 3, stop=flag()) is not None
