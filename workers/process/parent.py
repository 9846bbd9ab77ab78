"""Ends a process when its parent ends."""

import os
import signal
import threading
import time

POLL_S = 0.5


def stop_with_parent(parent: int, patience_s: float) -> None:
    """Send SIGTERM to this process when its parent ends, and exit hard after another `patience_s`.

    The caller passes the parent's PID: `os.getppid()` would be wrong if the parent had already ended.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_S)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(patience_s)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
