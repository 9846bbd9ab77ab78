"""Tests of the layout of candidates for scoring."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.workers.kernels.ranking import value_of
from reckoner.workers.kernels.scoring import candidates
from reckoner.workers.kernels.scoring.candidates import GROUP_WORDS, HEAD, Candidates, lay_out
from tests.building import Model, flag

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
    found = lay_out(*arrays(rows), first, last, stop=flag())
    assert found is not None
    return found


def columns_of(found: Candidates) -> list[list[tuple[int, float]]]:
    """The items and values of each column."""
    spans = pairwise(found.column_ptr.tolist())
    return [[(key & 0xFFFFFFFF, float(value_of(key))) for key in found.columns[a:b].tolist()] for a, b in spans]


def rows_of(found: Candidates) -> list[list[tuple[int, float]]]:
    """The ranks and values of each row, without what makes up its last group."""
    return [head_of(found, i) + tail_of(found, i) for i in range(found.ranks.size)]


def head_of(found: Candidates, i: int) -> list[tuple[int, float]]:
    groups = found.words[found.bounds[2 * i] : found.bounds[2 * i + 1]].reshape(-1, GROUP_WORDS)
    ranks, values = groups[:, :1].copy().view(np.uint16), groups[:, 1:].copy().view(np.float32)
    return [(rank, value) for rank, value in zip(ranks.ravel().tolist(), values.ravel().tolist(), strict=True) if value]


def tail_of(found: Candidates, i: int) -> list[tuple[int, float]]:
    entries = found.words[found.bounds[2 * i + 1] : found.bounds[2 * i + 2]].copy()
    ranks, values = entries.view(np.uint32)[::2], entries.view(np.float32)[1::2]
    return list(zip(ranks.tolist(), values.tolist(), strict=True))


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
    assert rows_of(found) == [
        [(order.index(item), value) for item, value in sorted(row.items()) if item in stands] for row in rows
    ]
    columns = [[(item, row[candidate]) for item, row in enumerate(rows) if candidate in row] for candidate in order]
    falling = [sorted(column, key=lambda entry: (-entry[1], entry[0])) for column in columns]
    assert columns_of(found) == falling


def test_the_tail_comes_after_the_head_of_each_row() -> None:
    """Each by index; and ranks of the tail may need more than 16 bits."""
    size = HEAD + 70_000
    rows = [dict.fromkeys(range(size), 0.5), dict.fromkeys(range(0, size, 7), 0.25)]
    found = laid_out(rows + [{}] * (size - 2), 0, size)
    ranks = {item: rank for rank, item in enumerate(found.order.tolist())}
    for i, row in enumerate(rows):
        expected = [(ranks[item], value) for item, value in sorted(row.items())]
        assert head_of(found, i) == [entry for entry in expected if entry[0] < HEAD]
        assert tail_of(found, i) == [entry for entry in expected if entry[0] >= HEAD]
    assert max(rank for rank, _ in tail_of(found, 0)) > np.iinfo(np.uint16).max


@pytest.mark.parametrize("size", [2, 32, 33, 3000])
def test_values_of_every_size_fall_in_a_column(size: int) -> None:
    """All bits of the numbers count in their order, and equal ones keep theirs."""
    rng = np.random.default_rng(1)
    values = np.exp2(rng.uniform(-140, 120, size)).astype(np.float32)
    values[rng.integers(size, size=size // 2)] = 0.5
    ptr = np.arange(values.size + 1, dtype=np.int64)
    found = lay_out(ptr, np.zeros(values.size, np.uint32), values, 0, 1, stop=flag())
    assert found is not None
    order = np.argsort(-values, kind="stable")
    assert columns_of(found)[0] == list(zip(order.tolist(), values[order].tolist(), strict=True))


@pytest.mark.parametrize("span", [(-1, 2), (2, 1), (0, 3)])
def test_candidates_outside_the_items_are_refused(span: tuple[int, int]) -> None:
    """A kernel would read past its arrays."""
    with pytest.raises(ValueError, match="not among 2 items"):
        laid_out([{}, {}], *span)


@pytest.mark.parametrize("parts", [{}, {"_columns": None}, {"_rows": None}])
def test_a_stopped_layout_returns_none(parts: dict[str, None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Both rows and columns look at the flag."""
    for part in parts:
        monkeypatch.setattr(candidates, part, lambda *_: (np.empty(0, np.int64), np.empty(0, np.uint64)))
    assert lay_out(*arrays([{1: 0.5}, {}]), 0, 2, stop=flag(1)) is None


def test_rows_and_columns_may_be_made_side_by_side() -> None:
    """In threads of the caller's, and are the same."""
    rows = [{1: 0.5, 2: 0.25}, {0: 0.5}, {0: 0.25, 1: 0.125}]
    with ThreadPoolExecutor(2) as threads:
        found = lay_out(*arrays(rows), 0, 3, threads=threads, stop=flag())
    assert found is not None
    for array, expected in zip(found, laid_out(rows, 0, 3), strict=True):
        np.testing.assert_array_equal(array, expected)


def test_read_only_arrays_are_taken() -> None:
    """Models are memory-mapped and cannot be written."""
    given_arrays = arrays([{1: 0.5, 2: 0.25}, {0: 0.5}, {}])
    for array in given_arrays:
        array.flags.writeable = False
    assert lay_out(*given_arrays, 0, 3, stop=flag()) is not None
