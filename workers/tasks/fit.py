"""The fit: the split, chunk and reduce tasks of a model build."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError, FlowFailedError, WireError
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.serving.generations import generation_id
from reckoner.shared.store.model_config import ModelConfig, config_of, model_id
from reckoner.shared.store.models import open_model, write_model
from reckoner.shared.store.protocol import Store
from reckoner.shared.wire.codecs import Codec
from reckoner.shared.wire.shapes import SPEC, FitSpec, Part, Plan, Record
from reckoner.shared.wire.shapes import Partial as StoredPartial
from reckoner.workers.engine.lease import Lease
from reckoner.workers.runtime.model_kinds import kind_of
from reckoner.workers.runtime.runtime import Runtime
from reckoner.workers.tasks.describing import describe

if TYPE_CHECKING:
    from reckoner.workers.runtime.building import Matrix, Tile

log = structlog.get_logger()

BYTES_PER_MB = 1_000_000


class PartBody(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The stored `Tile` of one chunk task, deleted after the reduce."""

    # Part of the name: two fits never share a part, since one that makes no generation deletes its own.
    owner: bytes
    owners: memoryview
    """uint32, the item of each list."""
    counts: memoryview
    """uint32, the length of each list."""
    items: memoryview
    """uint32, the lists, concatenated."""
    values: memoryview
    """float32, the similarities of `items`."""


PART: Codec[PartBody] = Codec(PartBody)


async def plan_fit(runtime: Runtime, flow: Flow, spec: FitSpec) -> Plan:
    """The row ranges of a fit's chunk tasks, and its popular items; none if the model is already published.

    The cost of rows is only estimated, since all workers wait for this plan.

    Raises:
        FlowFailedError: it asks for a recency, and the snapshot has no times.
    """
    if spec.recency and (await runtime.snapshot(spec.snapshot)).user_times is None:
        raise FlowFailedError(f"a recency of {spec.recency:g} needs times, and snapshot {spec.snapshot} has none")
    asked_s = max(await runtime.now_ms() - flow.created_ms, 0) / 1000
    if await _is_published(runtime, model_id(spec.snapshot, config_of(spec)), asked_s):
        return Plan([0])
    snapshot, config = await runtime.snapshot(spec.snapshot), config_of(spec)
    kind, settings = kind_of(config), runtime.settings
    await runtime.load(kind.load_planning)
    plan = partial(kind.plan, snapshot, config, settings.tasks_per_job, settings.tile_mb * BYTES_PER_MB)
    return await runtime.in_thread(plan)


async def build_part(runtime: Runtime, spec: FitSpec, first: int, last: int, popular: int) -> Part:
    """Build the tile of the rows first..last-1, and put it into the store."""
    snapshot, config = await runtime.snapshot(spec.snapshot), config_of(spec)
    kind = kind_of(config)
    await runtime.load(kind.kernels_for(snapshot, popular))
    await runtime.lay_out(snapshot, config, popular)

    # Fetched inside the thread: a waiting task must not hold a layout in memory.
    def build(stop: NDArray[np.uint8]) -> "Tile | None":
        counting = runtime.layouts.counting(snapshot, config, popular, stop)
        if counting is None:
            return None
        return kind.build_part(counting, config, first, last, runtime.settings.tile_mb * BYTES_PER_MB, stop)

    try:
        tile = await runtime.kernel("batch", build)
    finally:
        runtime.layouts.release_counting_later()
    await runtime.require_current(snapshot, closely=True)
    return Part(await runtime.in_store(lambda: runtime.store.put_part(_body(spec, tile))))


