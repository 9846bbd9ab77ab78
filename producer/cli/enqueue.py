"""`reckoner enqueue`: requests users' lists."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from reckoner.producer.cli.arguments import AsJson, History, Places, Users, UsersFile, read_basket, read_users
from reckoner.producer.cli.edge import connect, run_async, say_if_cancelled
from reckoner.producer.cli.filters import Diversity, Exclude, MaxPerTag, Only, Without, read_filter, say_unknown_tags
from reckoner.producer.cli.lists import print_answers, print_basket
from reckoner.producer.cli.outages import warn_of_outages
from reckoner.producer.cli.output import print_result, progress_bar, say
from reckoner.producer.defaults import USERS_AT_ONCE
from reckoner.producer.formats import format_count

if TYPE_CHECKING:
    from pathlib import Path

    from reckoner.producer.client.answers import Enqueued
    from reckoner.producer.client.open import OpenReckoner
    from reckoner.shared.flows.flow_state import Flow
    from reckoner.shared.settings import Settings
    from reckoner.shared.wire.filters import Filter
    from reckoner.shared.wire.shapes import Record


def enqueue(
    users: Users = None,
    users_file: UsersFile = None,
    n: Places = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the lists and print them like `get`.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Recompute cached lists.")] = False,
    history: History = None,
    only: Only = None,
    without: Without = None,
    exclude: Exclude = None,
    max_per_tag: MaxPerTag = None,
    diversity: Diversity = None,
    as_json: AsJson = False,
) -> None:
    """Enqueue jobs that compute users' lists, or the list of a basket.

    Prints each user with the id of the job, or with `cached` if the list is already in the cache.

    With --wait, filters have the best computed of what passes, such as
    `reckoner enqueue 42 --wait --only shoes --exclude 55820 --diversity 0.3`.

    Example: reckoner enqueue 42 43 --wait
    """
    from reckoner.shared.errors import UsageError
    from reckoner.shared.settings import load_settings

    settings, passing = load_settings(), read_filter(only, without, exclude, max_per_tag, diversity)
    if passing is not None and not wait:
        raise UsageError("Filters apply to lists that are waited for. Add --wait.")
    if history is not None:
        _require_no_users(users, users_file, fresh)
        run_async(_ask_for_basket(settings, read_basket(history), n, passing, wait=wait, as_json=as_json))
        return
    wanted = read_users(users, users_file)

    async def ask() -> "dict[str, Flow | None]":
        async with connect(settings) as reckoner:
            record, places = await reckoner.reach(n)
            if wait:
                return await _wait(reckoner, record, wanted, places, passing, fresh=fresh, as_json=as_json)
            await _enqueue(reckoner, record.generation, wanted, fresh=fresh, as_json=as_json)
            return {}

    failed = run_async(ask())
    if failed:
        from reckoner.producer.client.asking import job_error

        user, flow = next(iter(failed.items()))
        more = f" ({format_count(len(failed) - 1, 'other job')} did not succeed either)" if len(failed) > 1 else ""
        raise job_error(f"The job for user {user}", flow, more)


def _require_no_users(users: list[str] | None, users_file: "Path | None", fresh: bool) -> None:
    from reckoner.shared.errors import UsageError

    if users or users_file is not None:
        raise UsageError("Give either users or --history: a basket belongs to an unknown user.")
    if fresh:
        raise UsageError("--fresh applies to users' lists only: a basket's list expires after an hour.")


async def _ask_for_basket(
    settings: "Settings", items: list[str], n: int | None, passing: "Filter | None", *, wait: bool, as_json: bool
) -> None:
    async with connect(settings) as reckoner:
        record, _ = await reckoner.reach(n)
        if wait:
            with say_if_cancelled("Stopped waiting. The job continues."):
                async with warn_of_outages(reckoner, say):
                    answer = await reckoner.recommended_for(items, n, wanted=passing)
            print_basket(answer, as_json, filtered=passing is not None)
            await say_unknown_tags(reckoner, record.snapshot, passing, not answer.items)
            return
        asked = await reckoner.enqueue_for(items)
        shown = {"basket": asked.basket, "job": asked.job, "cached": asked.job is None}
        print_result(shown, f"basket  {asked.job or 'cached'}", as_json)


async def _enqueue(
    reckoner: "OpenReckoner", generation: str, users: Sequence[str], *, fresh: bool, as_json: bool
) -> None:
    from reckoner.shared.errors import QueueFullError

    for start in range(0, len(users), USERS_AT_ONCE):
        some = users[start : start + USERS_AT_ONCE]
        try:
            _print_asked(await reckoner.enqueue_many(some, fresh=fresh, generation=generation), as_json)
        except QueueFullError as error:
            _print_asked(error.taken, as_json)
            raise QueueFullError(error.queued, error.most, len(users), error.taken, before=start) from error


def _print_asked(entries: "Iterable[Enqueued]", as_json: bool) -> None:
    for asked in entries:
        record = {"user": asked.user, "job": asked.job, "cached": asked.job is None}
        print_result(record, f"{asked.user}  {asked.job or 'cached'}", as_json)


async def _wait(
    reckoner: "OpenReckoner",
    record: "Record",
    users: Sequence[str],
    n: int,
    passing: "Filter | None",
    *,
    fresh: bool,
    as_json: bool,
) -> "dict[str, Flow | None]":
    """Print the lists as they arrive; returns the users whose jobs did not succeed, with their flows."""
    failed: dict[str, Flow | None] = {}
    is_empty = False
    with say_if_cancelled("Stopped waiting. The jobs continue."):
        for start in range(0, len(users), USERS_AT_ONCE):
            some = users[start : start + USERS_AT_ONCE]
            with progress_bar("Computing", "users") as bar:
                bar.update(start, len(users))
                async with warn_of_outages(reckoner, bar.say):
                    answers, failed_now = await reckoner.computed(some, n, fresh=fresh, record=record, wanted=passing)
            print_answers(answers, as_json, filtered=passing is not None)
            is_empty |= not all(answer.items for answer in answers)
            failed |= failed_now
        await say_unknown_tags(reckoner, record.snapshot, passing, is_empty)
    return failed
