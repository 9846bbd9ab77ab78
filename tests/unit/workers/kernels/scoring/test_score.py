"""Tests of the kernel that scores candidates."""

from dataclasses import replace
from itertools import chain, pairwise
from threading import Timer
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from reckoner.shared.store.balance import balance
from reckoner.workers.kernels.scoring.candidates import lay_out
from reckoner.workers.kernels.scoring.merge import Partial, merge
from reckoner.workers.kernels.scoring.score import HEAD, STRIPES, LeftOut, score_users
from reckoner.workers.kernels.scoring.scratch import FEW_WORDS, ThreadScratch
from tests.building import Model, flag, same_bytes, score
from tests.interactions import Interactions, everything, from_pairs, random_interactions, small_interactions
from tests.reference import Entry, reference_lists, reference_rows

# The smallest number above zero that a score can be.
TINY = float(np.finfo(np.float32).smallest_subnormal)


def model_of(data: Interactions, *, neighbours: int) -> Model:
    return reference_rows(*data.arrays, neighbours=neighbours)


def model(rows: list[dict[int, float]]) -> Model:
    """A model written out: for each item, its neighbours and their values."""
    return (
        np.cumsum([0, *map(len, rows)], dtype=np.int64),
        np.array([item for row in rows for item in sorted(row)], np.uint32),
        np.array([row[item] for row in rows for item in sorted(row)], np.float32),
    )


def wide_model(seed: int, *, n_items: int, neighbours: int, values: int) -> Model:
    """Rows of random candidates, the small ones often, with so many different values."""
    rng = np.random.default_rng(seed)
    rows = [np.unique((n_items * rng.random(neighbours) ** 2).astype(np.uint32)) for _ in range(n_items)]
    row_items = np.concatenate(rows)
    row_values = (rng.integers(1, values + 1, row_items.size) / values).astype(np.float32)
    return np.cumsum([0, *map(len, rows)], dtype=np.int64), row_items, row_values


def expected_lists(
    rows: Model,
    data: Interactions,
    *,
    length: int,
    exclude_history: bool = True,
    left: LeftOut | None = None,
    hidden: NDArray[np.uint8] | None = None,
) -> list[list[Entry]]:
    histories = data.user_ptr, data.user_items, data.user_weights
    options: Any = {"exclude_history": exclude_history, "left": left, "hidden": hidden}
    return reference_lists(*rows, *histories, length=length, **options)


def mask(every: int, *, n_items: int = 5000) -> NDArray[np.uint8]:
    """Hides one of so many items."""
    hidden = np.zeros(n_items, np.uint8)
    hidden[::every] = 1
    return hidden


def left_of(seed: int, *, n_users: int, n_items: int, n_pairs: int) -> LeftOut:
    data = random_interactions(seed, n_users=n_users, n_items=n_items, n_pairs=n_pairs)
    return LeftOut(data.user_ptr, data.user_items)


def lists_of(partial: Partial) -> list[list[Entry]]:
    flat = [
        Entry(*entry) for entry in zip(partial.items.tolist(), partial.scores, partial.reasons.tolist(), strict=True)
    ]
    ends = np.cumsum(partial.counts)
    return [flat[end - count : end] for end, count in zip(ends, partial.counts, strict=True)]


def history(*items: int, n_items: int, weights: tuple[float, ...] = ()) -> Interactions:
    """One user who has had these items."""
    pairs = {(0, item): weight for item, weight in zip(items, weights or [1.0] * len(items), strict=True)}
    return from_pairs(pairs, n_users=1, n_items=n_items, weighted=bool(weights))


def test_a_checkerboard_recommends_the_one_item_that_is_missing() -> None:
    """Each is the only one of its colour that the user has not had; all similarities in a colour are 2 / 3."""
    pairs = {(user, item): 1.0 for user in range(8) for item in range(user % 2, 8, 2) if item != user}
    data = from_pairs(pairs, n_users=8, n_items=8)
    lists = lists_of(score(model_of(data, neighbours=8), data, length=5))
    firsts = [min(item for item in range(user % 2, 8, 2) if item != user) for user in range(8)]
    assert lists == [[Entry(user, np.float32(2 / 3), firsts[user])] for user in range(8)]


