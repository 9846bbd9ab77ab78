"""What the doctor looks at of this system in Redis: its workers, its queue, its generations, what failed."""

import asyncio
from datetime import UTC, datetime, timedelta

from reckoner.producer.client.status import now_ms, read_queues
from reckoner.producer.doctor.findings import Check, NotSeenError, WrongError
from reckoner.producer.doctor.server import MAX_SKEW_S, Site
from reckoner.shared.errors import StoreError
from reckoner.shared.flows.heartbeats import Heartbeats, LiveWorker
from reckoner.shared.nightly import last_due, parse_nightly
from reckoner.shared.redis.scripts import ask
from reckoner.shared.store.location import store_directory
from reckoner.shared.version import installed_version

# A job that waits this long while a worker has nothing to do is not being claimed.
STUCK_AFTER_MS = 300_000
# The workers' clocks tick once a minute.
STARTS_WITHIN = timedelta(minutes=3)
# Of how many users the lists are looked for.
USERS_DRAWN = 200


async def heard(site: Site) -> list[LiveWorker]:
    """The workers that have been heard of within their lease."""
    return await Heartbeats(site.redis, site.keys).alive()


async def workers(site: Site) -> str:
    """At least one works, none has fallen silent or lost sight of the store, and their clocks are right."""
    found = await Heartbeats(site.redis, site.keys).recent()
    if not found:
        raise WrongError("No worker is running: start some with `reckoner worker`.")
    if silent := [each for each in found if each.silent]:
        raise WrongError(f"{silent[0].worker} has been silent for {silent[0].age_ms / 1000:.0f} s: look at its log.")
    if wrong := [each for each in found if abs(each.skew_ms) > MAX_SKEW_S * 1000]:
        raise WrongError(
            f"The clock of {wrong[0].worker} and the server's are {abs(wrong[0].skew_ms) / 1000:,.1f} s apart: keep "
            "both right by NTP."
        )
    if troubled := [(each.worker, each.beat.trouble) for each in found if each.beat and each.beat.trouble]:
        worker, trouble = troubled[0]
        raise WrongError(f"{worker} claims nothing: {trouble} It goes on by itself when the store is back.")
    return f"{len(found):,} running, each heard of within its lease."


async def releases(site: Site) -> str:
    """Workers and command line are of one release."""
    found, ours = await heard(site), installed_version()
    if not found:
        return "No worker that could be of another release than this one."
    names = {each.beat.version if each.beat else "another" for each in found}
    if names != {ours}:
        told = " and ".join(sorted(name or "unknown" for name in names))
        raise WrongError(
            f"The workers are of release {told}, and this is {ours or 'unknown'}: restart the workers from one release."
        )
    return f"{ours or 'unknown'}, the workers' and this one's."


async def queue(site: Site) -> str:
    """Nothing waits for long in a paused lane, or beside a worker that has nothing to do."""
    lanes = await read_queues(site.redis, site.keys)
    found = await heard(site)
    for lane, queue in lanes.items():
        if queue.waiting and (queue.paused_ms or 0) > STUCK_AFTER_MS:
            raise WrongError(
                f"The {lane} lane has been paused for {(queue.paused_ms or 0) / 60_000:,.0f} min, and jobs wait in it: "
                f"let it go on with `reckoner resume {lane}`."
            )
    oldest_ms = max((queue.oldest_ms or 0 for queue in lanes.values() if queue.paused_ms is None), default=0)
    idle = [each for each in found if each.beat and not each.beat.jobs]
    if oldest_ms > STUCK_AFTER_MS and idle:
        raise WrongError(
            f"A job has waited for {oldest_ms / 60_000:,.0f} min, and {idle[0].worker} has nothing to do: look at its "
            "log, and restart it."
        )
    told = "; ".join(
        f"{lane} lane: {queue.waiting:,} waiting, {queue.running:,} running"
        + ("" if queue.paused_ms is None else ", paused")
        for lane, queue in lanes.items()
    )
    return told + "."


async def generation(site: Site) -> str:
    """There is one to read, and one for the next run."""
    current = (await site.results.generations.follow(site.keys.current)).require()
    newest = await site.results.generations.follow(site.keys.newest)
    if newest.record is None:
        raise WrongError(f"{newest.damage or f'There is no {site.keys.newest}'}: build a model with `reckoner fit`.")
    return f"{current.generation} is current."


async def lists(site: Site) -> str:
    """Some of the users of the live generation's snapshot, drawn evenly, have lists."""
    record = (await site.results.generations.follow(site.keys.current)).record
    if record is None:
        return "There is no generation that could have some."
    users = await asyncio.to_thread(_some_users, site.settings.store_location, record.snapshot)
    async with site.redis.pipeline(transaction=False) as pipe:
        for user in users:
            pipe.exists(site.keys.result(record.generation, user))
        held = sum(await pipe.execute())
    if users and not held:
        raise WrongError(
            f"None of {len(users):,} users that were looked at has a list in generation {record.generation}: compute "
            "everybody's with `reckoner batch`."
        )
    return f"{held:,} of {len(users):,} users that were looked at have one."


def _some_users(store_url: str, snapshot: str) -> list[str]:
    """Users of a snapshot, from its beginning to its end.

    Raises:
        NotSeenError: this host does not have the snapshot, or not what opens it.
    """
    try:
        from reckoner.shared.store.snapshots import open_snapshot

        directory = store_directory(store_url) / "snapshots" / snapshot
        users = open_snapshot(directory).users
    except ModuleNotFoundError as error:
        raise NotSeenError(f"Not looked at: {error.name}, which opens snapshots, is not installed here.") from error
    except StoreError as error:
        raise NotSeenError("Not looked at: the users' ids are in the store, which cannot be read here.") from error
    return [users[index] for index in range(0, len(users), max(1, len(users) // USERS_DRAWN))]


async def night(site: Site) -> str:
    """The last night's run was started, and went well as far as is known."""
    now = datetime.fromtimestamp(await now_ms(site.redis) / 1000, UTC)
    nightly = parse_nightly(site.settings.nightly)
    if nightly is None:
        # The workers may know of nights that this command line was not told of.
        date, run_id = await site.runs.last_night() or ("", None)
        if run_id is None:
            return "None is set, and none was run."
    else:
        due = last_due(now, nightly)
        date, run_id = due.date.isoformat(), await site.runs.night(due.date.isoformat())
        if run_id is None and now - due.moment < STARTS_WITHIN:
            return f"The run of {date} is about to start."
        if run_id is None:
            raise WrongError(f"The run of {date} was not started: set RECKONER_NIGHTLY for the workers too.")
    return await _ended_well(site, date, run_id)


async def _ended_well(site: Site, date: str, run_id: str) -> str:
    run = await site.runs.load(run_id)
    if run is None:
        raise NotSeenError(f"The run of {date} was started; how it ended is no longer known.")
    if run.state != "ended":
        return f"The run of {date} is under way."
    if run.outcome != "passed":
        raise WrongError(f"The run of {date} ended as {run.outcome}: see `reckoner job {run_id}`.")
    return f"The run of {date} passed."


async def dead_letters(site: Site) -> str:
    """Nothing failed that nobody has looked at."""
    count = int(await ask(site.redis, "XLEN", site.keys.dead))
    if count:
        raise WrongError(f"{count:,} lie there: look with `reckoner dead list`, then retry or drop them.")
    return "None."


SYSTEM_CHECKS: dict[str, Check[Site]] = {
    "workers": workers,
    "release": releases,
    "queue": queue,
    "generation": generation,
    "lists": lists,
    "night": night,
    "dead letters": dead_letters,
}
