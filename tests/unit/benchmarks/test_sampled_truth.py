"""Answers of kernels are judged by a product that is written out here, and a wrong one has no speed."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.benchmarks.frame import WrongAnswerError
from tests.benchmarks.sampled_truth import Truth, true_bm25, true_cosine, true_scores
from tests.benchmarks.timed_call import Arrays, Lists
from tests.interactions import random_interactions
from tests.reference import reference_rows

DATA = random_interactions(3, n_users=60, n_items=40, n_pairs=700)
ROWS = reference_rows(
    DATA.item_ptr, DATA.item_users, None, DATA.user_ptr, DATA.user_items, None, neighbours=DATA.n_items
)
ARRAYS = Arrays(
    *(DATA.user_ptr, DATA.user_items.view(np.int32), DATA.item_ptr, DATA.item_users.view(np.int32)),
    *(ROWS[0], ROWS[1].view(np.int32), ROWS[2]),
)


def dense() -> NDArray[np.float64]:
    """All interactions as ones in a whole matrix."""
    matrix = np.zeros(ARRAYS.shape)
    matrix[np.repeat(np.arange(DATA.n_users), np.diff(DATA.user_ptr)), DATA.user_items] = 1
    return matrix


def test_cosines_are_those_of_the_definition() -> None:
    """Of each pair of items, without the item itself."""
    matrix, truth = dense(), true_cosine(ARRAYS, 5)
    norms = np.linalg.norm(matrix, axis=0)
    cosines = matrix.T @ matrix / np.outer(norms, norms)
    np.fill_diagonal(cosines, 0)
    assert np.array_equal(truth.rows, np.arange(40))
    assert np.allclose(truth.values, cosines, rtol=1e-6, atol=0)


def test_bm25_is_that_of_the_definition() -> None:
    """Written out for each user and item."""
    matrix, truth = dense(), true_bm25(ARRAYS, 5)
    of_items, of_users = matrix.sum(axis=0), matrix.sum(axis=1)
    weights = np.zeros_like(matrix)
    for user, item in np.argwhere(matrix):
        norm = 0.25 + 0.75 * of_items[item] / of_items.mean()
        weights[user, item] = 2.2 / (1.2 * norm + 1) * (math.log(40) - math.log(1 + of_users[user]))
    products = weights.T @ weights
    np.fill_diagonal(products, 0)
    assert np.allclose(truth.values, products, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("exclude_history", [True, False])
def test_scores_are_sums_of_similarities(exclude_history: bool) -> None:
    """Over what the user has had, with that among the candidates or without."""
    model = np.zeros((40, 40))
    model[np.repeat(np.arange(40), np.diff(ROWS[0])), ROWS[1]] = ROWS[2]
    matrix, truth = dense(), true_scores(ARRAYS, 5, exclude_history=exclude_history)
    scores = matrix @ model
    assert np.allclose(truth.values, np.where(matrix > 0, 0, scores) if exclude_history else scores, rtol=1e-6)


def right(truth: Truth) -> Lists:
    """An answer as it should be, worst first."""
    best = np.argsort(truth.values, axis=1, kind="stable")[:, -truth.length :]
    ptr = np.arange(len(best) + 1) * truth.length
    return Lists(ptr, best.ravel(), np.take_along_axis(truth.values, best, axis=1).ravel())


def too_large(answer: Lists) -> Lists:
    return answer._replace(values=answer.values + np.float32(3e-6))


def not_the_best(answer: Lists) -> Lists:
    """The worst of a row gives way to one that is no neighbour at all."""
    return answer._replace(values=np.where(np.arange(answer.values.size) == 10, 0, answer.values))


def of_another(answer: Lists) -> Lists:
    """The values are right, and stand by the wrong items."""
    return answer._replace(items=np.roll(answer.items, 1))


def twice(answer: Lists) -> Lists:
    items = answer.items.copy()
    items[1] = items[0]
    return answer._replace(items=items)


def too_short(answer: Lists) -> Lists:
    return answer.of(np.arange(answer.ptr.size - 2))


def test_a_right_answer_is_passed() -> None:
    """In whatever order, and filled up with what is no item."""
    truth = true_cosine(ARRAYS, 5)
    answer = right(truth)
    truth.judge(answer)
    rows = [np.append(answer.items[a:b], -1) for a, b in zip(answer.ptr[:-1], answer.ptr[1:], strict=True)]
    values = [np.append(answer.values[a:b], -1e38) for a, b in zip(answer.ptr[:-1], answer.ptr[1:], strict=True)]
    truth.judge(Lists(np.arange(len(rows) + 1) * 6, np.concatenate(rows), np.concatenate(values)))


@pytest.mark.parametrize("spoil", [too_large, not_the_best, of_another, twice, too_short])
def test_a_wrong_answer_is_not(spoil: Callable[[Lists], Lists]) -> None:
    """Whatever is wrong with it."""
    truth = true_cosine(ARRAYS, 5)
    with pytest.raises(WrongAnswerError):
        truth.judge(spoil(right(truth)))


def test_an_item_may_hold_the_place_of_one_of_its_neighbours() -> None:
    """Only where it is said that it does."""
    truth = true_cosine(ARRAYS, 5)
    answer = right(truth)
    items, values = answer.items.copy(), answer.values.copy()
    items[answer.ptr[:-1]], values[answer.ptr[:-1]] = truth.rows, 1
    held = answer._replace(items=items, values=values)
    truth.judge(held, holds_itself=True)
    with pytest.raises(WrongAnswerError):
        truth.judge(held)
