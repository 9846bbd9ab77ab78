"""What is compared: generations and models as people name them, and the lists that they give to users."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, get_args

import numpy as np
from msgspec import UNSET

from reckoner.producer.evaluation.candidates import parse_candidate
from reckoner.producer.evaluation.store_jobs import Progress, StoreJobs, locked
from reckoner.shared.cancelling import run_to_its_end
from reckoner.shared.defaults import MAX_LIST_LENGTH
from reckoner.shared.errors import ArtifactMissingError, NothingImportedError, StoreError, UsageError
from reckoner.shared.ids import fresh_id, require_id
from reckoner.shared.serving.generations import as_id
from reckoner.shared.store.evaluation_parts import get_lists
from reckoner.shared.store.fit_options import recency_of
from reckoner.shared.store.model_config import ModelConfig, Similarity, fit_spec, model_id
from reckoner.shared.store.models import describe
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.snapshots import KIND, Snapshot, open_snapshot
from reckoner.shared.wire.shapes import EvaluationSpec, Record

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner

POINTERS = ("live", "previous", "newest")


class Place(NamedTuple):
    """An item of a list, and the history item with the largest share of its score."""

    item: str
    because: str


@dataclass(frozen=True)
class Side:
    """A generation, or a model with a recency."""

    name: str
    snapshot: Snapshot
    model: str
    recency: float
    longest: int
    """The length of its lists."""
    generation: str | None = None
    config: ModelConfig | None = None
    """The configuration of a model that has to be fitted."""


async def find_side(reckoner: "OpenReckoner", store: Store, text: str) -> Side:
    """Find what a text names: live, previous, newest, a generation's or a model's id, or a model as in `slim l2=10`.

    Raises:
        UsageError: it names nothing, there is no previous generation, or the model is invalid.
        NothingFittedError: there is no live generation yet.
        NothingImportedError: the model would be fitted on the current snapshot, and there is none.
        StoreError: the store does not hold its snapshot, or cannot be read.
    """
    require_id("generation or model", text)
    generations, keys = reckoner.results.generations, reckoner.keys
    pointers = dict(zip(POINTERS, keys.pointers, strict=True))
    if text == "live":
        (await generations.follow(keys.current)).require()
    if text.partition(" ")[0] in get_args(Similarity):
        return await asyncio.to_thread(_of_text, store, text)
    named = {name: (await generations.follow(key)).named for name, key in pointers.items()}
    generation = named.get(text) or as_id(text.encode())
    record = await generations.record(generation) if generation else None
    if record is not None:
        known_as = next((name for name in POINTERS[:2] if named[name] == record.generation), "generation")
        return await asyncio.to_thread(_of_record, store, record, known_as)
    if text in POINTERS:
        raise UsageError(f"There is no {text} generation.")
    side = await asyncio.to_thread(_of_model, store, text)
    if side is None:
        raise UsageError(
            f"{text!r} is no generation and no model. Give live, previous, newest, the id of one, or a model as in "
            "'slim l2=10'."
        )
    return side


def _of_text(store: Store, text: str) -> Side:
    candidate, snapshot = parse_candidate(text, "MODEL"), store.current_snapshot()
    if snapshot is None:
        raise NothingImportedError
    recency = recency_of(store, snapshot, candidate.recency)
    model = model_id(snapshot, candidate.config)
    opened = open_snapshot(store.fetch(KIND, snapshot))
    return Side(candidate.name, opened, model, recency, MAX_LIST_LENGTH, config=candidate.config)


def _of_record(store: Store, record: Record, known_as: str) -> Side:
    name = f"{known_as} {record.generation}"
    snapshot, options = open_snapshot(store.fetch(KIND, record.snapshot)), record.options
    return Side(name, snapshot, record.model, options.recency or 0.0, options.list_length, record.generation)


def _of_model(store: Store, text: str) -> Side | None:
    try:
        snapshot, config = describe(store.fetch("models", text))
    except ArtifactMissingError:
        return None
    recency = recency_of(store, snapshot)
    opened = open_snapshot(store.fetch(KIND, snapshot))
    return Side(f"{config.label}, model {text}", opened, text, recency, MAX_LIST_LENGTH)


async def lists_of(
    reckoner: "OpenReckoner", store: Store, side: Side, users: Sequence[str], n: int, progress: Progress
) -> dict[str, list[Place] | None]:
    """The first `n` places of each user's list, None for a user who is not in its data.

    Cached lists are read; missing ones are scored by the workers, which leaves nothing behind.

    Raises:
        FlowFailedError: a job failed or was cancelled.
        RedisUnavailableError: Redis was away for longer than a minute.
        UsageError: another comparison fits the same model.
        StoreError: the store cannot be written.
    """
    found = dict[str, list[Place]]()
    if side.generation is not None:
        results = await reckoner.results.read(side.generation, users)
        found = {
            user: [Place(place.item, place.because) for place in result.items[:n]]
            for user, result in zip(users, results, strict=True)
            if result is not None
        }
    missing = {user: side.snapshot.users.find(user) for user in users if user not in found}
    known = {user: index for user, index in missing.items() if index is not None}
    if known:
        found |= await _scored(reckoner, store, side, known, n, progress)
    return {user: found.get(user) for user in users}


async def _scored(
    reckoner: "OpenReckoner", store: Store, side: Side, users: dict[str, int], n: int, progress: Progress
) -> dict[str, list[Place]]:
    """The lists of users of the side's snapshot, given with their indices."""
    ordered = sorted(users, key=users.__getitem__)
    jobs, items = StoreJobs(reckoner, store), side.snapshot.items
    async with _fitted(reckoner, store, side, side.config, progress) if side.config else nullcontext():
        try:
            part = await jobs.put_users(fresh_id(), np.array([users[user] for user in ordered], np.uint32))
            spec = EvaluationSpec(side.snapshot.id, side.model, part, n, side.recency or UNSET, with_reasons=True)
            flow = await jobs.done(reckoner.asking.create_evaluation(spec), f"Scoring {side.name}", progress)
            lists = await asyncio.to_thread(get_lists, store, flow.answer.decode())
        finally:
            await run_to_its_end(jobs.clean_up())
    pairs = zip(lists.items.tolist(), lists.reasons.tolist(), strict=True)
    places = iter([Place(items[item], items[reason]) for item, reason in pairs])
    return {user: list(islice(places, count)) for user, count in zip(ordered, lists.counts.tolist(), strict=True)}


