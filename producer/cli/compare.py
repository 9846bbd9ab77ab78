"""`reckoner compare`: shows the lists of two generations or models side by side, and what would change."""

from typing import TYPE_CHECKING, Annotated

import typer

from reckoner.producer.cli.arguments import AsJson, Places, read_ids
from reckoner.producer.cli.edge import connect, require_utf8, run_async, say_if_cancelled, without_extra
from reckoner.producer.cli.outages import warn_of_outages
from reckoner.producer.cli.output import print_json, progress_bar

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner
    from reckoner.producer.evaluation.preview import Preview
    from reckoner.shared.settings import Settings

DEFAULT_RANDOM, DEFAULT_PLACES = 3, 10


def compare(
    one: Annotated[
        str,
        typer.Argument(
            metavar="GENERATION|MODEL",
            help="live, previous, newest, the id of a generation or model, or a model as in 'slim l2=10'.",
        ),
    ],
    other: Annotated[
        str, typer.Argument(metavar="OTHER", help="What it is compared with, written in the same way.")
    ] = "live",
    users: Annotated[
        list[str] | None,
        typer.Option(
            "--users", metavar="USERS", help="Show these users: ids separated by commas, as in CSV. May be repeated."
        ),
    ] = None,
    random: Annotated[
        int | None,
        typer.Option(
            "--random",
            metavar="N",
            min=0,
            max=100,
            help=f"Show N random users; without --users {DEFAULT_RANDOM} by default.",
        ),
    ] = None,
    n: Places = None,
    sample: Annotated[
        int, typer.Option(metavar="N", min=1, max=100_000, help="Count what changes for N random users.")
    ] = 1000,
    seed: Annotated[int, typer.Option(metavar="N", min=0, max=2**31, help="The seed of the random users.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Show lists of two generations or models side by side, and what changes.

    A model as text is fitted on the current snapshot by the workers. Lists
    that are not cached are computed. Nothing goes live or is left behind.
    Lists are without what a user has had.

    Example: reckoner compare "slim l2=10" live --users 601,42 -n 5
    """
    from reckoner.shared.settings import load_settings

    try:
        from reckoner.producer.cli.preview_output import as_object, print_preview
    except ModuleNotFoundError as error:
        raise without_extra(error, "A comparison") from error
    wanted = read_ids("user", "--users", users or [])
    shown = random if random is not None else 0 if wanted else DEFAULT_RANDOM
    settings, texts = load_settings(), (require_utf8(one), require_utf8(other))

    async def look() -> "Preview":
        async with connect(settings) as reckoner:
            return await _look(reckoner, settings, texts, wanted, shown, n, sample, seed)

    found = run_async(look())
    if as_json:
        print_json(as_object(found))
    else:
        print_preview(found)


async def _look(
    reckoner: "OpenReckoner",
    settings: "Settings",
    texts: tuple[str, str],
    users: list[str],
    random: int,
    n: int | None,
    sample: int,
    seed: int,
) -> "Preview":
    from reckoner.producer.evaluation.preview import preview
    from reckoner.producer.evaluation.sides import find_side
    from reckoner.shared.errors import UsageError
    from reckoner.shared.store.location import store_of
    from reckoner.shared.store.ownership import claim_store

    store = store_of(settings)
    await claim_store(reckoner.redis, settings, store)
    sides = await find_side(reckoner, store, texts[0]), await find_side(reckoner, store, texts[1])
    longest = min(side.longest for side in sides)
    if n is not None and n > longest:
        raise UsageError(f"n is {n}, but the lists to compare have {longest} places.")
    with say_if_cancelled("Stopped. Nothing was left behind."), progress_bar("Drawing users", "") as bar:
        async with warn_of_outages(reckoner, bar.say):
            return await preview(
                *(reckoner, store, sides, users),
                random=random,
                sample=sample,
                seed=seed,
                places=n or min(DEFAULT_PLACES, longest),
                progress=bar.show,
            )
