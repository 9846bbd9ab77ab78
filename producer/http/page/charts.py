"""Pictures as inline SVG, made by the server: a line over time, and an interval on a scale."""

from collections.abc import Callable, Sequence

from markupsafe import Markup

WIDTH, HEIGHT, MARGIN = 200, 40, 4


def spark_line(values: Sequence[float | None], name: str, text: Callable[[float], str]) -> Markup:
    """A line through values over time, the oldest first; None where a value is unknown.

    The scale begins at zero, unless a value is below. `text` writes a value for people. Without two values there is
    nothing to draw.
    """
    known = [(at, value) for at, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return Markup()
    low, high = min(0.0, *(value for _, value in known)), max(value for _, value in known)
    span, steps = (high - low) or 1.0, len(values) - 1
    points = [
        (
            MARGIN + at / steps * (WIDTH - 2 * MARGIN),
            HEIGHT - MARGIN - (value - low) / span * (HEIGHT - 2 * MARGIN),
        )
        for at, value in known
    ]
    some = [value for _, value in known]
    label = (
        f"{name}: {len(some)} values from {text(min(some))} to {text(max(some))}, "
        f"the first {text(some[0])}, the last {text(some[-1])}"
    )
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    last_x, last_y = points[-1]
    return Markup(
        '<svg class="spark" viewBox="0 0 {width} {height}" preserveAspectRatio="xMinYMid" role="img" '
        'aria-label="{label}"><title>{label}</title>'
        '<line class="zero" x1="0" y1="{zero:.1f}" x2="{width}" y2="{zero:.1f}"/>'
        '<polyline points="{line}"/><circle cx="{x:.1f}" cy="{y:.1f}" r="3"/></svg>'
    ).format(
        width=WIDTH,
        height=HEIGHT,
        label=label,
        line=line,
        x=last_x,
        y=last_y,
        zero=HEIGHT - MARGIN + low / span * (HEIGHT - 2 * MARGIN),
    )


def interval(mean: float, low: float, high: float, scale: tuple[float, float], label: str) -> Markup:
    """A mean with its interval, on a scale from one number to another."""
    start, end = scale
    span = (end - start) or 1.0

    def x(value: float) -> float:
        return MARGIN + (value - start) / span * (WIDTH - 2 * MARGIN)

    return Markup(
        '<svg class="interval" viewBox="0 0 {width} 16" preserveAspectRatio="xMinYMid" role="img" '
        'aria-label="{label}"><title>{label}</title>'
        '<line x1="{low:.1f}" y1="8" x2="{high:.1f}" y2="8"/><circle cx="{mean:.1f}" cy="8" r="4"/></svg>'
    ).format(width=WIDTH, label=label, low=x(low), high=x(high), mean=x(mean))
