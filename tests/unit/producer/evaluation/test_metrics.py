"""Metrics against trec_eval, the reference of the field, and against plain definitions."""

import math
import platform
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.producer.evaluation import metrics
from reckoner.producer.evaluation.splits import NEW, HeldOut, Interactions
from reckoner.shared.store.evaluation_parts import Lists
from reckoner.shared.store.identifiers import build

ITEMS = 60


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]]]:
    """The lists of some users, best first, and their test interactions, with ITEMS for a new item."""
    users = draw(st.integers(1, 6))
    listed = st.lists(st.integers(0, ITEMS - 1), unique=True, max_size=metrics.LENGTH)
    held = st.sets(st.integers(0, ITEMS), min_size=1, max_size=30).map(sorted)
    return [draw(listed) for _ in range(users)], [draw(held) for _ in range(users)]


def as_lists(lists: Sequence[Sequence[int]]) -> Lists:
    counts = np.array([len(found) for found in lists], np.uint32)
    return Lists(counts, np.array([item for found in lists for item in found], np.uint32))


def as_held_out(held: Sequence[Sequence[int]]) -> HeldOut:
    items = [NEW if item == ITEMS else item for found in held for item in found]
    ptr = np.cumsum([0, *map(len, held)], dtype=np.int64)
    return HeldOut(np.arange(len(held), dtype=np.uint32), ptr, np.array(items, np.uint32))


def interactions(pairs: Sequence[tuple[int, int]], n_items: int) -> Interactions:
    """Interactions of (user, item) pairs, of which each user and item has one."""
    pairs = sorted(set(pairs))
    users, items = (np.array(column, np.uint32) for column in zip(*pairs, strict=True))
    names = [build([f"{number:04}" for number in range(count)]) for count in (int(users.max()) + 1, n_items)]
    return Interactions(user_ids=names[0], item_ids=names[1], users=users, items=items, weights=None, times=None)


@pytest.mark.skipif(platform.machine() == "aarch64", reason="pytrec-eval-terrier has no wheels for it")
@given(cases())
def test_metrics_are_those_of_trec_eval(lists_and_held: tuple[list[list[int]], list[list[int]]]) -> None:
    """To 1e-9, on the same lists: nDCG@10, recall@20, hits among ten, and the reciprocal rank."""
    import pytrec_eval

    lists, held = lists_and_held
    wanted = {"ndcg_cut.10", "recall.20", "success.10", "recip_rank"}
    truth = {f"u{user}": {f"i{item}": 1 for item in items} for user, items in enumerate(held)}
    run = {
        f"u{user}": {f"i{item}": -float(place) for place, item in enumerate(found)} for user, found in enumerate(lists)
    }
    evaluated = pytrec_eval.RelevanceEvaluator(truth, wanted).evaluate(run)
    found = metrics.per_user(as_lists(lists), as_held_out(held), ITEMS)
    names = {
        metrics.NDCG: "ndcg_cut_10",
        metrics.RECALL: "recall_20",
        metrics.HIT: "success_10",
        metrics.MRR: "recip_rank",
    }
    for name, theirs in names.items():
        # trec_eval leaves out users with an empty list.
        expected = [evaluated.get(f"u{user}", {theirs: 0.0})[theirs] for user in range(len(held))]
        assert np.abs(found[name] - expected).max() <= 1e-9


@given(cases())
def test_metrics_per_user_follow_their_definitions(lists_and_held: tuple[list[list[int]], list[list[int]]]) -> None:
    """By the plain formulas, to 1e-12."""
    lists, held = lists_and_held
    found = metrics.per_user(as_lists(lists), as_held_out(held), ITEMS)
    for user, (listed, items) in enumerate(zip(lists, held, strict=True)):
        places = [place for place, item in enumerate(listed, 1) if item in items]
        gained = sum(1 / math.log2(place + 1) for place in places if place <= 10)
        best = sum(1 / math.log2(place + 1) for place in range(1, min(len(items), 10) + 1))
        assert found[metrics.NDCG][user] == pytest.approx(gained / best, abs=1e-12)
        assert found[metrics.RECALL][user] == pytest.approx(len(places) / len(items), abs=1e-12)
        assert found[metrics.HIT][user] == float(any(place <= 10 for place in places))
        assert found[metrics.MRR][user] == (1 / places[0] if places else 0.0)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 11)), min_size=1, max_size=60),
    st.lists(st.lists(st.integers(0, 11), unique=True), min_size=1, max_size=6),
)
def test_metrics_of_lists_follow_their_definitions(pairs: list[tuple[int, int]], lists: list[list[int]]) -> None:
    """Coverage, exposure, popularity, novelty and length of the first ten places."""
    pairs += [(user, user) for user in range(10)] + [(0, item) for item in range(12)]
    training = interactions(pairs, 12)
    users = Counter(item for _, item in set(pairs))
    ranks = {item: rank for rank, item in enumerate(sorted(range(12), key=lambda item: (-users[item], item)), 1)}
    shown = [item for found in lists for item in found[:10]]
    counts = [shown.count(item) for item in range(12)]
    pairwise = sum(abs(one - other) for one in counts for other in counts)
    found = metrics.of_lists(as_lists(lists), training)
    n_users = len({user for user, _ in pairs})
    assert found["coverage"] == len(set(shown)) / 12
    assert found["gini"] == pytest.approx(pairwise / (2 * 12 * sum(counts)) if shown else 0.0)
    assert found["short"] == sum(len(listed) < 10 for listed in lists) / len(lists)
    if shown:
        assert found["popularity_rank"] == pytest.approx(np.mean([ranks[item] for item in shown]))
        assert found["novelty"] == pytest.approx(np.mean([-math.log2(users[item] / n_users) for item in shown]))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 39)), min_size=1, max_size=250))
def test_popular_lists_leave_the_history_out(pairs: list[tuple[int, int]]) -> None:
    """Most users first, then the smaller index."""
    pairs += [(user, user) for user in range(10)] + [(0, item) for item in range(40)]
    training = interactions(pairs, 40)
    users = Counter(item for _, item in set(pairs))
    popular = sorted(range(40), key=lambda item: (-users[item], item))
    asked = np.array([0, 3, 9], np.uint32)
    lists = metrics.popular_lists(training, asked)
    found = [part.tolist() for part in np.split(lists.items, np.cumsum(lists.counts)[:-1])]
    assert found == [[item for item in popular if (user, item) not in set(pairs)][:20] for user in asked.tolist()]
    assert metrics.most_popular(training, 2).items.tolist() == popular[:20] * 2
