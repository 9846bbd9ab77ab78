"""`reckoner synth`: writes synthetic interactions to a file, for benchmarks and tests."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import say_if_interrupted, without_extra
from reckoner.producer.cli.output import print_facts, print_json, progress_bar
from reckoner.producer.formats import format_count, format_mebibytes

if TYPE_CHECKING:
    from reckoner.producer.trial.synthesis import Size


def synth(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, .csv or .parquet.", show_default=False)],
    like: Annotated[
        Literal["ml-1m", "ml-20m"] | None, typer.Option(help="Use the size of this MovieLens data set.")
    ] = None,
    users: Annotated[int | None, typer.Option(metavar="U", min=1, help="Number of users.")] = None,
    items: Annotated[int | None, typer.Option(metavar="I", min=1, help="Number of items.")] = None,
    interactions: Annotated[int | None, typer.Option(metavar="N", min=1, help="Number of interactions.")] = None,
    seed: Annotated[int, typer.Option(metavar="S", min=0, help="Random seed: another seed gives other data.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Write synthetic interactions to a file for `import`, for benchmarks and tests.

    Popularity and history lengths have heavy tails, users have tastes, and
    interactions have times. The same seed gives the same interactions on
    every machine.

    Give --like, or all three of --users, --items and --interactions, which
    also override --like.

    Example: reckoner synth made.parquet --like ml-1m
    """
    began = time.monotonic()
    try:
        from reckoner.producer.trial.interaction_files import write_interactions
        from reckoner.producer.trial.synthesis import synthesise
    except ModuleNotFoundError as error:
        raise without_extra(error, "Making data") from error
    size = _size(like, {"users": users, "items": items, "interactions": interactions})
    with say_if_interrupted("Stopped. Nothing was written."), progress_bar("Making", "interactions") as bar:
        written = write_interactions(file, synthesise(size, seed), lambda done: bar.update(done, size.interactions))
    _print(file, size, seed, written, time.monotonic() - began, as_json)


def _size(like: str | None, given: dict[str, int | None]) -> "Size":
    """The size that the options give.

    Raises:
        UsageError: they are incomplete or impossible.
    """
    from reckoner.producer.trial.synthesis import LIKE, Size
    from reckoner.shared.errors import UsageError

    known = {name: getattr(LIKE[like], name) for name in given} if like else {}
    wanted = known | {name: count for name, count in given.items() if count is not None}
    missing = [f"--{name}" for name in given if name not in wanted]
    if missing:
        raise UsageError(f"The size is incomplete. Give --like ml-1m, --like ml-20m, or {' and '.join(missing)}.")
    try:
        return Size(**wanted)
    except ValueError as error:
        raise UsageError(f"Invalid size: {error}.") from error


def _print(file: Path, size: "Size", seed: int, written: int, took_s: float, as_json: bool) -> None:
    if as_json:
        counts: dict[str, Any] = {name: getattr(size, name) for name in ("users", "items", "interactions")}
        print_json({"file": str(file), "bytes": written, **counts, "seed": seed, "duration_s": took_s})
        return
    print_facts(
        [
            ("file", f"{file}, {format_mebibytes(written)}"),
            (
                "holds",
                f"{format_count(size.interactions, 'interaction')} of {format_count(size.users, 'user')} with "
                f"{format_count(size.items, 'item')}",
            ),
            ("seed", str(seed)),
            ("took", f"{took_s:.1f} s"),
        ]
    )
