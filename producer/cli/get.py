"""`reckoner get`: the cached lists, as any reader gets them."""

from contextlib import AsyncExitStack
from typing import Annotated

import typer

from reckoner.producer.cli.edge import complete, connect
from reckoner.producer.cli.lists import print_answers
from reckoner.producer.cli.users import AsJson, Places, Users, UsersFile, read_users
from reckoner.producer.defaults import USERS_AT_ONCE


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(get)


def get(
    users: Users = None,
    users_file: UsersFile = None,
    n: Places = None,
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", min=0.0, help="How long Redis may take to answer, each time."),
    ] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Print users' cached lists.

    A user without one gets the popular list, and is told so.
    Nothing is computed: that is what enqueue and batch do.

    Example: reckoner get 42 43 -n 5 --json
    """
    from reckoner.shared.errors import WaitTimeoutError
    from reckoner.shared.settings import load_settings

    settings, wanted = load_settings(), read_users(users, users_file)

    async def read() -> None:
        from reckoner.producer.client.calls import within

        async with AsyncExitStack() as stack:
            async with within(timeout):
                reckoner = await stack.enter_async_context(connect(settings))
                record, places = await reckoner.reach(n, timeout=None)
            for start in range(0, len(wanted), USERS_AT_ONCE):
                async with within(timeout):
                    answers = await reckoner.results.answer(wanted[start : start + USERS_AT_ONCE], places, record)
                print_answers(answers, as_json)

    try:
        complete(read())
    except WaitTimeoutError as error:
        raise WaitTimeoutError(f"Redis did not answer within {timeout:g} s.") from error
