"""The checks of the system's state in Redis: workers, queue, generations, failures."""

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import takewhile

from reckoner.producer.client.status import now_ms, read_queues
from reckoner.producer.doctor.findings import DAY_MS, OLD_MS, Check, CheckError, NotCheckedError, format_age
from reckoner.producer.doctor.server import MAX_SKEW_S, Site
from reckoner.shared.errors import StoreError
from reckoner.shared.flows.heartbeats import Heartbeats, LiveWorker
from reckoner.shared.nightly import last_due, parse_nightly
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.history import Entry
from reckoner.shared.settings import Settings
from reckoner.shared.store.location import store_of
from reckoner.shared.version import installed_version
from reckoner.shared.wire.shapes import Record

# A job that waits this long beside an idle worker is stuck.
STUCK_AFTER_MS = 300_000
# Workers check once a minute whether the night is due.
STARTS_WITHIN = timedelta(minutes=3)
# A worker looks at its store every two seconds, and its heartbeat is up to a second old.
PROPAGATION_S, LOOK_S = 4.0, 0.25
# Users whose lists are looked up.
USERS_DRAWN = 200


async def live_workers(site: Site) -> list[LiveWorker]:
    """The workers with a heartbeat within their lease."""
    return await Heartbeats(site.redis, site.keys).alive()


async def workers(site: Site) -> str:
    """A worker is running; none is silent, none has lost the store, and their clocks are right."""
    found = await Heartbeats(site.redis, site.keys).recent()
    if not found:
        raise CheckError("No worker is running. Start one with `reckoner worker`.")
    if silent := [each for each in found if each.silent]:
        raise CheckError(f"{silent[0].worker} has been silent for {silent[0].age_ms / 1000:.0f} s. Check its log.")
    if wrong := [each for each in found if abs(each.skew_ms) > MAX_SKEW_S * 1000]:
        raise CheckError(
            f"The clocks of {wrong[0].worker} and the server differ by {abs(wrong[0].skew_ms) / 1000:,.1f} s. Use NTP "
            "on both."
        )
    if troubled := [(each.worker, each.beat.trouble) for each in found if each.beat and each.beat.trouble]:
        worker, trouble = troubled[0]
        raise CheckError(f"{worker} claims no jobs: {trouble} It continues when the store is back.")
    return f"{len(found):,} running, with current heartbeats."


async def releases(site: Site) -> str:
    """Workers and command line have the same release."""
    found, ours = await live_workers(site), installed_version()
    if not found:
        return "No worker is running."
    names = {each.beat.version if each.beat else "another" for each in found}
    if names != {ours}:
        listed = " and ".join(sorted(name or "unknown" for name in names))
        raise CheckError(
            f"The workers have release {listed}, this command line {ours or 'unknown'}. Restart them with one release."
        )
    return f"{ours or 'unknown'} everywhere."


async def stores(site: Site) -> str:
    """All workers see the same current snapshot, within seconds after an import."""
    late = time.monotonic() + PROPAGATION_S
    while len(set((seen := await _seen_snapshots(site)).values())) > 1:
        if time.monotonic() > late:
            common = Counter(seen.values()).most_common(1)[0][0]
            odd = "; ".join(f"{worker} sees {_named(seen[worker])}" for worker in seen if seen[worker] != common)
            raise CheckError(
                f"The workers' stores differ: {odd}, the others see {_named(common)}. Set one RECKONER_STORE_URL, and "
                "check the mounts."
            )
        await asyncio.sleep(LOOK_S)
    return f"All see {_named(next(iter(seen.values())))}." if seen else "No worker says what it sees."


async def _seen_snapshots(site: Site) -> dict[str, str]:
    """The current snapshot of each worker's store, by worker; those that do not know it are left out."""
    beats = [each.beat for each in await live_workers(site) if each.beat]
    return {beat.worker: beat.snapshot for beat in beats if beat.snapshot is not None}


