"""Tests of models and scores against an independent library, on real data."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.interactions import Interactions
from tests.movielens import read_movielens
from workers.kernels.build import Matrix, build_rows, join_rows
from workers.kernels.score import score_users

NEIGHBOURS = 100


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Interactions:
    """The MovieLens data."""
    return read_movielens(tmp_path_factory.mktemp("movielens"))


@dataclass(frozen=True)
class Answers:
    """Our models with all neighbours and with `NEIGHBOURS`; scores and rows of implicit's CosineRecommender."""

    whole: Matrix
    rows: Matrix
    theirs: Mapping[str, NDArray[Any]]


def model_of(data: Interactions, neighbours: int) -> Matrix:
    rows = build_rows(
        *(data.item_ptr, data.item_users, None, data.user_ptr, data.user_items, None, 0, data.n_items),
        similarity="cosine",
        neighbours=neighbours,
        shrink=0.0,
        stop=np.zeros(1, np.uint8),
    )
    assert rows is not None
    matrix = join_rows([rows], stop=np.zeros(1, np.uint8))
    assert matrix is not None
    return matrix


@pytest.fixture(scope="module")
def answers(data: Interactions, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """What both libraries make of the data; ours works while the process of the other runs."""
    folder = tmp_path_factory.mktemp("rival")
    source, target = folder / "in.npz", folder / "out.npz"
    np.savez(source, user_ptr=data.user_ptr, user_items=data.user_items, n_items=data.n_items, neighbours=NEIGHBOURS)
    script = Path(__file__).with_name("implicit_rival.py")
    with subprocess.Popen([sys.executable, str(script), str(source), str(target)]) as process:
        whole, rows = model_of(data, data.n_items), model_of(data, NEIGHBOURS)
    assert process.returncode == 0
    with np.load(target, allow_pickle=False) as theirs:
        return Answers(whole, rows, dict(theirs))


def test_with_all_neighbours_everybodys_ten_best_scores_are_implicits(data: Interactions, answers: Answers) -> None:
    """Implicit sums where we take the mean: ours times the weight of the history."""
    best = score_users(
        *answers.whole, data.user_ptr, data.user_items, None, 0, data.n_items, 10, stop=np.zeros(1, np.uint8)
    )
    assert best is not None
    assert (best.counts == 10).all()
    ours = best.scores.reshape(data.n_users, 10).astype(np.float64) * np.diff(data.user_ptr)[:, np.newaxis]
    theirs = -np.sort(-answers.theirs["scores"], axis=1)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_each_items_hundred_highest_similarities_are_implicits(data: Interactions, answers: Answers) -> None:
    """Without the item itself, which implicit counts among its neighbours or loses among others at 1."""
    matrix, rival = answers.rows, answers.theirs
    for item in range(data.n_items):
        ours = matrix.row_values[matrix.row_ptr[item] : matrix.row_ptr[item + 1]]
        row = slice(rival["row_ptr"][item], rival["row_ptr"][item + 1])
        theirs = rival["row_values"][row][rival["row_items"][row] != item]
        np.testing.assert_allclose(-np.sort(-ours), -np.sort(-theirs)[:NEIGHBOURS], rtol=1e-6)