@asynccontextmanager
async def _fitted(
    reckoner: "OpenReckoner", store: Store, side: Side, config: ModelConfig, progress: Progress
) -> AsyncIterator[None]:
    """Fit the side's model for the block. Afterwards it is deleted, unless it was there before or somebody uses it."""
    async with locked(reckoner, side.model, "Another comparison with the same model is under way."):
        was_there = await asyncio.to_thread(_holds, store, side.model)
        jobs, fitted_s = StoreJobs(reckoner, store), None

        async def delete() -> None:
            await jobs.clean_up()
            # A fit of the same model renews its age before it uses it.
            idle_s = 0.0 if fitted_s is None else time.monotonic() - fitted_s
            if not was_there and not await _is_used(reckoner, side.model):
                await asyncio.to_thread(lambda: store.delete("models", side.model, idle_s=idle_s))

        try:
            spec = fit_spec(side.snapshot.id, config, side.longest, only_model=True)
            await jobs.done(reckoner.asking.create_model(spec), f"Fitting {side.name}", progress)
            fitted_s = time.monotonic()
            yield
        finally:
            await run_to_its_end(delete())


def _holds(store: Store, model: str) -> bool:
    try:
        store.fetch("models", model)
    except ArtifactMissingError:
        return False
    except StoreError:
        # What is damaged is not this comparison's.
        return True
    return True


async def _is_used(reckoner: "OpenReckoner", model: str) -> bool:
    """Whether a generation is of the model."""
    generations = reckoner.results.generations
    names = {name.decode(errors="replace") for name in await generations.lists()}
    names |= {name for pointer in reckoner.keys.pointers if (name := await generations.pointer(pointer))}
    records = [await generations.record(name) for name in sorted(names)]
    return any(record is not None and record.model == model for record in records)