def _named(snapshot: str) -> str:
    return f"snapshot {snapshot}" if snapshot else "no snapshot"


async def queue(site: Site) -> str:
    """No job waits for long in a paused lane or beside an idle worker."""
    lanes = await read_queues(site.redis, site.keys)
    found = await live_workers(site)
    for lane, queue in lanes.items():
        if queue.waiting and (queue.paused_ms or 0) > STUCK_AFTER_MS:
            raise CheckError(
                f"The {lane} lane has been paused for {(queue.paused_ms or 0) / 60_000:,.0f} min, and jobs wait in it. "
                f"Resume it with `reckoner resume {lane}`."
            )
    oldest_ms = max((queue.oldest_ms or 0 for queue in lanes.values() if queue.paused_ms is None), default=0)
    idle = [each for each in found if each.beat and not each.beat.jobs]
    if oldest_ms > STUCK_AFTER_MS and idle:
        raise CheckError(
            f"A job has waited for {oldest_ms / 60_000:,.0f} min, but {idle[0].worker} is idle. Check its log and "
            "restart it."
        )
    lines = "; ".join(
        f"{lane} lane: {queue.waiting:,} waiting, {queue.running:,} running"
        + ("" if queue.paused_ms is None else ", paused")
        for lane, queue in lanes.items()
    )
    return lines + "."


async def generation(site: Site) -> str:
    """There is a generation for readers, and one for the next run."""
    current = (await site.results.generations.follow(site.keys.current)).require()
    newest = await site.results.generations.follow(site.keys.newest)
    if newest.record is None:
        raise CheckError(f"{newest.damage or f'There is no {site.keys.newest}'}. Run `reckoner fit`.")
    barred = await site.results.generations.barred()
    kept_out = f" Rolled back, and not made current by any run: {', '.join(barred)}." if barred else ""
    return f"{current.generation} is current.{kept_out}"


async def lists(site: Site) -> str:
    """Some of the users of the live snapshot, sampled evenly, have lists."""
    record = (await site.results.generations.follow(site.keys.current)).record
    if record is None:
        return "There is no generation yet."
    users = await asyncio.to_thread(_some_users, site.settings, record.snapshot)
    async with site.redis.pipeline(transaction=False) as pipe:
        for user in users:
            pipe.exists(site.keys.result(record.generation, user))
        held = sum(await pipe.execute())
    if users and not held:
        raise CheckError(
            f"None of {len(users):,} sampled users has a list in generation {record.generation}. Run `reckoner batch`."
        )
    return f"{held:,} of {len(users):,} sampled users have one."


