"""A process that must not outlive the one that started it."""

import os
import signal
import threading
import time

LOOK_S = 0.5


def end_with(parent: int, patience_s: float) -> None:
    """Stop this process as SIGTERM would when `parent`, the process that started it, has ended.

    The parent is named by who starts us: asked for here, it could be gone already. What holds the end up for longer
    than `patience_s` is cut off, since nobody is left to use SIGKILL.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_S)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(patience_s)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
