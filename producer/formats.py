"""Counts, durations, times and sizes for people."""


def format_count(count: int, noun: str) -> str:
    """A count with its noun: `3 users`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def format_duration(ms: float) -> str:
    """A duration for people: tenths of a second below 10 s, whole units above."""
    if ms < 9_950:
        return f"{ms / 1000:.1f} s"
    for unit, unit_ms, most in (("s", 1000, 120), ("min", 60_000, 120), ("h", 3_600_000, 48)):
        if ms < most * unit_ms:
            return f"{ms / unit_ms:.0f} {unit}"
    return f"{ms / 86_400_000:,.0f} d"


def format_time(ms: float, *, exact: bool = False) -> str:
    """Milliseconds since the epoch as local time: to the minute, or `exact` to the millisecond."""
    from datetime import datetime

    try:
        at = datetime.fromtimestamp(ms / 1000).astimezone()
        return at.isoformat(" ", "milliseconds") if exact else f"{at:%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return "at an invalid time"


def format_mebibytes(count: int) -> str:
    """A number of bytes in MiB."""
    return f"{count / 2**20:,.1f} MiB"
