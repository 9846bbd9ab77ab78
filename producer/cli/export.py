"""`reckoner export`: writes a whole generation to a file or a bucket."""

import time
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from reckoner.producer.cli.arguments import AsJson, InGeneration
from reckoner.producer.cli.edge import connect, identifier, run_async, say_if_interrupted, without_extra
from reckoner.producer.cli.output import print_result, progress_bar
from reckoner.producer.formats import format_count

if TYPE_CHECKING:
    from reckoner.producer.exporting.files import Exported


def export(
    destination: Annotated[
        str, typer.Argument(metavar="FILE", help="A file, or an object of a bucket: s3://, gs:// or az://bucket/key.")
    ],
    generation: InGeneration = None,
    format_: Annotated[
        Literal["parquet", "csv", "jsonl"] | None,
        typer.Option(
            "--format", help="By default what the name ends in: .parquet, .csv or .jsonl.", show_default=False
        ),
    ] = None,
    titles: Annotated[bool, typer.Option("--titles/--no-titles", help="With the titles of items and reasons.")] = True,
    as_json: AsJson = False,
) -> None:
    """Write every user's list to a Parquet, CSV or JSON lines file.

    A row is a place: user, rank, item, score, because, title, because_title.
    The places are those that `get` prints. A user with an empty list has no
    row.

    The file takes the place of an older one once it is complete. A bucket's
    credentials come from the environment.

    Example: reckoner export lists.parquet
    """
    began = time.monotonic()
    wanted = None if generation is None else identifier("generation", generation)
    try:
        from reckoner.producer.exporting.files import export_file
    except ModuleNotFoundError as error:
        raise without_extra(error, "Exporting") from error
    from reckoner.shared.settings import load_settings
    from reckoner.shared.store.location import store_of
    from reckoner.shared.store.ownership import require_prefix

    settings = load_settings()

    async def write() -> "Exported":
        # Redis first: an outage is the error to report.
        async with connect(settings) as reckoner:
            store = store_of(settings, create=False)
            require_prefix(settings, store)
            with progress_bar("Exporting", "users") as bar:
                return await export_file(
                    reckoner, store, destination, wanted, format=format_, titles=titles,
                    progress=lambda done, users: bar.show("Exporting", "users", done, users),
                )  # fmt: skip

    with say_if_interrupted("Stopped. Nothing was written."):
        made = run_async(write())
    took_s = time.monotonic() - began
    sentence = f"Exported {format_count(made.places, 'place')} of generation {made.generation} to {destination}"
    found = {"file": destination, "format": made.format, "generation": made.generation, "users": made.users}
    found |= {"places": made.places, "duration_s": round(took_s, 3)}
    print_result(found, f"{sentence} in {took_s:.1f} s.", as_json)
