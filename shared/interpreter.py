"""Starts a module of this package as a process."""

import sys
from pathlib import Path

ROOT = Path(__file__).absolute().parents[2]


def module_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs `module` with this Python.

    A module of the same name in the current directory is ignored, unless that directory is this checkout.
    """
    try:
        here = Path.cwd().samefile(ROOT)
    except OSError:  # the current directory was removed
        here = False
    return [sys.executable, *([] if here else ["-P"]), "-m", module, *arguments]
