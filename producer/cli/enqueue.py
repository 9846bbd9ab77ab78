"""`reckoner enqueue`: asks for users' lists."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli.edge import complete, connect, going_on
from producer.cli.lists import print_answers
from producer.cli.output import print_json, print_line, progress_bar
from producer.cli.users import AsJson, Places, Users, UsersFile, read_users
from producer.cli.work import minding_workers
from producer.defaults import USERS_AT_ONCE

if TYPE_CHECKING:
    from producer.client import Reckoner
    from shared.wire import Record


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(enqueue)


def enqueue(
    users: Users = None,
    users_file: UsersFile = None,
    n: Places = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the lists and print them, as get does.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Compute again what is in the cache.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask for users' lists to be computed.

    Prints each user with the job that computes the list, or with the word cached where it is there already.

    Example: reckoner enqueue 42 43 --wait
    """
    from shared.errors import FlowFailedError
    from shared.settings import load_settings

    settings, wanted = load_settings(), read_users(users, users_file)

    async def ask() -> dict[str, str]:
        async with connect(settings) as reckoner:
            record, places = await reckoner.reach(n)
            if wait:
                return await _wait(reckoner, record, wanted, places, fresh=fresh, as_json=as_json)
            for start in range(0, len(wanted), USERS_AT_ONCE):
                some = wanted[start : start + USERS_AT_ONCE]
                await _enqueue(reckoner, record.generation, some, fresh=fresh, as_json=as_json)
            return {}

    failed = complete(ask())
    if failed:
        user, reason = next(iter(failed.items()))
        more = f", and those for {len(failed) - 1} others failed too" if len(failed) > 1 else ""
        raise FlowFailedError(f"The job for user {user} failed: {reason}{more}.", failed=failed)


async def _enqueue(reckoner: "Reckoner", generation: str, users: Sequence[str], *, fresh: bool, as_json: bool) -> None:
    for asked in await reckoner.enqueue_many(users, fresh=fresh, generation=generation):
        if as_json:
            print_json({"user": asked.user, "job": asked.job, "cached": asked.job is None})
        else:
            print_line(f"{asked.user}  {asked.job or 'cached'}")


async def _wait(
    reckoner: "Reckoner", record: "Record", users: Sequence[str], n: int, *, fresh: bool, as_json: bool
) -> dict[str, str]:
    """Print the lists as they come; returns the users whose job failed, with the reason."""
    failed: dict[str, str] = {}
    with going_on("Stopped waiting; the jobs go on."):
        for start in range(0, len(users), USERS_AT_ONCE):
            some = users[start : start + USERS_AT_ONCE]
            with progress_bar("Computing", "users") as bar:
                bar.update(start, len(users))
                async with minding_workers(reckoner, bar.say):
                    answers, failed_now = await reckoner.computed(some, n, fresh=fresh, record=record)
            print_answers(answers, as_json)
            failed |= failed_now
    return failed
