"""`reckoner status`: the system at a glance."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import connect, run_async
from reckoner.producer.cli.output import print_facts, print_json, print_line, print_table
from reckoner.producer.formats import format_count, format_duration, format_mebibytes, format_time

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner
    from reckoner.producer.client.status import Queue, Status
    from reckoner.shared.flows.heartbeats import LiveWorker

COLUMNS = ("worker", "last beat", "memory", "runs")


def status(as_json: AsJson = False) -> None:
    """Show workers, queue, flows, runs and generations.

    Many flows or lists are estimated from a random sample of a few hundred, so
    that the command stays fast.

    Example: reckoner status --json
    """
    from reckoner.shared.settings import load_settings
    from reckoner.shared.store.location import imported_last

    settings = load_settings()

    async def look() -> None:
        async with connect(settings) as reckoner:
            await _show(reckoner, imported_last(settings), as_json)

    run_async(look())


async def _show(reckoner: "OpenReckoner", imported: str | None, as_json: bool) -> None:
    now = await reckoner.operator.status()
    if as_json:
        from reckoner.producer.objects import status_object

        print_json(status_object(now, imported))
        return
    print_facts([*_facts(now), *_data(now, imported)])
    if now.workers:
        print_line("")
        print_table(COLUMNS, map(_row, now.workers), numbers=COLUMNS[1:3])


def _facts(now: "Status") -> Iterator[tuple[str, str]]:
    limit = f" of {format_mebibytes(now.redis_memory_max_bytes)}" if now.redis_memory_max_bytes else ""
    memory = "" if now.redis_memory_bytes is None else f", {format_mebibytes(now.redis_memory_bytes)}{limit} in use"
    yield "server", f"{now.server} {now.server_version or ''}".rstrip() + memory
    yield "workers", ", ".join([f"{len(now.workers):,}", *_releases(now.workers)])
    for each in now.silent:
        yield "silent", f"{each.worker}, for {format_duration(each.age_ms)}"
    for each in now.workers:
        if each.beat and each.beat.trouble:
            yield "trouble", f"{each.worker}: {each.beat.trouble}"
    for lane, queue in now.queues.items():
        yield f"{lane} lane", _queue(queue)
    states = ", ".join(f"{count:,} in {state}" for state, count in now.flows.items())
    yield "flows", _about(now, "flows") + states
    yield from _generations(now)
    if now.night:
        running = next((stage.name for stage in now.night.stages.values() if stage.outcome is None), "between stages")
        yield "night", f"{now.night.id}, of {now.night.date}: {running}"
    for run in now.runs:
        done = f"{run.blocks_done:,} of {format_count(run.run.blocks, 'block')} done"
        yield (
            "run",
            f"{run.run.id}, {done} in {format_duration(run.age_ms)}, {run.users_per_second:,.0f} users per second",
        )
    if now.events:
        yield "events", f"{now.events:,} kept until the data of all lists hold them"
    if now.hidden_items:
        yield "hidden", f"{format_count(now.hidden_items, 'item')}, see `reckoner hidden`"
    if now.stale_lists:
        yield "stale", f"{format_count(now.stale_lists, 'list')} to compute again"
    yield "dead letters", f"{now.dead:,}"
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(now.refused.items()))
    yield "refused", f"{sum(now.refused.values()):,}" + (f" ({kinds})" if kinds else "")


def _queue(queue: "Queue") -> str:
    counts = f"{format_count(queue.jobs, 'job')}, {queue.running:,} of them running"
    if queue.paused_ms is not None:
        return f"{counts}; paused for {format_duration(queue.paused_ms)}"
    if queue.oldest_ms is None:
        return counts
    return f"{counts}; the oldest waiting job is {format_duration(queue.oldest_ms)} old"


def _generations(now: "Status") -> Iterator[tuple[str, str]]:
    yield (
        "generation",
        _generation(now, now.generation) if now.generation else "none yet: build a model with `reckoner fit`",
    )
    live = now.records.get(now.generation or "")
    if live and live.options.recency:
        yield "recency", f"{live.options.recency:g}"
    for damage in now.damage:
        yield "damage", damage
    if now.previous:
        yield "previous", _generation(now, now.previous)
    if now.newest and now.newest != now.generation:
        yield "newest", _generation(now, now.newest)
    others = {name: count for name, count in now.results.items() if name not in now.records}
    if others:
        held = _about_lists(now, sum(others.values()))
        yield "others", f"{held} of {format_count(len(others), 'earlier generation')}"


def _data(now: "Status", imported: str | None) -> Iterator[tuple[str, str]]:
    record = now.records.get(now.generation or "")
    if record and imported not in (None, record.snapshot):
        from reckoner.producer.client.answers import describe_outdated_model

        yield "data", f"snapshot {imported} is current; {describe_outdated_model(record.snapshot)}"


def _generation(now: "Status", name: str) -> str:
    record = now.records.get(name)
    held = _held(now, name)
    barred = "; rolled back: only `reckoner promote` makes it live" if name in now.barred else ""
    if record is None:
        return f"{name} (its record is missing); {held}{barred}"
    return f"{name}, made {format_time(record.made_ms)}, {held} for {format_count(record.users, 'user')}{barred}"


def _held(now: "Status", name: str) -> str:
    whole, found = now.holdings.get(name), now.results.get(name, 0)
    if whole is None:
        return _about_lists(now, found)
    if whole.until_ms > now.now_ms:
        return f"all {format_count(whole.lists, 'list')}"
    return f"{_about(now, 'results')}{found:,} of {format_count(whole.lists, 'list')} (the others have expired)"


def _about_lists(now: "Status", count: int) -> str:
    return _about(now, "results") + format_count(count, "list")


def _about(now: "Status", counts: str) -> str:
    return "about " if counts in now.estimated else ""


def _releases(workers: "list[LiveWorker]") -> Iterator[str]:
    names = sorted({each.beat.version if each.beat else "" for each in workers})
    if names:
        yield f"release {' and '.join(name or 'unknown' for name in names)}"


def _row(worker: "LiveWorker") -> tuple[str, ...]:
    age = f"{format_duration(worker.age_ms)} ago"
    if worker.beat is None:
        return worker.worker, age, "", "unreadable heartbeat"
    return worker.worker, age, f"{worker.beat.memory_bytes / 2**20:,.0f} MiB", _running(worker)


def _running(worker: "LiveWorker") -> str:
    """The longest-running job, without its number and round, and the number of others."""
    jobs = sorted(worker.running_ms.items(), key=lambda job: -job[1])
    if worker.beat and worker.beat.draining:
        return f"draining, {format_count(len(jobs), 'job')} left"
    if not jobs:
        return "nothing"
    (name, ms), *others = jobs
    kind, _, rest = name.partition(":")
    longest = f"{kind} {rest.partition(':')[0]} {format_duration(ms)}"
    return f"{longest}, {len(others)} more" if others else longest
