"""Deletes what nothing refers to: snapshots, models and parts that no pointer, unfinished flow or unfinished run names.

What refers to an artifact is read where it stands: the generations of the pointers, and of the flows and runs among the
live ones, lead to their records, and a record names a model and a snapshot. A record that nothing of these names is no
reference, though it lives on for a while. A generation that may hold lists needs its snapshot until they are deleted.

To read the references of a million flows takes half a minute: no task does it, but one worker every ten minutes.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from functools import partial

import structlog

from reckoner.shared.errors import ForeignStoreError, WireError
from reckoner.shared.periodic import run_periodically
from reckoner.shared.redis.refusals import is_wrong_type
from reckoner.shared.redis.scripts import SLICE, call
from reckoner.shared.serving.generations import decode_generation_lists
from reckoner.shared.store.model_config import config_of, model_id
from reckoner.shared.store.ownership import claim_store
from reckoner.shared.store.protocol import EntryKind, Store
from reckoner.shared.wire.shapes import RECORD, SPEC, BlockSpec, FitSpec
from reckoner.workers.runtime.runtime import Runtime

log = structlog.get_logger()

GRACE_S = 86_400.0
LOOK_S = 10.0
EACH_MS = 600_000
KINDS: tuple[EntryKind, ...] = ("snapshots", "models", "parts")


async def keep_store_clean(runtime: Runtime) -> None:
    """Delete what nothing refers to, again and again, for ever."""
    await run_periodically("the deletion of unreferenced artifacts", LOOK_S, lambda: delete_under_lock(runtime))


async def delete_under_lock(runtime: Runtime) -> None:
    """Delete what nothing refers to, unless another worker does or has done so lately, or the store is away."""
    if runtime.store_watch.trouble:
        return
    if await call(runtime.redis, "lock", [runtime.keys.retention], [runtime.worker_id, EACH_MS]):
        await delete_unreferenced(runtime)


async def delete_unreferenced(runtime: Runtime) -> None:
    """Delete the artifacts older than a day that nothing refers to; none when a reference cannot be read.

    A fit that takes up an old model renews its age before it refers to it, and the store looks at the age again when it
    deletes: so one reading of the references is enough for all of them.
    """
    try:
        old = await runtime.in_store(lambda: list(_old_entries(runtime.store)))
        if not old:
            return
        await own(runtime.redis, runtime.settings, runtime.store, runtime.in_store)
        read_s, referred = time.time(), await referenced_artifacts(runtime)
        for kind, entry in old:
            if time.time() - read_s > GRACE_S:
                # This process stood still: what was taken up meanwhile may be as old again.
                return
            if entry not in referred:
                await runtime.in_store(partial(runtime.store.delete, kind, entry, idle_s=GRACE_S))
                log.info("unreferenced artifact deleted", kind=kind, id=entry)
    except ForeignStoreError as error:
        log.warning("cleanup skipped", reason=str(error))
    except WireError as error:
        log.warning("cleanup skipped", reason=str(error))


def _old_entries(store: Store) -> Iterator[tuple[EntryKind, str]]:
    for kind in KINDS:
        for entry in store.entries(kind):
            if entry.age_s > GRACE_S:
                yield kind, entry.id


async def referenced_artifacts(runtime: Runtime) -> set[str]:
    """The ids of all artifacts that something refers to.

    Raises:
        WireError: a reference cannot be read, or leads nowhere.
    """
    current = await runtime.in_store(runtime.store.current_snapshot)
    # The live first and the pointers then: what a run or fit names that ends meanwhile is named by a pointer by then.
    generations, referred = await live_references(runtime)
    referred |= {current} if current else set()
    referred |= {
        decode_generation_lists(data).snapshot for data in (await runtime.results.generations.lists()).values()
    }
    pointers = await _read(runtime, [("GET", pointer) for pointer in runtime.keys.pointers])
    generations |= {value.decode(errors="replace") for value in pointers if value}
    for data in await _read(runtime, [("GET", runtime.keys.record(name)) for name in sorted(generations)]):
        record = RECORD.decode(data or b"")
        referred |= {record.model, record.snapshot}
    return referred


async def live_references(runtime: Runtime) -> tuple[set[str], set[str]]:
    """The generations and the artifacts that unfinished flows and runs name, read a slice at a time.

    Raises:
        WireError: what one of them names cannot be read.
    """
    generations, artifacts = set[str](), set[str]()
    # The clicks behind the others: what is raised meanwhile becomes one of them.
    for live in reversed(runtime.keys.all_live):
        cursor = -1
        while cursor:
            began = time.monotonic()
            cursor, members = await runtime.redis.zscan(live, max(cursor, 0), count=SLICE)
            bound, named = await _named_by(runtime, [member for member, _ in members])
            generations |= bound
            artifacts |= named
            # Half of the server's time is everybody else's.
            await asyncio.sleep(time.monotonic() - began)
    return generations, artifacts


async def _named_by(runtime: Runtime, live: Sequence[bytes]) -> tuple[set[str], set[str]]:
    """The generations and the artifacts that live flows and runs name; one that has ended meanwhile may name none."""
    keys, generations, artifacts = runtime.keys, set[str](), set[str]()
    members = [member.decode(errors="replace").partition(":") for member in live]
    places = [keys.run(name) if kind == "run" else keys.flow(name) for kind, _, name in members]
    for data in await _read(runtime, [("HGET", place, "spec") for place in places]):
        if data is None:
            continue
        spec = SPEC.decode(data)
        if isinstance(spec, FitSpec):
            artifacts |= {spec.snapshot, model_id(spec.snapshot, config_of(spec))}
        else:
            generations.add(spec.generation)
        if isinstance(spec, BlockSpec) and spec.since:
            generations.add(spec.since)
    return generations, artifacts


async def _read(runtime: Runtime, commands: Sequence[tuple[str, ...]]) -> list[bytes | None]:
    """The answers of many commands in one round trip.

    Raises:
        WireError: one met a key of another type.
    """
    async with runtime.redis.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)
        answers = await pipe.execute(raise_on_error=False)
    for (_, key, *_), answer in zip(commands, answers, strict=True):
        if isinstance(answer, Exception):
            if not is_wrong_type(answer):
                raise answer
            raise WireError(f"The key {key} holds another type.") from answer
    return answers
