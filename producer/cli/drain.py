"""`reckoner drain`: workers that end when they have done what they run."""

from typing import TYPE_CHECKING, Annotated

import typer

from reckoner.producer.cli.edge import complete, connect, going_on, identifier
from reckoner.producer.cli.output import print_json, print_line
from reckoner.producer.cli.users import AsJson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reckoner.producer.client.reckoner import Reckoner
    from reckoner.shared.flows.heartbeats import LiveWorker


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(drain)


def drain(
    worker: Annotated[
        str | None, typer.Argument(metavar="WORKER", help="A worker's id, or a part that no other has in its id.")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", metavar="HOST", help="Drain all workers of a host.")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Drain all workers.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait until they have ended.")] = False,
    as_json: AsJson = False,
) -> None:
    """Have workers take no more jobs, and end when they have done their own.

    Nothing is handed back, and their supervisor starts no others in their
    places; when all of its workers were drained it ends too. `reckoner status`
    shows the ids.

    Example: reckoner drain shop-1-4711-08ca
    """
    from reckoner.shared.errors import UsageError
    from reckoner.shared.settings import load_settings

    if (worker is not None) + (host is not None) + everybody != 1:
        raise UsageError("Name a worker, or give --host or --all: one of them.")
    wanted = None if worker is None else identifier("worker", worker)
    where = None if host is None else identifier("host", host)
    settings = load_settings()

    async def end() -> None:
        async with connect(settings) as reckoner:
            await _drain(reckoner, _chosen(await reckoner.operator.alive(), wanted, where), not no_wait, as_json)

    complete(end())


def _chosen(alive: "list[LiveWorker]", part: str | None, host: str | None) -> "list[LiveWorker]":
    from reckoner.producer.client.steering import find_worker
    from reckoner.shared.errors import WorkerUnknownError

    if part is not None:
        return [find_worker(alive, part)]
    chosen = [heard for heard in alive if host is None or (heard.beat and heard.beat.host == host)]
    if not chosen:
        raise WorkerUnknownError
    return chosen


async def _drain(reckoner: "Reckoner", chosen: "Sequence[LiveWorker]", is_waiting: bool, as_json: bool) -> None:
    await reckoner.operator.drain(chosen)
    names = [heard.worker for heard in chosen]
    if not is_waiting:
        for name in names:
            _print(name, False, as_json)
        return
    with going_on("They end all the same when they have done what they run; `reckoner status` shows them."):
        async for name in reckoner.operator.gone(names):
            _print(name, True, as_json)


def _print(worker: str, ended: bool, as_json: bool) -> None:
    if as_json:
        print_json({"worker": worker, "ended": ended})
    else:
        print_line(f"{worker} has ended." if ended else f"{worker} was told to take no more jobs.")