async def join_fit(
    runtime: Runtime, flow: Flow, spec: FitSpec, stored: Sequence[StoredPartial], lease: Lease
) -> tuple[list[int], bytes]:
    """Join the parts, publish the model, and create its generation, unless only the model is wanted.

    Returns:
        The indices of missing or damaged parts; if there are any, nothing is published.
        The fit's answer: the generation, empty without one.
    """
    config = config_of(spec)
    names = [part.name for part in stored if isinstance(part, Part)]
    if names:
        snapshot, kind = await runtime.snapshot(spec.snapshot), kind_of(config)
        await runtime.load(kind.kernels_for(snapshot, 0))
        reading = (runtime.in_store(partial(_read_part, runtime.store, name)) for name in names)
        parts = await asyncio.gather(*reading)
        tiles = [part for part in parts if part is not None]
        if len(tiles) < len(parts):
            return [index for index, part in enumerate(parts) if part is None], b""
        matrix = await runtime.kernel("batch", lambda stop: kind.join(tiles, snapshot.n_items, config, stop))
        await runtime.in_store(lambda: _publish(runtime.store, spec.snapshot, config, matrix))
    if spec.only_model:
        log.info("model built", model=model_id(spec.snapshot, config), snapshot=spec.snapshot)
        return [], b""
    generation = await _adopt(runtime, flow, spec, model_id(spec.snapshot, config), lease)
    return [], generation.encode()


async def _is_published(runtime: Runtime, model: str, asked_s: float) -> bool:
    """Whether the store has an intact model, verified in the last `asked_s` seconds. A damaged one is quarantined.

    Raises:
        NotNowError: the verification takes long; the task is retried.
    """
    fingerprint = await runtime.in_store(lambda: runtime.store.fingerprint("models", model))
    try:
        # Renew it first: an old unreferenced model could be deleted before its record is written.
        await runtime.in_store(lambda: runtime.store.renew("models", model))
        await runtime.verify_model(model, asked_s)
    except ArtifactMissingError:
        return False
    except ArtifactDamagedError as damage:
        log.warning("damaged model rebuild started", model=model, reason=str(damage))
        await runtime.in_store(partial(runtime.artifact_opener.quarantine, "models", model, fingerprint, str(damage)))
        return False
    return True


def _body(spec: FitSpec, tile: "Tile") -> bytes:
    # Views, since a copy of all lists takes as long as joining them.
    return PART.encode(PartBody(SPEC.encode(spec), *(array.view(np.uint8).data for array in tile)))


def _read_part(store: Store, name: str) -> "Tile | None":
    from reckoner.workers.runtime.building import Tile

    try:
        body = PART.decode(store.get_part(name))
    except (ArtifactMissingError, ArtifactDamagedError, WireError):
        return None

    # Kernels take aligned arrays only.
    def array(data: memoryview, kind: type[np.generic]) -> NDArray[Any]:
        return np.require(np.frombuffer(data, kind), requirements="A")

    return Tile(
        array(body.owners, np.uint32),
        array(body.counts, np.uint32),
        array(body.items, np.uint32),
        array(body.values, np.float32),
    )


def _publish(store: Store, snapshot_id: str, config: ModelConfig, matrix: "Matrix") -> None:
    with store.scratch() as scratch:
        directory = scratch / "model"
        directory.mkdir()
        published = write_model(
            directory,
            snapshot_id=snapshot_id,
            config=config,
            row_ptr=matrix.row_ptr,
            row_items=matrix.row_items,
            row_values=matrix.row_values,
        )
        store.publish("models", published, directory)


async def _adopt(runtime: Runtime, flow: Flow, spec: FitSpec, model: str, lease: Lease) -> str:
    snapshot, options = await runtime.snapshot(spec.snapshot), spec.options
    generation = generation_id(model, options, spec.spare)
    # Unverified: it only plans runs, and workers verify the model before they use it.
    built = await runtime.in_store(lambda: open_model(runtime.store.fetch("models", model)))
    now_ms = await runtime.now_ms()
    popular = await runtime.in_thread(lambda: snapshot.popular(options.list_length + spec.spare, now_ms).tolist())
    record = Record(
        format=2,
        generation=generation,
        model=model,
        snapshot=spec.snapshot,
        options=options,
        made_ms=int(time.time() * 1000),
        users=snapshot.n_users,
        popular=[snapshot.items[item] for item in popular],
        additions=await runtime.in_thread(lambda: built.additions_of_all(snapshot)),
        mark=snapshot.mark or msgspec.UNSET,
        spare=spec.spare or msgspec.UNSET,
    )
    await describe(runtime, snapshot, record.places, now_ms)
    before = await runtime.results.generations.current()
    if await runtime.results.generations.adopt(flow.id, flow.round, record, lease=lease):
        log.info("model fitted", model=model, snapshot=spec.snapshot, generation=generation)
        if await runtime.results.generations.current() != before:
            log.info("generation went live", now=generation, before=before)
    return generation
