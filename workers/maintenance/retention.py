"""Garbage collection of the store: deletes snapshots, models and parts that are unreferenced and a day old.

Pointers, unfinished flows and unfinished runs name generations; a generation's record names a model and a snapshot. A
record alone is no reference. A generation with lists needs its snapshot until they are deleted.

Reading the references of a million flows takes half a minute, so one worker does it every ten minutes.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from functools import partial

import structlog

from reckoner.shared.errors import ForeignStoreError, WireError
from reckoner.shared.periodic import run_periodically
from reckoner.shared.redis.refusals import is_wrong_type
from reckoner.shared.redis.scripts import call
from reckoner.shared.redis.scripts.constants import SLICE
from reckoner.shared.serving.generations import decode_generation_lists
from reckoner.shared.store.model_config import config_of, model_id
from reckoner.shared.store.ownership import claim_store
from reckoner.shared.store.protocol import GRACE_S, EntryKind, Store
from reckoner.shared.wire.shapes import RECORD, SPEC, BlockSpec, EvaluationSpec, FitSpec
from reckoner.workers.runtime.runtime import Runtime

log = structlog.get_logger()

POLL_S = 10.0
EACH_MS = 600_000
LAYOUTS_S = 600.0
KINDS: tuple[EntryKind, ...] = ("snapshots", "models", "parts")


async def keep_store_clean(runtime: Runtime) -> None:
    """Delete unreferenced artifacts, for ever."""
    await run_periodically("deletion of unreferenced artifacts", POLL_S, lambda: delete_under_lock(runtime))


async def keep_layouts_clean(runtime: Runtime) -> None:
    """Remove this host's layouts of deleted models and those that no process uses, for ever."""
    await run_periodically("removal of unused layouts", LAYOUTS_S, runtime.remove_unused_layouts)


async def delete_under_lock(runtime: Runtime) -> None:
    """Delete unreferenced artifacts, unless a worker did so recently or the store is unavailable."""
    if runtime.store_watch.trouble:
        return
    if await call(runtime.redis, "lock", [runtime.keys.retention], [runtime.worker_id, EACH_MS]):
        await delete_unreferenced(runtime)


async def delete_unreferenced(runtime: Runtime) -> None:
    """Delete unreferenced artifacts older than a day; none if a reference cannot be read.

    A fit renews an old model before it references it, and the store checks the age again on deletion. So references are
    read only once.
    """
    try:
        old = await runtime.in_store(lambda: list(_old_entries(runtime.store)))
        if not old:
            return
        await claim_store(runtime.redis, runtime.settings, runtime.store, runtime.in_store)
        read_s, referenced = time.time(), await referenced_artifacts(runtime)
        for kind, entry in old:
            if time.time() - read_s > GRACE_S:
                # This process was frozen, so the references are outdated.
                return
            if entry not in referenced:
                await runtime.in_store(partial(runtime.store.delete, kind, entry, idle_s=GRACE_S))
                log.info("unreferenced artifact deleted", kind=kind, id=entry)
    except ForeignStoreError as error:
        log.warning("artifact deletion skipped", reason=str(error))
    except WireError as error:
        log.warning("artifact deletion skipped", reason=str(error))


def _old_entries(store: Store) -> Iterator[tuple[EntryKind, str]]:
    for kind in KINDS:
        for entry in store.entries(kind):
            if entry.age_s > GRACE_S:
                yield kind, entry.id


async def referenced_artifacts(runtime: Runtime) -> set[str]:
    """The ids of all referenced artifacts.

    Raises:
        WireError: a reference is unreadable or dangling.
    """
    current = await runtime.in_store(runtime.store.current_snapshot)
    # Pointers last: if a run or fit ends meanwhile, a pointer names its generation by then.
    generations, referenced = await live_references(runtime)
    referenced |= {current} if current else set()
    referenced |= {
        decode_generation_lists(data).snapshot for data in (await runtime.results.generations.lists()).values()
    }
    pointers = await _read(runtime, [("GET", pointer) for pointer in runtime.keys.pointers])
    generations |= {value.decode(errors="replace") for value in pointers if value}
    for data in await _read(runtime, [("GET", runtime.keys.record(name)) for name in sorted(generations)]):
        record = RECORD.decode(data or b"")
        referenced |= {record.model, record.snapshot}
    return referenced


async def live_references(runtime: Runtime) -> tuple[set[str], set[str]]:
    """The generations and artifacts that unfinished flows and runs name, read in slices.

    Raises:
        WireError: one of them is unreadable.
    """
    generations, artifacts = set[str](), set[str]()
    # Clicks last: a flow that is raised meanwhile moves there.
    for live in reversed(runtime.keys.all_live):
        cursor = -1
        while cursor:
            began = time.monotonic()
            cursor, members = await runtime.redis.zscan(live, max(cursor, 0), count=SLICE)
            bound, named = await _named_by(runtime, [member for member, _ in members])
            generations |= bound
            artifacts |= named
            # Leave half of the server's time to others.
            await asyncio.sleep(time.monotonic() - began)
    return generations, artifacts


async def _named_by(runtime: Runtime, live: Sequence[bytes]) -> tuple[set[str], set[str]]:
    """The generations and artifacts that these flows and runs name."""
    keys, generations, artifacts = runtime.keys, set[str](), set[str]()
    members = [member.decode(errors="replace").partition(":") for member in live]
    places = [keys.run(name) if kind == "run" else keys.flow(name) for kind, _, name in members]
    for data in await _read(runtime, [("HGET", place, "spec") for place in places]):
        if data is None:
            continue
        spec = SPEC.decode(data)
        if isinstance(spec, FitSpec):
            artifacts |= {spec.snapshot, model_id(spec.snapshot, config_of(spec))}
        elif isinstance(spec, EvaluationSpec):
            artifacts |= {spec.snapshot, spec.model, spec.users}
        else:
            generations.add(spec.generation)
        if isinstance(spec, BlockSpec) and spec.since:
            generations.add(spec.since)
    return generations, artifacts


async def _read(runtime: Runtime, commands: Sequence[tuple[str, ...]]) -> list[bytes | None]:
    """The answers of many commands, in one round trip.

    Raises:
        WireError: a key has another type.
    """
    async with runtime.redis.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)
        answers = await pipe.execute(raise_on_error=False)
    for (_, key, *_), answer in zip(commands, answers, strict=True):
        if isinstance(answer, Exception):
            if not is_wrong_type(answer):
                raise answer
            raise WireError(f"The key {key} has the wrong type.") from answer
    return answers
