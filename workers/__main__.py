"""Starts workers: `python -m reckoner.workers --processes 2`."""

import argparse
import os
import sys
from typing import NoReturn

from reckoner.shared.defaults import MAX_THREADS

# All else is imported inside functions, so that Ctrl-C during an import prints no stack trace.

INTERRUPTED = 130


def main() -> int:
    """Run workers until a signal stops them. Returns the exit code."""
    try:
        options = _read_arguments()
        from reckoner.shared.errors import ReckonerError
        from reckoner.shared.terminal import plain, show_trace

        sys.excepthook = show_trace
        try:
            return _run(options)
        except ReckonerError as error:
            print(plain(str(error)), file=sys.stderr)
            return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED


class _Parser(argparse.ArgumentParser):
    """Escapes control characters of an argument in error messages."""

    def error(self, message: str) -> NoReturn:
        from reckoner.shared.terminal import plain

        super().error(plain(message))


def _read_arguments() -> argparse.Namespace:
    parser = _Parser(prog="python -m reckoner.workers", description=__doc__)
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="how many worker processes")
    parser.add_argument("--threads", type=int, metavar="N", help="how many batch kernels a process runs at a time")
    parser.add_argument("--parent", type=int, metavar="PID", help="stop when this parent process ends")
    parser.add_argument("--healthcheck", action="store_true", help="check for a live worker on this host, then exit")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--name", default="", help=argparse.SUPPRESS)
    parser.add_argument("--tell", type=int, metavar="DESCRIPTOR", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.processes < 1:
        parser.error("--processes must be at least 1")
    if options.threads is not None and not 1 <= options.threads <= MAX_THREADS:
        parser.error(f"--threads must be 1 to {MAX_THREADS}")
    return options


def _run(options: argparse.Namespace) -> int:
    from reckoner.shared.logs import configure_logs
    from reckoner.shared.settings import read_settings, variable_of
    from reckoner.shared.startup import EventSender
    from reckoner.shared.stopping import launcher_exit_timeout_s, worker_exit_timeout_s
    from reckoner.shared.store.fit_options import require_valid_fit
    from reckoner.workers.kernels.environment import prepare, require_packages
    from reckoner.workers.process.parent import stop_with_parent

    if options.threads is not None:
        # A supervisor's children read it from there.
        os.environ[variable_of("threads")] = str(options.threads)
    reading = read_settings()
    settings = reading.settings
    configure_logs(settings.log_level)
    if reading.ignored and not options.child:
        import structlog

        structlog.get_logger().debug("Kubernetes service variables ignored", variables=reading.ignored)
    if options.healthcheck:
        from reckoner.workers.process.healthcheck import require_worker

        require_worker(settings)
        return 0
    require_packages()
    require_valid_fit(settings.fit)
    prepare(os.environ, settings)
    if options.parent is not None:
        patience_s = worker_exit_timeout_s if options.child else launcher_exit_timeout_s
        stop_with_parent(options.parent, patience_s(settings.stop_s))
    events = EventSender(options.tell)
    if options.child:
        from reckoner.workers.process.compiling import CompileListener

        CompileListener(events).register()
        from reckoner.workers.process.child import work

        return work(settings, options.name)
    from reckoner.workers.process.supervisor import Supervisor

    Supervisor(settings, options.processes, events=events).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
