"""How a module of ours is started as a process of its own."""

import sys
from pathlib import Path

ROOT = Path(__file__).absolute().parents[2]


def module_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs `module` with this Python, and never one of that name in the current directory.

    A project of a user may have a module of that name. Only a checkout that is not installed, and is the current
    directory, is imported from there.
    """
    try:
        here = Path.cwd().samefile(ROOT)
    except OSError:  # the current directory was removed
        here = False
    return [sys.executable, *([] if here else ["-P"]), "-m", module, *arguments]
