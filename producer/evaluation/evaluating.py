"""Evaluates candidates: splits the interactions, has the workers fit and score, and compares the lists."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from redis.exceptions import RedisError

from reckoner.producer.client.status import now_ms
from reckoner.producer.evaluation.candidates import Candidate
from reckoner.producer.evaluation.comparing import POPULARITY, Fold, Row, compare, judge
from reckoner.producer.evaluation.metrics import popular_lists
from reckoner.producer.evaluation.splits import Interactions, Protocol, Split, hold_out, interactions_of
from reckoner.producer.evaluation.store_jobs import Progress
from reckoner.producer.evaluation.training_part import training_part
from reckoner.shared.errors import StoreError, UsageError
from reckoner.shared.ids import fresh_id
from reckoner.shared.serving.evaluations import Evaluation
from reckoner.shared.serving.history import ENTRY, Entry, History, entry_file
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.snapshots import KIND, open_snapshot

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner


class Took(NamedTuple):
    """The seconds of a candidate's fit and scoring on the workers, with the time in the queue; means over folds."""

    fit_s: float
    score_s: float


class Evaluated(NamedTuple):
    """An evaluation with what it was made of."""

    evaluation: Evaluation
    split: Split
    """The split of the first fold."""
    rows: Sequence[Row]
    """The lists of the first fold."""
    took: Mapping[str, Took]
    """By the candidates' names."""


async def evaluate(
    reckoner: "OpenReckoner",
    store: Store,
    snapshot_id: str,
    protocol: Protocol,
    candidates: Mapping[Candidate, bool],
    progress: Progress,
) -> Evaluated:
    """Evaluate candidates, each with whether it is the live one, and popularity on a split of a snapshot.

    The evaluation is kept in the history.

    Raises:
        UsageError: the split is impossible, nobody is tested, or an evaluation of the same split is under way.
        FlowFailedError: a job failed or was cancelled.
        RedisUnavailableError: Redis was away for longer than a minute.
        StoreError: the store cannot be written.
    """
    started_ms = await now_ms(reckoner.redis)
    data = interactions_of(await asyncio.to_thread(lambda: open_snapshot(store.fetch(KIND, snapshot_id))))
    folds, took = list[Fold](), {candidate.name: Took(0.0, 0.0) for candidate in candidates}
    # The last one has the smallest training part: if that is too small, it is said before anything is fitted.
    for fold in reversed(range(protocol.folds)):
        progress("Splitting the interactions", "", 0, None)
        split = await asyncio.to_thread(split_to_test, data, protocol, fold)
        rows = list[Row]()
        if candidates:
            async with training_part(split, reckoner, store) as part:
                for candidate, is_live in candidates.items():
                    scored, before = await part.score(candidate, progress), took[candidate.name]
                    rows.append(Row(candidate.name, candidate.config.facts(), scored.recency, scored.lists, is_live))
                    took[candidate.name] = Took(
                        before.fit_s + scored.fit_ms / 1000 / protocol.folds,
                        before.score_s + scored.score_ms / 1000 / protocol.folds,
                    )
        progress("Ranking by popularity", "", 0, None)
        popular = await asyncio.to_thread(popular_lists, split.training, split.test.users)
        rows.append(Row(POPULARITY, None, 0.0, popular))
        folds.insert(0, await asyncio.to_thread(judge, split, rows))
    progress("Comparing the lists", "", 0, None)
    evaluation = await asyncio.to_thread(compare, snapshot_id, protocol, folds)
    await _remember(reckoner, store, evaluation, started_ms)
    return Evaluated(evaluation, split, folds[0].rows, took)


async def _remember(reckoner: "OpenReckoner", store: Store, evaluation: Evaluation, started_ms: int) -> None:
    """Keep an evaluation in the history, where the gate of a night finds it. A failure is harmless."""
    with suppress(RedisError, StoreError):
        entry = Entry(
            id=fresh_id(),
            kind="evaluation",
            outcome="done",
            started_ms=started_ms,
            ended_ms=await now_ms(reckoner.redis),
            starter="command",
            snapshot=evaluation.snapshot,
            figures=msgspec.to_builtins(evaluation),
        )
        await History(reckoner.redis, reckoner.keys).remember(entry)
        await asyncio.to_thread(store.keep_history, entry_file(entry), ENTRY.encode(entry))


def split_to_test(data: Interactions, protocol: Protocol, fold: int = 0) -> Split:
    """Split interactions; see `hold_out`.

    Raises:
        UsageError: the split is impossible, or nobody is tested.
    """
    split = hold_out(data, protocol, fold)
    if not split.test.users.size:
        raise UsageError(
            "Nobody is tested: no user with a history has a test interaction with an item of the training part. Change "
            "the split."
        )
    return split
