"""Charts of the results: a bar for the median, with a line from the smallest to the largest round.

`picture` draws them in its own environment, so the project does not depend on matplotlib.
"""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tests.benchmarks.environments import peer_python

PROGRAMS = Path(__file__).absolute().parent
DRAW_S = 120.0


class Chart(msgspec.Struct, frozen=True):
    """A group of bars: a title, a unit, each side's values by round, and our sides."""

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
