"""Tests of what rows cost."""

import numpy as np
from hypothesis import given

from tests.interactions import Interactions, small_interactions
from workers.kernels.work import row_work


@given(data=small_interactions())
def test_the_work_of_a_row_is_what_its_users_have_had(data: Interactions) -> None:
    """The history lengths of the item's users, summed."""
    lengths = np.diff(data.user_ptr)
    expected = [
        sum(int(lengths[user]) for user in data.item_users[data.item_ptr[i] : data.item_ptr[i + 1]])
        for i in range(data.n_items)
    ]
    assert row_work(data.item_ptr, data.item_users, data.user_ptr).tolist() == expected
