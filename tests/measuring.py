"""A benchmark's command, run once on small data."""

import subprocess
import sys

from tests.patience import PATIENCE_S
from tests.processes import environment
from tests.root import ROOT

RESULTS = ROOT / "tests" / "benchmarks" / "results"


def measured(program: str, *arguments: str) -> str:
    """The output of a benchmark whose part is measured once."""
    command = [sys.executable, "tests/benchmarks", program, "--rounds", "1", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    # 1 means that a target was missed.
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def kept() -> dict[str, bytes]:
    """The kept results."""
    return {path.name: path.read_bytes() for path in RESULTS.glob("*")}
