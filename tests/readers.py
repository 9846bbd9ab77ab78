"""The examples of the reading contract, in the languages that are installed with a client for Redis."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.root import ROOT

# The Makefile installs the package of the example for Node here.
MODULES = Path(sys.prefix) / "node" / "node_modules"
# Each language's program, and a command that succeeds if its Redis client is installed.
LANGUAGES = {
    "read.mjs": ("node", ["node", "--version"]),
    "read.php": ("php", ["php", "-r", "exit(class_exists('Redis') ? 0 : 1);"]),
    "read.rb": ("ruby", ["ruby", "-e", "require 'redis'"]),
}
INSTALLED = [
    name
    for name, (program, probe) in LANGUAGES.items()
    if shutil.which(program) and not subprocess.run(probe, capture_output=True, check=False).returncode
]


def reader(name: str, directory: Path) -> list[str]:
    """The command of an example, which is copied into `directory`."""
    assert MODULES.is_dir(), "the example needs the package `redis`: make test-node installs it"
    if not (directory / "node_modules").is_symlink():
        (directory / "node_modules").symlink_to(MODULES)
    program = shutil.which(LANGUAGES[name][0]) or ""
    return [program, str(shutil.copy(str(ROOT / "docs" / "examples" / name), directory))]
