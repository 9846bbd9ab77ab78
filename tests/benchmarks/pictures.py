"""Pictures of what was measured: bars as long as the medians, with a line from the least to the most of the rounds.

They are drawn by `picture` in an environment of its own, so that matplotlib is no dependency of the project.
"""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tests.benchmarks.environments import peer_python

PROGRAMS = Path(__file__).absolute().parent
DRAW_S = 120.0


class Chart(msgspec.Struct, frozen=True):
    """One group of bars: what was measured, in what, of each side the value of each round, and which sides are ours."""

    title: str
    unit: str
    values: Mapping[str, Sequence[float]]
    ours: Sequence[str]


def draw(charts: Sequence[Chart], caption: str, path: Path) -> None:
    """Draw the charts one below the other, as SVG.

    Raises:
        NoEnvironmentError: matplotlib cannot be installed here.
    """
    python = peer_python("matplotlib", "3.11", "matplotlib==3.*")
    told = msgspec.json.encode({"charts": charts, "caption": caption})
    command = [str(python), str(PROGRAMS), "picture", str(path)]
    subprocess.run(command, input=told, check=True, timeout=DRAW_S, cwd=PROGRAMS.parent.parent)
