"""Logs: errors are shown on a terminal too, and no text that may hold a secret."""

import os
import sys
from pathlib import Path

import pytest

from tests.terminals import SWEEP, moving, show

PROGRAM = """
import os, structlog
from reckoner.shared.logs import configure_logs

def connect(url):
    raise ValueError("no such thing")

configure_logs("INFO")
try:
    connect(os.environ["THE_URL"])
except ValueError:
    structlog.get_logger().exception("it failed")
"""


def test_a_stack_trace_on_a_terminal_shows_no_values(tmp_path: Path) -> None:
    """Neither a URL of Redis, which may hold its password, nor anything else that a function was handed."""
    program = tmp_path / "a program.py"
    program.write_text(PROGRAM)
    environ = os.environ | {"THE_URL": "redis://:hunter2@host", "PYTHONPATH": os.pathsep.join(sys.path)}
    code, shown = show([sys.executable, program], environ)
    assert code == 0
    assert "it failed" in shown
    assert "in connect" in shown
    assert "no such thing" in shown
    assert "hunter2" not in shown


# Everything that a log line can hold: of ours, of what libraries log, and of the errors of both.
ANYTHING = """
import logging, os, structlog
from reckoner.shared.logs import configure_logs

class Odd:
    def __repr__(self):
        return SWEEP

configure_logs("INFO")
log = structlog.get_logger()
log.info(SWEEP, job=SWEEP, word="\\x1bA\\x9bB", jobs=[SWEEP, (SWEEP,), {SWEEP: {SWEEP}}], odd=Odd())
logging.getLogger("a library").warning("job %s", SWEEP)
for logger in (log, logging.getLogger("a library")):
    try:
        raise ValueError(SWEEP) from KeyError(Odd())
    except ValueError as error:
        logger.exception("it failed")
        logger.warning("again", **({"error": error} if logger is log else {}), exc_info=True)
log.info("the last", host="häuschen", count=3, share=0.5, given=None, ended=True)
"""


def test_nothing_in_a_log_on_a_terminal_moves_the_cursor(tmp_path: Path) -> None:
    """Every control and format character there is, in every place; colours and the lines of traces stay."""
    program = tmp_path / "a program.py"
    program.write_text(f"SWEEP = {SWEEP!a}\n{ANYTHING}")
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    code, shown = show([sys.executable, program], environ)
    assert code == 0, shown
    assert moving(shown) == []
    assert shown.count("Traceback (most recent call last)") == 4
    assert all(
        part in shown for part in ("\\t\\n\\x0b", "\\x1bA", "häuschen", "count", "0.5", "None", "True", "the last")
    )


@pytest.mark.parametrize("character", ["\x1b", "\x9b", "\u202e"])
def test_a_workers_messages_move_no_cursor(tmp_path: Path, character: str) -> None:
    """Its arguments and variables may hold any characters."""
    command = [sys.executable, "-m", "reckoner.workers", "--healthcheck"]
    for arguments, variables in (([f"--{character}"], {}), ([], {f"RECKONER_{character}": "1"})):
        environ = os.environ | {"RECKONER_HOME": str(tmp_path)} | variables
        code, shown = show([*command, *arguments], environ)
        assert code == 2, shown
        assert moving(shown) == []
        assert repr(character)[1:-1] in shown
