"""Starts the embedded server, and ends it when its launcher ends, even by SIGKILL.

It is a program, `guardian.py WAY LAUNCHER COMMAND...`, and imports only the standard library. The ways:

- `signal` (Linux): ask the kernel for a SIGTERM at the launcher's end, then exec the server.
- `pipe` (anywhere): start the server, write its process id to standard output, and stop it when standard input, whose
  other end only the launcher holds, is closed.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1
TERM_WAIT_S = 10.0


def become(launcher: int, command: list[str]) -> None:
    """Exec `command`; its process gets SIGTERM when the thread that started it ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), "the kernel refuses PR_SET_PDEATHSIG")
    # If the launcher died before the prctl, no signal comes.
    if os.getppid() == launcher:
        os.execv(command[0], command)  # noqa: S606 - the server takes this process over


def watch(command: list[str]) -> int:
    """Run `command` until it exits or standard input is closed; return its exit status."""
    # Standard output is for the launcher. The server inherits the lock's descriptor.
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, close_fds=False)

    def end_with_launcher() -> None:
        os.read(sys.stdin.fileno(), 1)
        server.terminate()
        try:
            server.wait(TERM_WAIT_S)
        except subprocess.TimeoutExpired:
            server.kill()

    threading.Thread(target=end_with_launcher, daemon=True).start()
    # The launcher may be dead already.
    with contextlib.suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), b"%d\n" % server.pid)
    return server.wait()


if __name__ == "__main__":
    # The launcher may block signals, and the server would inherit the mask.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if sys.argv[1] == "signal":
        become(int(sys.argv[2]), sys.argv[3:])
    else:
        # sys.exit would wait for the reading thread.
        os._exit(abs(watch(sys.argv[3:])))
