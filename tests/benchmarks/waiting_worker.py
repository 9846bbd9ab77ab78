"""Workers whose scoring kernel waits: `python tests/benchmarks waiting_worker --wait-ms MS --processes N`.

Engine, tasks and server are real. The kernel call alone is replaced: it sleeps, and returns prepared lists.
"""

import argparse
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

from reckoner.shared.logs import configure_logs
from reckoner.shared.settings import load_settings
from reckoner.shared.stopping import launcher_exit_timeout_s, worker_exit_timeout_s
from reckoner.workers.kernels.environment import prepare
from reckoner.workers.process.child import work
from reckoner.workers.process.parent import stop_with_parent
from reckoner.workers.process.supervisor import Supervisor

PROGRAMS = Path(__file__).absolute().parent
# Each wait ends within this time after the stop flag is set.
STEP_S = 0.05


def replace_kernel(wait_s: float) -> None:
    """Replace the kernel wherever workers call it."""
    import numpy as np

    import reckoner.workers as package
    from reckoner.workers.kernels.scoring import score
    from reckoner.workers.kernels.scoring.merge import Partial

    original = score.score_users

    def wait(candidates: Any, user_ptr: Any, *arguments: Any, stop: Any, **options: Any) -> Any:
        until = time.monotonic() + wait_s
        while (left_s := until - time.monotonic()) > 0:
            if stop[0]:
                return None
            time.sleep(min(left_s, STEP_S))
        users = user_ptr.size - 1
        # The first items of the range, and falling scores.
        length = min(arguments[2], candidates.order.size)
        items = np.tile(np.sort(candidates.order[:length]), users)
        scores = np.tile((0.9 / np.arange(1, length + 1)).astype(np.float32), users)
        return Partial(np.full(users, length, np.uint32), items, scores, items.copy())

    for found in walk_packages(package.__path__, f"{package.__name__}."):
        if not found.name.endswith("__main__"):
            module = import_module(found.name)
            if getattr(module, "score_users", None) is original:
                setattr(module, "score_users", wait)  # noqa: B010


def main() -> int:
    """Run the supervisor, or one of its workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wait-ms", type=float, required=True)
    parser.add_argument("--processes", type=int, default=0)
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args()
    settings = load_settings()
    configure_logs(settings.log_level)
    prepare(os.environ, settings)
    if options.processes:
        stop_with_parent(options.parent, launcher_exit_timeout_s(settings.stop_s))
        program = [
            sys.executable,
            str(PROGRAMS),
            "waiting_worker",
            f"--wait-ms={options.wait_ms}",
            f"--parent={os.getpid()}",
        ]
        Supervisor(settings, options.processes, program).run()
        return 0
    stop_with_parent(options.parent, worker_exit_timeout_s(settings.stop_s))
    replace_kernel(options.wait_ms / 1000)
    return work(settings)