@given(
    data=small_interactions(),
    neighbours=st.integers(1, 10),
    length=st.integers(1, 12),
    exclude_history=st.booleans(),
    few_words=st.integers(0, 60) | st.just(FEW_WORDS),
)
def test_lists_are_the_reference_bit_for_bit(
    data: Interactions, neighbours: int, length: int, exclude_history: bool, few_words: int
) -> None:
    """Items, scores and reasons, weighted or not, also with lists longer than the catalogue; whichever way is taken."""
    rows = model_of(data, neighbours=neighbours)
    expected = expected_lists(rows, data, length=length, exclude_history=exclude_history)
    found = score(rows, data, length=length, exclude_history=exclude_history, few_words=few_words)
    assert lists_of(found) == expected


@given(data=small_interactions(), cuts=st.lists(st.integers(0, 10), max_size=4), length=st.integers(1, 12))
def test_chunks_cut_anywhere_merge_into_the_same_bytes(data: Interactions, cuts: list[int], length: int) -> None:
    """Also ranges without a candidate."""
    rows = model_of(data, neighbours=4)
    bounds = [0, *sorted(min(cut, data.n_items) for cut in cuts), data.n_items]
    partials = [score(rows, data, span, length=length) for span in pairwise(bounds)]
    assert same_bytes(merge(partials, length), score(rows, data, length=length))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("chunks", [1, 2, 5, 32, 300])
def test_any_number_of_chunks_gives_the_reference(chunks: int, weighted: bool) -> None:
    """Up to a chunk for each item."""
    data = random_interactions(3, n_users=80, n_items=300, n_pairs=3000, weighted=weighted)
    rows = model_of(data, neighbours=25)
    bounds = balance(np.bincount(rows[1], minlength=300), chunks).tolist()
    partials = [score(rows, data, span, length=20) for span in pairwise(bounds)]
    assert len(partials) == chunks
    assert lists_of(merge(partials, 20)) == expected_lists(rows, data, length=20)


