"""Tests of the kernels on real data, through memory maps as a worker reads them."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.balance import balance
from tests.movielens import read_movielens
from tests.reference import reference_lists, reference_rows
from workers.kernels.build import Matrix, build_rows, join_rows
from workers.kernels.merge import merge
from workers.kernels.score import score_users
from workers.kernels.work import row_work


def mapped(folder: Path, name: str, array: NDArray[Any]) -> Any:
    np.save(folder / f"{name}.npy", array)
    return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)


def test_model_and_lists_of_everybody_are_the_reference_bit_for_bit(tmp_path: Path) -> None:
    """671 users and 9,066 items, built in 7 parts and scored in 5."""
    data = read_movielens(tmp_path)
    names = ("item_ptr", "item_users", "user_ptr", "user_items")
    item_ptr, item_users, user_ptr, user_items = (mapped(tmp_path, name, getattr(data, name)) for name in names)
    stop = np.zeros(1, np.uint8)
    cuts = balance(row_work(item_ptr, item_users, user_ptr), 7).tolist()
    parts = [
        build_rows(
            *(item_ptr, item_users, None, user_ptr, user_items, None, first, last),
            similarity="cosine",
            neighbours=100,
            shrink=0.0,
            stop=stop,
        )
        for first, last in pairwise(cuts)
    ]
    matrix = join_rows([part for part in parts if part is not None], stop=stop)
    assert matrix is not None
    expected = reference_rows(item_ptr, item_users, None, user_ptr, user_items, None, neighbours=100)
    assert [array.tobytes() for array in matrix] == [array.tobytes() for array in expected]

    model = Matrix(*(mapped(tmp_path, name, array) for name, array in matrix._asdict().items()))
    chunks = balance(np.bincount(matrix.row_items, minlength=data.n_items), 5).tolist()
    partials = [
        score_users(*model, user_ptr, user_items, None, first, last, 20, stop=stop) for first, last in pairwise(chunks)
    ]
    best = merge([partial for partial in partials if partial is not None], 20)
    lists = reference_lists(*expected, user_ptr, user_items, None, length=20)
    entries = [entry for user_list in lists for entry in user_list]
    assert best.counts.tolist() == [len(user_list) for user_list in lists]
    assert best.items.tolist() == [entry.item for entry in entries]
    assert best.scores.tobytes() == np.array([entry.score for entry in entries], np.float32).tobytes()
    assert best.reasons.tolist() == [entry.reason for entry in entries]
