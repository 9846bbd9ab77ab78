"""Starts the embedded server in such a way that it ends with its launcher, however the launcher ends.

Run as a program of its own, `guardian.py WAY LAUNCHER COMMAND...`, with nothing but the standard library:

- `signal` (Linux): asks the kernel for a SIGTERM at the launcher's end, and then becomes the server.
- `pipe` (anywhere): starts the server, writes its process id to standard output, and ends it when standard input, the
  other end of which only the launcher holds, is closed.
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
    """Become `command`, a process that gets SIGTERM when the thread that started this one ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), "the kernel does not tell of a parent's end")
    # The launcher may have died before the kernel was asked; then no signal will ever come.
    if os.getppid() == launcher:
        os.execv(command[0], command)  # noqa: S606 - the server takes this process over


def watch(command: list[str]) -> int:
    """Run `command` until it ends by itself or standard input is closed; return its exit status."""
    # Standard output is the launcher's, and the log is standard error. Open descriptors that were passed on purpose
    # (the lock) are passed on.
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, close_fds=False)

    def end_with_launcher() -> None:
        os.read(sys.stdin.fileno(), 1)
        server.terminate()
        try:
            server.wait(TERM_WAIT_S)
        except subprocess.TimeoutExpired:
            server.kill()

    threading.Thread(target=end_with_launcher, daemon=True).start()
    # A launcher that is gone already must not take the guardian along.
    with contextlib.suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), b"%d\n" % server.pid)
    return server.wait()


if __name__ == "__main__":
    # A launcher may wait for its signals with these blocked, and the server would inherit that.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if sys.argv[1] == "signal":
        become(int(sys.argv[2]), sys.argv[3:])
    else:
        # Not sys.exit, which would run into the thread that still reads.
        os._exit(abs(watch(sys.argv[3:])))