@pytest.mark.parametrize("exclude_history", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("values", [3, 1 << 20])
def test_lists_of_thousands_of_candidates_are_the_reference(values: int, weighted: bool, exclude_history: bool) -> None:
    """More than the head, whose sums are always looked at, holds; with values that are often equal and with others."""
    rows = wide_model(1, n_items=5000, neighbours=40, values=values)
    data = random_interactions(2, n_users=60, n_items=5000, n_pairs=2000, weighted=weighted)
    assert np.unique(rows[1]).size > 2 * HEAD
    found = score(rows, data, length=30, exclude_history=exclude_history)
    assert lists_of(found) == expected_lists(rows, data, length=30, exclude_history=exclude_history)
    assert (np.bincount(found.items, minlength=5000)[np.argsort(-np.bincount(rows[1]))][HEAD:] > 0).any()


@pytest.mark.parametrize("exclude_history", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("values", [3, 1 << 20])
def test_histories_with_few_additions_have_the_reference(values: int, weighted: bool, exclude_history: bool) -> None:
    """Candidates of the head and of the tail, and users on both sides of the border, who share one scratch."""
    rows = wide_model(1, n_items=5000, neighbours=40, values=values)
    data = random_interactions(2, n_users=60, n_items=5000, n_pairs=1600, weighted=weighted)
    additions = [np.diff(rows[0])[data.user_items[a:b]].sum() for a, b in pairwise(data.user_ptr)]
    assert min(additions) < FEW_WORDS * 3 // 4 < FEW_WORDS * 4 // 3 < max(additions)
    found = score(rows, data, length=30, exclude_history=exclude_history)
    assert lists_of(found) == expected_lists(rows, data, length=30, exclude_history=exclude_history)
    assert same_bytes(found, score(rows, data, length=30, exclude_history=exclude_history, few_words=0))


def test_a_history_of_the_most_words_that_are_few_fits_the_scratch() -> None:
    """Full groups of the head hold the most entries in a word, each of another candidate."""
    rows = model([{item: item / 4096 for item in range(1, FEW_WORDS * 4 // 3 + 1)}, *({} for _ in range(HEAD))])
    data = history(0, n_items=int(HEAD) + 1)
    assert lists_of(score(rows, data, length=1000)) == expected_lists(rows, data, length=1000)


def test_a_threads_scratch_serves_any_range_and_is_left_zeroed() -> None:
    """Also by a block that was stopped, and after a larger range."""
    rows = wide_model(1, n_items=5000, neighbours=40, values=100)
    data, kept, largest = random_interactions(2, n_users=60, n_items=5000, n_pairs=2000), ThreadScratch(), None
    for first, last in ((0, 100), (0, 5000), (4000, 4500), (0, 5000)):
        candidates = lay_out(*rows, first, last, stop=flag())
        assert candidates is not None
        scratch = kept.room_for(candidates)
        histories, left = (data.user_ptr, data.user_items, None), LeftOut(data.user_ptr, data.user_items)
        assert score_users(candidates, *histories, 9, left=left, scratch=scratch, stop=flag(1)) is None
        masked = score_users(candidates, *histories, 9, left=left, hidden=mask(2), scratch=scratch, stop=flag())
        found = score_users(candidates, *histories, 9, left=left, scratch=scratch, stop=flag())
        assert masked is not None
        assert found is not None
        assert same_bytes(masked, score(rows, data, (first, last), length=9, hidden=mask(2)))
        assert same_bytes(found, score(rows, data, (first, last), length=9))
        assert not scratch.sums.any()
        assert not scratch.had.any()
        largest = largest or (scratch if last - first == 5000 else None)
        assert largest is None or scratch is largest


@pytest.mark.parametrize("length", [1, *(int(STRIPES) + more for more in (-1, 0, 1))])
def test_lists_of_any_length_are_the_reference(length: int) -> None:
    """As many as there are stripes, in which the head is looked at, or more; scores are often equal."""
    rows = wide_model(10, n_items=4000, neighbours=200, values=4)
    data = random_interactions(11, n_users=40, n_items=4000, n_pairs=3000)
    assert lists_of(score(rows, data, length=length)) == expected_lists(rows, data, length=length)


@pytest.mark.parametrize("length", [1, 20])
def test_a_range_without_candidates_has_empty_lists(length: int) -> None:
    """Wherever it lies."""
    data = random_interactions(12, n_users=30, n_items=50, n_pairs=300)
    rows = model_of(data, neighbours=10)
    for at in (0, 7, 50):
        found = score(rows, data, (at, at), length=length)
        assert (found.counts.tolist(), found.items.size) == ([0] * 30, 0)


@pytest.mark.parametrize("cuts", [(0, 5000), (0, 2047, 2048, 2049, 5000), (0, 64, 4999, 5000), (0, 2500, 2500, 5000)])
def test_thousands_of_candidates_may_be_cut_anywhere(cuts: tuple[int, ...]) -> None:
    """The head is another one in each chunk."""
    rows = wide_model(3, n_items=5000, neighbours=40, values=5)
    data = random_interactions(4, n_users=60, n_items=5000, n_pairs=2000)
    partials = [score(rows, data, span, length=300) for span in pairwise(cuts)]
    assert lists_of(merge(partials, 300)) == expected_lists(rows, data, length=300)


@pytest.mark.parametrize("weighted", [False, True])
def test_without_reasons_a_list_is_the_same_but_for_these(weighted: bool) -> None:
    """They are 0 then."""
    rows = wide_model(5, n_items=3000, neighbours=30, values=100)
    data = random_interactions(6, n_users=60, n_items=3000, n_pairs=2000, weighted=weighted)
    found, without = score(rows, data, length=20), score(rows, data, length=20, with_reasons=False)
    assert found.reasons.any()
    assert same_bytes(without, found._replace(reasons=np.zeros_like(found.reasons)))


@pytest.mark.parametrize("weights", [2, 1000])
@pytest.mark.parametrize("pairs", [300, 4000])
def test_a_reason_is_the_references_where_shares_are_often_equal(pairs: int, weights: int) -> None:
    """Few values: the search for the largest share must not end at the first that reaches it."""
    rows = wide_model(7, n_items=200, neighbours=60, values=4)
    data = random_interactions(8, n_users=40, n_items=200, n_pairs=pairs)
    drawn = np.random.default_rng(9).integers(1, weights + 1, data.user_items.size).astype(np.float32)
    data = replace(data, user_weights=drawn)
    assert lists_of(score(rows, data, length=50)) == expected_lists(rows, data, length=50)


@pytest.mark.parametrize("block", [1, 7, 80])
def test_blocks_of_any_size_give_the_same_lists(block: int) -> None:
    """What a user gets does not depend on who else is in the block."""
    data = random_interactions(4, n_users=80, n_items=100, n_pairs=2000, weighted=True)
    rows = model_of(data, neighbours=10)
    lists = [
        user_list
        for start in range(0, 80, block)
        for user_list in lists_of(score(rows, data, length=6, users=slice(start, start + block)))
    ]
    assert lists == lists_of(score(rows, data, length=6))


def test_a_score_is_the_weighted_mean_of_similarities() -> None:
    """(3 * 0.5 + 1 * 0.25) / 4, although only two of the three items in the history are similar."""
    rows = model([{3: 0.5}, {3: 0.25}, {}, {}])
    three = history(0, 1, 2, n_items=4, weights=(3.0, 1.0, 4.0))
    assert lists_of(score(rows, three, length=9)) == [[Entry(3, np.float32(1.75 / 8), 0)]]


def test_the_reason_is_the_largest_share_and_not_the_largest_similarity() -> None:
    """2 * 0.5 is more than 1 * 0.75."""
    rows = model([{2: 0.75}, {2: 0.5}, {}])
    assert lists_of(score(rows, history(0, 1, n_items=3, weights=(1.0, 2.0)), length=1))[0][0].reason == 1


def test_of_equal_shares_the_smaller_index_is_the_reason() -> None:
    """In whichever order the shares come."""
    assert lists_of(score(model([{2: 0.5}, {2: 0.5}, {}]), history(0, 1, n_items=3), length=1))[0][0].reason == 0


def test_of_equal_shares_the_smaller_index_is_the_reason_also_with_the_smaller_similarity() -> None:
    """2 * 0.5 is 1 * 1, and stands behind it in the order of similarities."""
    rows = model([{2: 0.5}, {2: 1.0}, {}])
    assert lists_of(score(rows, history(0, 1, n_items=3, weights=(2.0, 1.0)), length=1))[0][0].reason == 0


def test_of_equal_scores_the_smaller_index_stands_first() -> None:
    """Judged as float32: item 2 is ahead by 1e-12 in float64, and that does not count."""
    rows = model([{1: 0.5, 2: 0.5, 3: 0.5}, {}, {}, {}, {2: 1e-12}])
    best = score(rows, history(0, 4, n_items=5), length=2)
    assert best.items.tolist() == [1, 2]
    assert best.scores.tolist() == [0.25, 0.25]


def test_the_history_is_left_out_unless_it_is_asked_for() -> None:
    """A user may want what was had before."""
    rows, two = model([{1: 0.5, 2: 0.25}, {0: 0.5}, {}]), history(0, 1, n_items=3)
    assert score(rows, two, length=3).items.tolist() == [2]
    assert score(rows, two, length=3, exclude_history=False).items.tolist() == [0, 1, 2]


@given(
    data=small_interactions(),
    length=st.integers(1, 12),
    cuts=st.lists(st.integers(0, 10), max_size=4),
    few_words=st.sampled_from([0, 4, FEW_WORDS]),
    draw=st.data(),
)
def test_whatever_is_left_out_or_hidden_the_lists_are_the_reference(
    data: Interactions, length: int, cuts: list[int], few_words: int, draw: st.DataObject
) -> None:
    """For any cut, so that what is left out or hidden is often no candidate; whichever way is taken."""
    rows, items = model_of(data, neighbours=6), st.integers(0, data.n_items - 1)
    lists = draw.draw(st.lists(st.lists(items, unique=True), min_size=data.n_users, max_size=data.n_users))
    left = LeftOut(np.cumsum([0, *map(len, lists)]), np.array(list(chain(*lists)), np.uint32))
    bits = draw.draw(st.none() | st.lists(st.sampled_from([0, 1, 255]), min_size=data.n_items, max_size=data.n_items))
    hidden = None if bits is None else np.array(bits, np.uint8)
    bounds = [0, *sorted(min(cut, data.n_items) for cut in cuts), data.n_items]
    options: Any = {"length": length, "left": left, "hidden": hidden}
    parts = [score(rows, data, span, few_words=few_words, **options) for span in pairwise(bounds)]
    assert lists_of(merge(parts, length)) == expected_lists(rows, data, **options)


@pytest.mark.parametrize("few_words", [0, FEW_WORDS])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shown", [1.0, 0.9, 0.03, 0.002, 0.0])
def test_thousands_of_candidates_of_which_some_are_hidden_are_the_reference(
    shown: float, weighted: bool, few_words: int
) -> None:
    """From a few that are sold out to a filter that leaves fewer than a list holds, or none."""
    rows = wide_model(1, n_items=5000, neighbours=40, values=1 << 20)
    data = random_interactions(2, n_users=60, n_items=5000, n_pairs=2000, weighted=weighted)
    hidden = (np.random.default_rng(3).random(5000) >= shown).astype(np.uint8)
    options: Any = {"length": 30, "left": left_of(4, n_users=60, n_items=5000, n_pairs=20_000), "hidden": hidden}
    cuts = pairwise([0, 100, 2500, 2500, 5000])
    parts = [score(rows, data, span, few_words=few_words, **options) for span in cuts]
    assert lists_of(merge(parts, 30)) == expected_lists(rows, data, **options)
    assert same_bytes(merge(parts, 30), score(rows, data, **options))


@pytest.mark.parametrize("few_words", [0, FEW_WORDS])
def test_hidden_items_do_not_keep_worse_ones_out(few_words: int) -> None:
    """Every user's list without a mask is hidden, and with it most of what sets the floor."""
    rows = wide_model(1, n_items=5000, neighbours=40, values=1 << 20)
    data, hidden = random_interactions(2, n_users=60, n_items=5000, n_pairs=2000), np.zeros(5000, np.uint8)
    hidden[score(rows, data, length=60).items] = 1
    found = score(rows, data, length=60, hidden=hidden, few_words=few_words)
    assert lists_of(found) == expected_lists(rows, data, length=60, hidden=hidden)
    assert found.counts.min() == 60


def test_a_mask_takes_nothing_from_the_others() -> None:
    """They have the scores and reasons of a list without a mask, in the same order."""
    rows = wide_model(1, n_items=5000, neighbours=40, values=100)
    data = random_interactions(2, n_users=60, n_items=5000, n_pairs=2000, weighted=True)
    whole = lists_of(score(rows, data, length=5000))
    assert lists_of(score(rows, data, length=20, hidden=mask(3))) == [
        [entry for entry in entries if entry.item % 3][:20] for entries in whole
    ]


def test_what_is_left_out_need_not_be_of_the_history() -> None:
    """Nor is the history left out then: what was only viewed may be shown."""
    rows, two = model([{1: 0.5, 2: 0.25}, {0: 0.5}, {}]), history(0, 1, n_items=3)
    left = LeftOut(np.array([0, 2]), np.array([2, 0], np.uint32))
    assert score(rows, two, length=3, left=left).items.tolist() == [1]
    assert score(rows, two, (2, 3), length=3, left=left).items.tolist() == []
    nothing = LeftOut(np.array([0, 0]), np.array([], np.uint32))
    assert score(rows, two, length=3, left=nothing).items.tolist() == [0, 1, 2]


def test_a_mask_of_another_catalogue_is_refused() -> None:
    """It would be read beyond its end."""
    with pytest.raises(ValueError, match="a mask of 2 items is not one of 3"):
        score(model([{}, {}, {}]), history(0, n_items=3), length=1, hidden=np.zeros(2, np.uint8))


def test_an_empty_history_gives_an_empty_list() -> None:
    """And leaves the other users' lists alone."""
    data = from_pairs({(1, 0): 1.0}, n_users=3, n_items=2)
    assert lists_of(score(model([{1: 0.5}, {}]), data, length=2)) == [[], [Entry(1, np.float32(0.5), 0)], []]


def test_scores_that_round_to_zero_are_not_returned() -> None:
    """Only positive scores are, as they are stored."""
    assert score(model([{2: TINY}, {}, {}]), history(0, 1, n_items=3), length=2).items.size == 0


def test_of_scores_that_are_rounded_up_to_the_smallest_number_the_smaller_index_stands_first() -> None:
    """Item 3, in more rows, is met first with more than item 2 has; both are the smallest number that there is."""
    rows = model([{3: TINY}, {2: TINY, 3: TINY}, {}, {}, {3: TINY}])
    data = history(0, 1, 4, n_items=5, weights=(1.0, 3.0, 1.0))
    assert (
        lists_of(score(rows, data, length=1))
        == expected_lists(rows, data, length=1)
        == [[Entry(2, np.float32(TINY), 1)]]
    )


def test_read_only_arrays_are_taken() -> None:
    """Models and snapshots are memory-mapped and cannot be written."""
    data = random_interactions(12, n_users=10, n_items=10, n_pairs=50, weighted=True)
    rows = model_of(data, neighbours=3)
    expected = score(rows, data, length=4)
    for array in (*rows, *vars(data).values()):
        array.flags.writeable = False
    assert same_bytes(score(rows, data, length=4), expected)


def test_a_block_that_is_stopped_has_no_lists() -> None:
    """Also one that is stopped before it began."""
    one = history(0, n_items=2)
    candidates = lay_out(*model([{1: 0.5}, {}]), 0, 2, stop=flag())
    assert candidates is not None
    assert score_users(candidates, one.user_ptr, one.user_items, None, 5, left=None, stop=flag(1)) is None


def test_the_stop_flag_is_read_while_a_block_is_under_way() -> None:
    """Another thread sets it, in the middle of what would take seconds."""
    data, stop = everything(2000), flag()
    values = np.ones(data.user_items.size, np.float32)
    candidates = lay_out(data.user_ptr, data.user_items, values, 0, 2000, stop=stop)
    assert candidates is not None
    timer = Timer(0.1, stop.fill, [1])
    timer.start()
    partial = score_users(candidates, data.user_ptr, data.user_items, None, 10, left=None, stop=stop)
    timer.join()
    assert partial is None


def test_a_list_has_room_for_one_item_at_least() -> None:
    """A length below 1 is refused."""
    with pytest.raises(ValueError, match="0 items"):
        score(model([{}, {}]), history(0, n_items=2), length=0)


def test_weights_of_one_are_no_weights() -> None:
    """Both give the same bytes."""
    data = random_interactions(8, n_users=30, n_items=50, n_pairs=500)
    rows = model_of(data, neighbours=9)
    weighted = replace(data, user_weights=np.ones(data.user_items.size, np.float32))
    assert same_bytes(score(rows, weighted, length=7), score(rows, data, length=7))
