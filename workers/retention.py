"""Deletes what nothing refers to: snapshots, models and parts that no generation, fit or current pointer names."""

from collections.abc import Iterator
from functools import partial

import structlog

from shared.errors import WireError
from shared.model_config import model_id
from shared.redis.scripts import ask
from shared.store import EntryKind, Store
from shared.wire import RECORD, FitSpec
from workers.runtime import Runtime
from workers.tasks.fit import config_of

log = structlog.get_logger()

GRACE_S = 86_400.0
KINDS: tuple[EntryKind, ...] = ("snapshots", "models", "parts")


async def delete_unreferred(runtime: Runtime) -> None:
    """Delete the artifacts older than a day that nothing refers to.

    A fit that takes up an old model renews its age before it refers to it, and the store looks at the age again when it
    deletes: so one reading of the references, which looks at all keys, is enough for all of them.
    """
    old = await runtime.in_thread(lambda: list(_old_entries(runtime.store)))
    referred = await _referred(runtime) if old else set()
    for kind, entry in old:
        if entry not in referred:
            await runtime.in_thread(partial(runtime.store.delete, kind, entry, idle_s=GRACE_S))
            log.info("deleted what nothing refers to", kind=kind, id=entry)


def _old_entries(store: Store) -> Iterator[tuple[EntryKind, str]]:
    for kind in KINDS:
        for entry in store.entries(kind):
            if entry.age_s > GRACE_S:
                yield kind, entry.id


async def _referred(runtime: Runtime) -> set[str]:
    """The ids of all artifacts that something refers to."""
    current = await runtime.in_thread(runtime.store.current_snapshot)
    referred = {current} if current else set()
    async for key in runtime.redis.scan_iter(match=runtime.keys.record("*"), count=1000):
        data = await ask(runtime.redis, "GET", key)
        try:
            record = RECORD.decode(data or b"")
        except WireError:
            continue
        referred |= {record.model, record.snapshot}
    async for key in runtime.redis.scan_iter(match=runtime.keys.join_fit("*"), count=1000):
        flow_id = await ask(runtime.redis, "GET", key)
        flow = await runtime.flows.load(flow_id.decode()) if flow_id else None
        if flow and isinstance(flow.spec, FitSpec):
            referred |= {flow.spec.snapshot, model_id(flow.spec.snapshot, config_of(flow.spec))}
    return referred
