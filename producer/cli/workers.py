"""`reckoner worker` and `reckoner up`: start workers, and a Redis for them."""

import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from reckoner.shared.defaults import MAX_THREADS

if TYPE_CHECKING:
    from reckoner.shared.settings import Settings

LOOK_S = 0.1

Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        min=1,
        max=MAX_THREADS,
        help="Batch kernels that each process runs in parallel; overrides RECKONER_THREADS.",
    ),
]


def worker(
    processes: Annotated[int, typer.Option("--processes", metavar="N", min=1, help="Number of worker processes.")] = 1,
    threads: Threads = None,
) -> None:
    """Run worker processes until Ctrl-C.

    Crashed workers are restarted. Start workers on any host that reaches the
    Redis and the store: they share the work.

    Example: reckoner worker --processes 4
    """
    from reckoner.shared.interpreter import module_command

    # The supervisor replaces this process: it gets the signals, and the command line leaves memory.
    options = [] if threads is None else ["--threads", str(threads)]
    command = module_command("reckoner.workers", "--processes", str(processes), *options)
    os.execv(command[0], command)  # noqa: S606


def up(
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=1, help="Number of worker processes.")] = 2,
    threads: Threads = None,
    no_page: Annotated[bool, typer.Option("--no-page", help="Serve neither the page nor the HTTP API.")] = False,
) -> None:
    """Run an embedded Redis and workers in the foreground, until Ctrl-C.

    Prints `ready` when all of them answer. Data are kept in RECKONER_HOME, and
    other commands find this Redis there. With the extra `http` it serves the
    page too, on this machine only, and prints its URL.

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
        raise UsageError(f"{name} is set, but `up` starts its own Redis. Unset it, or use `reckoner worker`.")
    # Lines instead of a bar, since the workers log to the same terminal.
    lines = Lines()
    with Interruption() as interruption:

        def look(loads: bool) -> None:
            interruption.check()
            if loads:
                lines.show("Redis is loading its data", "", 0, None)

        try:
            with LocalSystem(settings.home_path, workers, environ, look=look) as system, ExitStack() as page:
                interruption.on_repeat = system.stop_faster
                interruption.run(system.ready(settings.prefix, lines.show))
                if not no_page:
                    _serve_page(page, settings, system.url)
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
                say("All workers were drained or stopped, so this command ends.")
                return
            if isinstance(code, int) and code > 0:
                # The supervisor has printed the reason.
                raise typer.Exit(code) from error
            raise


def _serve_page(page: ExitStack, settings: "Settings", redis_url: str) -> None:
    """Serve the page until `page` is closed, if the extra is installed."""
    from reckoner.producer.cli.serve import require_http, served_beside
    from reckoner.shared.errors import MissingExtraError

    try:
        require_http("The page")
    except MissingExtraError:
        return
    print(f"serving {page.enter_context(served_beside(settings, redis_url))}", flush=True)
