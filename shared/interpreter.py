"""How a module of ours is started as a process of its own."""

import sys
from pathlib import Path

ROOT = Path(__file__).absolute().parent.parent


def module_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs `module` with this Python, and never one of that name in the current directory.

    There may well be a package `workers` in a user's own project. Only where ours lie in the current directory, as in a
    checkout that is not installed, the current directory is looked at.
    """
    try:
        here = Path.cwd().samefile(ROOT)
    except OSError:  # the current directory was removed
        here = False
    return [sys.executable, *([] if here else ["-P"]), "-m", module, *arguments]
