"""Logs: what goes wrong is told on a terminal too, and nothing that a secret may be in."""

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, structlog
from shared.logs import configure_logs

def connect(url):
    raise ValueError("no such thing")

configure_logs("INFO")
try:
    connect(os.environ["THE_URL"])
except ValueError:
    structlog.get_logger().exception("it failed")
"""


def read_to_the_end(terminal: int) -> str:
    """What was written to a terminal until nobody had it open any more, which some systems tell by an error."""
    shown = b""
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 4096):
            shown += part
    os.close(terminal)
    return shown.decode()


def test_a_stack_trace_on_a_terminal_shows_no_values(tmp_path: Path) -> None:
    """Neither a URL of Redis, which may hold its password, nor anything else that a function was handed."""
    program = tmp_path / "a program.py"
    program.write_text(PROGRAM)
    ours, its = pty.openpty()
    environ = os.environ | {"THE_URL": "redis://:hunter2@host", "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, program], env=environ, stderr=its) as process:
        os.close(its)
        shown = read_to_the_end(ours)
    assert process.returncode == 0
    assert "it failed" in shown
    assert "in connect" in shown
    assert "no such thing" in shown
    assert "hunter2" not in shown
