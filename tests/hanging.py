"""Workers whose store hangs while a file exists, for tests only:
`python tests/hanging.py --hangs FILE --touched FILE --processes N`.

Otherwise they are the workers of `python -m reckoner.workers`. Calls that touch the store on the main thread, which
runs the event loop, are recorded in the second file.
"""

# Do not import `tests`: see `tests/killer.py`.

import argparse
import builtins
import io
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reckoner.shared.errors import ReckonerError
from reckoner.shared.logs import configure_logs
from reckoner.shared.settings import load_settings
from reckoner.shared.stopping import worker_exit_timeout_s
from reckoner.shared.store.location import store_directory
from reckoner.workers.process.child import work
from reckoner.workers.process.parent import stop_with_parent
from reckoner.workers.process.supervisor import Supervisor

PAUSE_S = 0.01
CALLS = ("stat", "lstat", "access", "scandir", "listdir", "open", "mkdir", "link", "rename", "replace", "unlink")


def main() -> int:
    """Run the supervisor, or one of its workers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hangs", type=Path, required=True)
    parser.add_argument("--touched", type=Path, required=True)
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("--parent", type=int)
    options = parser.parse_args()
    settings = load_settings()
    configure_logs(settings.log_level)
    let_hang(str(store_directory(settings.store_location)), options.hangs, options.touched)
    if options.parent is None:
        Supervisor(settings, options.processes, [sys.executable, *sys.argv, "--parent", str(os.getpid())]).run()
        return 0
    stop_with_parent(options.parent, worker_exit_timeout_s(settings.stop_s))
    return work(settings)


def let_hang(store: str, hangs: Path, touched: Path) -> None:
    """Block all calls that touch the store's files while a file exists."""
    open_plainly, exists = builtins.open, hangs.exists

    def hanging(call: Callable[..., Any]) -> Callable[..., Any]:
        def touch(path: Any, *arguments: Any, **named: Any) -> Any:
            if isinstance(path, str | os.PathLike) and os.fsdecode(path).startswith(store):
                if threading.current_thread() is threading.main_thread():
                    with open_plainly(touched, "a", encoding="utf-8") as file:
                        traceback.print_stack(file=file)
                while exists():
                    time.sleep(PAUSE_S)
            return call(path, *arguments, **named)

        return touch

    for name in CALLS:
        setattr(os, name, hanging(getattr(os, name)))
    builtins.open = io.open = hanging(open_plainly)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ReckonerError as error:
        sys.exit(str(error))
