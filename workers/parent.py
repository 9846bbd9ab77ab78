"""A process that must not outlive the one that started it."""

import os
import signal
import threading
import time

LOOK_S = 0.5
STOP_WAIT_S = 15.0


def end_with(parent: int) -> None:
    """Stop this process as SIGTERM would when `parent`, the process that started it, has ended.

    The parent is named by who starts us: asked for here, it could be gone already.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_S)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(STOP_WAIT_S)
        # Whatever holds it up, nobody is left to use SIGKILL.
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
