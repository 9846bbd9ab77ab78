"""`reckoner get`: prints cached lists."""

from contextlib import AsyncExitStack
from typing import Annotated

import typer

from reckoner.producer.cli.arguments import AsJson, InGeneration, Places, Users, UsersFile, read_users
from reckoner.producer.cli.edge import connect, run_async
from reckoner.producer.cli.filters import Diversity, Exclude, MaxPerTag, Only, Without, read_filter, say_unknown_tags
from reckoner.producer.cli.lists import print_answers
from reckoner.producer.defaults import USERS_AT_ONCE


def get(
    users: Users = None,
    users_file: UsersFile = None,
    n: Places = None,
    only: Only = None,
    without: Without = None,
    exclude: Exclude = None,
    max_per_tag: MaxPerTag = None,
    diversity: Diversity = None,
    generation: InGeneration = None,
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", min=0.0, help="Time limit for each answer from Redis."),
    ] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Print users' cached lists.

    A user without a cached list gets the popular list, which is marked as such.
    This command computes nothing: use `enqueue` or `batch`.

    Filters print what passes of the cached lists, such as
    `reckoner get 42 --only shoes --without sale --max-per-tag 2`.
    The best of all that passes is computed by `enqueue --wait`.

    Example: reckoner get 42 43 -n 5 --json
    """
    from reckoner.shared.errors import WaitTimeoutError
    from reckoner.shared.settings import load_settings

    settings, wanted = load_settings(), read_users(users, users_file)
    passing = read_filter(only, without, exclude, max_per_tag, diversity)

    async def read() -> None:
        from reckoner.producer.client.calls import time_limit

        async with AsyncExitStack() as stack:
            async with time_limit(timeout):
                reckoner = await stack.enter_async_context(connect(settings))
                record, places = await reckoner.reach(n, generation, timeout=None)
            is_empty = False
            for start in range(0, len(wanted), USERS_AT_ONCE):
                some = wanted[start : start + USERS_AT_ONCE]
                async with time_limit(timeout):
                    answers = await reckoner.cached(some, places, record, passing)
                print_answers(answers, as_json, filtered=passing is not None)
                is_empty |= not all(answer.items for answer in answers)
            await say_unknown_tags(reckoner, record.snapshot, passing, is_empty)

    try:
        run_async(read())
    except WaitTimeoutError as error:
        raise WaitTimeoutError(f"Redis did not answer within {timeout:g} s.") from error
