"""`reckoner worker` and `reckoner up`: starting what does the work."""

import os
import time
from typing import Annotated

import typer

from reckoner.shared.defaults import MAX_THREADS

LOOK_S = 0.1

Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        min=1,
        max=MAX_THREADS,
        help="How many batch kernels each process runs at a time, in place of RECKONER_THREADS.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(worker)
    app.command()(up)


def worker(
    processes: Annotated[int, typer.Option("--processes", metavar="N", min=1, help="How many worker processes.")] = 1,
    threads: Threads = None,
) -> None:
    """Run worker processes until Ctrl-C.

    Those that crash are started again. Every worker on any host that
    reaches the Redis and the store takes its share of the work.

    Example: reckoner worker --processes 4
    """
    from reckoner.shared.interpreter import module_command

    # The supervisor takes this process over, so that signals reach it and nothing of the command line stays in memory.
    options = [] if threads is None else ["--threads", str(threads)]
    command = module_command("reckoner.workers", "--processes", str(processes), *options)
    os.execv(command[0], command)  # noqa: S606


def up(
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=1, help="How many worker processes.")] = 2,
    threads: Threads = None,
) -> None:
    """Run an embedded Redis and workers in the foreground, until Ctrl-C.

    Prints `ready` when all of them answer. Everything is kept in
    RECKONER_HOME for the next time, and other commands find it there.

    Example: reckoner up --workers 2
    """
    from reckoner.producer.cli.interruption import Interrupted, Interruption
    from reckoner.producer.cli.output import Lines, say
    from reckoner.producer.local import LocalSystem
    from reckoner.shared.errors import UsageError, WorkersUnavailableError
    from reckoner.shared.settings import read_settings, variable_of

    environ = os.environ | ({} if threads is None else {variable_of("threads"): str(threads)})
    reading = read_settings()
    settings, origin = reading.settings, reading.origins["redis_url"]
    if settings.redis_url:
        name = origin if origin == variable_of("redis_url") else f"redis_url in {origin}"
        raise UsageError(f"{name} is set, and `up` runs a Redis of its own: unset it, or use `reckoner worker`.")
    # Not a bar: the workers' log is on the same terminal.
    lines = Lines()
    with Interruption() as interruption:

        def look(loads: bool) -> None:
            interruption.check()
            if loads:
                lines.show("Redis is loading its data", "", 0, None)

        try:
            with LocalSystem(settings.home_path, workers, environ, look=look) as system:
                interruption.again = system.hurry
                interruption.run(system.ready(settings.prefix, lines.show))
                print("ready", flush=True)
                while True:
                    interruption.check()
                    system.check()
                    time.sleep(LOOK_S)
        except Interrupted:
            return
        except WorkersUnavailableError as error:
            code = error.evidence.get("code")
            if code == 0:
                say("The workers were drained or stopped, and this ends with them.")
                return
            if isinstance(code, int) and code > 0:
                # The supervisor has said why on standard error.
                raise typer.Exit(code) from error
            raise
