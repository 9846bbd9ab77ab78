"""`reckoner drain`: lets workers finish their running jobs and exit."""

from typing import TYPE_CHECKING, Annotated

import typer

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import identifier, run_connected, say_if_cancelled
from reckoner.producer.cli.output import print_result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reckoner.producer.client.open import OpenReckoner
    from reckoner.shared.flows.heartbeats import LiveWorker


def drain(
    worker: Annotated[
        str | None, typer.Argument(metavar="WORKER", help="A worker's id, or a unique part of it.")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", metavar="HOST", help="Drain all workers on this host.")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Drain all workers.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return without waiting for them to exit.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let workers finish their running jobs and exit.

    They take no new jobs, and their supervisor does not replace them. It exits
    when all its workers were drained. `reckoner status` shows the ids.

    Example: reckoner drain shop-1-4711-08ca
    """
    from reckoner.shared.errors import UsageError

    if (worker is not None) + (host is not None) + everybody != 1:
        raise UsageError("Give exactly one of WORKER, --host and --all.")
    wanted = None if worker is None else identifier("worker", worker)
    where = None if host is None else identifier("host", host)

    async def end(reckoner: "OpenReckoner") -> None:
        await _drain(reckoner, _chosen(await reckoner.operator.alive(), wanted, where), not no_wait, as_json)

    run_connected(end)


def _chosen(alive: "list[LiveWorker]", part: str | None, host: str | None) -> "list[LiveWorker]":
    from reckoner.producer.client.steering import find_worker
    from reckoner.shared.errors import WorkerUnknownError

    if part is not None:
        return [find_worker(alive, part)]
    chosen = [worker for worker in alive if host is None or (worker.beat and worker.beat.host == host)]
    if not chosen:
        raise WorkerUnknownError
    return chosen


async def _drain(reckoner: "OpenReckoner", chosen: "Sequence[LiveWorker]", is_waiting: bool, as_json: bool) -> None:
    await reckoner.operator.drain(chosen)
    names = [each.worker for each in chosen]
    if not is_waiting:
        for name in names:
            _print(name, False, as_json)
        return
    with say_if_cancelled("Stopped waiting. The workers still exit after their running jobs; see `reckoner status`."):
        async for name in reckoner.operator.drained(names):
            _print(name, True, as_json)


def _print(worker: str, ended: bool, as_json: bool) -> None:
    sentence = f"{worker} has exited." if ended else f"{worker} is draining."
    print_result({"worker": worker, "ended": ended}, sentence, as_json)