def _some_users(settings: Settings, snapshot: str) -> list[str]:
    """Users of a snapshot, sampled evenly.

    Raises:
        NotCheckedError: this host cannot open the snapshot.
    """
    try:
        from reckoner.shared.store.snapshots import open_snapshot

        users = open_snapshot(store_of(settings, create=False).fetch("snapshots", snapshot)).users
    except ModuleNotFoundError as error:
        raise NotCheckedError(
            f"Not checked: reading snapshots needs {error.name}, which is not installed here."
        ) from error
    except StoreError as error:
        raise NotCheckedError("Not checked: the store with the users' ids cannot be read here.") from error
    return [users[index] for index in range(0, len(users), max(1, len(users) // USERS_DRAWN))]


async def freshness(site: Site) -> str:
    """The live lists are of the last night, and do not expire soon."""
    record = (await site.results.generations.follow(site.keys.current)).record
    if record is None:
        return "There is no generation yet."
    now, name = await now_ms(site.redis), record.generation
    held = (await site.results.generations.holdings()).get(name)
    if held is not None and held.until_ms <= now:
        raise CheckError(f"The lists of generation {name} have expired. Run `reckoner night`.")
    if held is not None and held.until_ms - now < min(DAY_MS, site.settings.result_ttl_s * 1000 / 2):
        left = format_age(held.until_ms - now)
        raise CheckError(f"The lists of generation {name} expire in {left}. Run `reckoner night`.")
    age_ms = now - await _fresh_ms(site, record)
    if site.settings.nightly and age_ms > OLD_MS:
        raise CheckError(f"The live lists are {format_age(age_ms)} old. See how nights ended with `reckoner runs`.")
    return f"The live lists are {format_age(age_ms)} old."


async def _fresh_ms(site: Site, record: Record) -> int:
    """When the lists of a generation were computed or renewed; if unknown, when its model was fitted."""
    ended = (
        entry.ended_ms
        for entry in await site.history.newest()
        if entry.generation == record.generation and entry.outcome in ("live", "unchanged", "passed")
    )
    return max(ended, default=record.made_ms)


async def night(site: Site) -> str:
    """The last night began, and no unacknowledged one has failed or been refused since the last live one."""
    now = datetime.fromtimestamp(await now_ms(site.redis) / 1000, UTC)
    nightly, ended = parse_nightly(site.settings.nightly), await _nights(site)
    under_way = await site.nights.under_way()
    if nightly is not None:
        due = last_due(now, nightly)
        date = due.date.isoformat()
        if await site.nights.of_date(date) is None and now - due.moment >= STARTS_WITHIN:
            raise CheckError(f"The night of {date} has not begun. Set RECKONER_NIGHTLY for the workers too.")
    # A later night that had nothing to do, or was dry, has not shown that the trouble is over.
    unknown = (each for each in takewhile(lambda each: each.outcome != "live", ended) if not each.acknowledged)
    if bad := next((each for each in unknown if each.outcome in ("refused", "failed")), None):
        of_date = f" of {bad.date}" if bad.date else ""
        raise CheckError(
            f"The night{of_date} ended as {bad.outcome}. See `reckoner runs show {bad.id}`. Then acknowledge it with "
            f"`reckoner runs acknowledge {bad.id}`."
        )
    if under_way and (running := await site.nights.load(under_way)):
        return f"The night of {running.date} is in progress."
    if (begun := await site.nights.last()) and begun[1] != under_way and all(each.id != begun[1] for each in ended):
        raise NotCheckedError(f"The night of {begun[0]} began; how it ended is unknown.")
    return f"The night of {ended[0].date} ended as {ended[0].outcome}." if ended else "None has ended yet."


async def passed_night(site: Site) -> datetime | None:
    """When the last night was due; None without RECKONER_NIGHTLY, and while a night is under way."""
    nightly = parse_nightly(site.settings.nightly)
    if nightly is None or await site.nights.under_way():
        return None
    return last_due(datetime.fromtimestamp(await now_ms(site.redis) / 1000, UTC), nightly).moment


async def source_checked(site: Site) -> datetime | None:
    """When a night last imported its source, or saw that it has not changed; None if unknown."""
    for entry in await _nights(site):
        for stage in entry.stages:
            if stage["name"] == "import" and stage["outcome"] in ("done", "unchanged"):
                return datetime.fromtimestamp((stage["ended_ms"] or 0) / 1000, UTC)
    return None


async def _nights(site: Site) -> list[Entry]:
    """The ended nights, newest first."""
    return [entry for entry in await site.history.newest() if entry.kind == "night"]


async def dead_letters(site: Site) -> str:
    """There are no dead letters."""
    count = int(await ask(site.redis, "XLEN", site.keys.dead))
    if count:
        raise CheckError(f"There are {count:,}. See `reckoner dead list`, then retry or drop them.")
    return "None."


SYSTEM_CHECKS: dict[str, Check[Site]] = {
    "workers": workers,
    "release": releases,
    "stores": stores,
    "queue": queue,
    "generation": generation,
    "lists": lists,
    "freshness": freshness,
    "night": night,
    "dead letters": dead_letters,
}
