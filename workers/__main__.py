"""Starts workers: `python -m workers --processes 2`."""

import argparse
import os
import sys
from typing import NoReturn

from shared.defaults import MOST_THREADS

# Everything else is imported where it is used: Ctrl-C meanwhile is then no stack trace either.

INTERRUPTED = 130


def main() -> int:
    """Run the workers until they are told to stop; returns the exit code."""
    try:
        options = _read_arguments()
        from shared.errors import ReckonerError
        from shared.terminal import plain, show_trace

        sys.excepthook = show_trace
        try:
            return _run(options)
        except ReckonerError as error:
            print(plain(str(error)), file=sys.stderr)
            return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with an argument, which may hold anything."""

    def error(self, message: str) -> NoReturn:
        from shared.terminal import plain

        super().error(plain(message))


def _read_arguments() -> argparse.Namespace:
    parser = _Parser(prog="python -m workers", description=__doc__)
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="how many worker processes")
    parser.add_argument("--threads", type=int, metavar="N", help="how many batch kernels a process runs at a time")
    parser.add_argument("--parent", type=int, metavar="PID", help="stop when this process, which started it, has ended")
    parser.add_argument("--heard", action="store_true", help="only say whether a worker of this host is heard of")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--tell", type=int, metavar="DESCRIPTOR", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.processes < 1:
        parser.error("--processes must be at least 1")
    if options.threads is not None and not 1 <= options.threads <= MOST_THREADS:
        parser.error(f"--threads must be 1 to {MOST_THREADS}")
    return options


def _run(options: argparse.Namespace) -> int:
    from shared.logs import configure_logs
    from shared.settings import read_settings, variable_of
    from shared.starting import Teller
    from shared.stopping import starter_patience_s, worker_patience_s
    from workers.environment import prepare, require_packages
    from workers.parent import end_with

    if options.threads is not None:
        # The children of a supervisor read it there too.
        os.environ[variable_of("threads")] = str(options.threads)
    reading = read_settings()
    settings = reading.settings
    configure_logs(settings.log_level)
    if reading.passed_over and not options.child:
        # Not at the top, as all else that takes its time.
        import structlog

        structlog.get_logger().debug("variables of Kubernetes services passed over", variables=reading.passed_over)
    if options.heard:
        from workers.heard import require_worker

        require_worker(settings)
        return 0
    require_packages()
    prepare(os.environ, settings)
    if options.parent is not None:
        patience_s = worker_patience_s if options.child else starter_patience_s
        end_with(options.parent, patience_s(settings.stop_s))
    teller = Teller(options.tell)
    if options.child:
        from workers.compiling import Compiling

        Compiling(teller).watch()
        from workers.process import work

        return work(settings)
    from workers.supervisor import Supervisor

    Supervisor(settings, options.processes, teller=teller).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
