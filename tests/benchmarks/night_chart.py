"""Draws users per second by the number of workers as SVG, without a library."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

import msgspec

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 80, 20, 40, 70
OURS, IDEAL, GRID = "#c2410c", "#94a3b8", "#e2e8f0"
MARGIN = 8
LINES = 4


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """What so many workers do, medians of all rounds; None where a measurement failed."""

    workers: int
    users_per_second: float | None
    workers_us: float | None
    """CPU of the workers a user, in microseconds."""
    server_us: float | None
    server_share: float | None
    """The server's CPU, as a part of one core."""
    fit_s: float | None


def draw(points: Sequence[Scaling], caption: str) -> str:
    """The chart: a line of the measured speeds, and a dashed one of the first point's speed for each worker."""
    measured = [(it.workers, it.users_per_second) for it in points if it.users_per_second]
    if not measured:
        raise ValueError("no speed was measured")
    most_workers, most = measured[-1][0], max(speed for _, speed in measured)
    step = _round_up(most / LINES)
    top = step * LINES

    def x(workers: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * workers / most_workers

    def y(speed: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * speed / top

    def text(at_x: float, at_y: float, words: str, anchor: str = "middle", size: int = 12) -> str:
        return f'<text x="{at_x:.1f}" y="{at_y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'

    def line(ends: Sequence[tuple[float, float]], colour: str, more: str = "") -> str:
        places = " ".join(f"{x(workers):.1f},{y(speed):.1f}" for workers, speed in ends)
        return f'<polyline points="{places}" fill="none" stroke="{colour}" {more}/>'

    parts = [text(LEFT, 22, "All users' lists: users per second by worker processes", "start", 14)]
    for number in range(LINES + 1):
        parts += [line([(0, number * step), (most_workers, number * step)], GRID)]
        parts += [text(LEFT - 8, y(number * step) + 4, f"{number * step:,.0f}", "end")]
    alone = measured[0][1] / measured[0][0]
    reach = min(most_workers, top / alone)
    parts += [line([(0, 0), (reach, reach * alone)], IDEAL, 'stroke-dasharray="6 4"')]
    parts += [line(measured, OURS, 'stroke-width="2.5"')]
    for workers, speed in measured:
        parts += [f'<circle cx="{x(workers):.1f}" cy="{y(speed):.1f}" r="4" fill="{OURS}"/>']
        parts += [text(x(workers), HEIGHT - BOTTOM + 18, str(workers))]
    parts += [
        text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 36, "worker processes (dashed: if each did as the first)")
    ]
    parts += [text(MARGIN, HEIGHT - 10, caption, "start", 8)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"'
    return (
        "\n".join([f'{head} fill="#334155">', '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>"])
        + "\n"
    )


def _round_up(value: float) -> float:
    """The next number of 1, 2, 2.5 or 5 times a power of ten."""
    power = 10.0 ** (len(str(int(value))) - 1)
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= value)
