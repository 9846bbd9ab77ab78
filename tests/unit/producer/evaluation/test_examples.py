"""Example users: ten of the tested, their last items, and the hits of each list."""

from pathlib import Path

import numpy as np

from reckoner.producer.evaluation.comparing import Row
from reckoner.producer.evaluation.examples import Place, examples_of
from reckoner.producer.evaluation.metrics import popular_lists
from reckoner.producer.evaluation.splits import Protocol, hold_out, interactions_of
from reckoner.shared.store.snapshots import open_snapshot, write_snapshot


def test_examples_show_history_test_part_and_hits(tmp_path: Path) -> None:
    """Items by their titles, and by their ids where there is none; the newest of a history first."""
    users, items = np.nonzero(np.random.default_rng(2).random((15, 30)) < 0.5)
    times = np.random.default_rng(3).permutation(users.size).astype(np.int64)
    ids = [f"i{number:02}" for number in range(30)]
    titles = ["" if number % 3 == 0 else f"Title {number}" for number in range(30)]
    write_snapshot(
        tmp_path, user_ids=[f"u{number:02}" for number in range(15)], item_ids=ids, users=users, items=items,
        times=times, titles=titles,
    )  # fmt: skip
    snapshot = open_snapshot(tmp_path)
    split = hold_out(interactions_of(snapshot), Protocol(split="last", share=0.4))
    rows = [Row("popularity", None, 0.0, popular_lists(split.training, split.test.users))]
    examples = examples_of(split, rows, snapshot)
    assert len({example.user for example in examples}) == 10
    assert [example.user for example in examples] == sorted(example.user for example in examples)
    assert examples == examples_of(split, rows, snapshot)
    label = {number: titles[number] or ids[number] for number in range(30)}
    for example in examples:
        own = [number for number in range(users.size) if users[number] == int(example.user[1:])]
        newest = sorted(own, key=lambda number: -times[number])
        held, kept = newest[: example.test_size], newest[example.test_size :]
        assert example.history == [label[items[number]] for number in kept[:10]]
        assert example.history_size == len(kept)
        assert sorted(example.test) == sorted(
            label[items[number]] for number in sorted(held, key=lambda n: items[n])[:10]
        )
        hits = {label[items[number]] for number in held}
        for place in example.lists["popularity"]:
            assert place == Place(place.item, place.item in hits)
            assert place.item not in {label[items[number]] for number in kept}
