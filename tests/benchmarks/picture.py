"""Draws charts from JSON on standard input, in an environment with matplotlib and nothing of ours."""

import json
import statistics
import sys
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BAR_INCHES, CHART_INCHES, WIDTH_INCHES = 0.32, 0.9, 8.0
OURS, THEIRS = "#c2410c", "#94a3b8"


def main() -> int:
    """Draw them into the named file."""
    told = json.load(sys.stdin)
    charts = [chart for chart in told["charts"] if any(chart["values"].values())]
    # Equal figures make equal files.
    matplotlib.rcParams.update({"svg.hashsalt": "kernels", "svg.fonttype": "none", "font.size": 9})
    heights = [CHART_INCHES + BAR_INCHES * len(chart["values"]) for chart in charts]
    figure = Figure(figsize=(WIDTH_INCHES, sum(heights) + 0.3), layout="constrained")
    every = figure.subplots(len(charts), 1, squeeze=False, height_ratios=heights)
    for axes, chart in zip(every.flat, charts, strict=True):
        _bars(axes, chart)
    figure.supxlabel(told["caption"], fontsize=6)
    figure.savefig(sys.argv[1], metadata={"Date": None})
    return 0


def _bars(axes: Axes, chart: dict[str, Any]) -> None:
    sides = {name: values for name, values in chart["values"].items() if values}
    medians = [statistics.median(values) for values in sides.values()]
    below = [median - min(values) for median, values in zip(medians, sides.values(), strict=True)]
    above = [max(values) - median for median, values in zip(medians, sides.values(), strict=True)]
    colours = [OURS if name in chart["ours"] else THEIRS for name in sides]
    bars = axes.barh(list(sides), medians, xerr=[below, above], color=colours, capsize=3, height=0.7)
    axes.bar_label(bars, [f"{median:.2f}" for median in medians], padding=4)
    axes.set(title=chart["title"], xlabel=chart["unit"])
    axes.set_xmargin(0.12)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
