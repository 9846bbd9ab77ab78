"""Renders templates: everything from data is escaped, and numbers, times and durations are for people."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from reckoner.producer.formats import format_count, format_duration, format_mebibytes, format_time
from reckoner.producer.http.page.charts import interval, spark_line
from reckoner.producer.sentences import job_in_words, list_called, stage_sentence
from reckoner.shared.terminal import plain

HERE = Path(__file__).parent
FILES: Final[Mapping[str, str]] = {
    "style.css": "text/css; charset=utf-8",
    "script.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def render(template: str, context: Mapping[str, Any]) -> str:
    """The text of a template."""
    return _environment().get_template(template).render(context)


@cache
def static_file(name: str) -> tuple[bytes, str]:
    """The contents of a file of the page, and a hash of them."""
    data = (HERE / "static" / name).read_bytes()
    return data, sha256(data).hexdigest()[:12]


def static_url(name: str) -> str:
    """Where a file of the page is: another version has another address, so that browsers may keep it."""
    return f"/page/{name}?version={static_file(name)[1]}"


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=_visible,
    )
    made.filters |= {
        "count": format_count,
        "duration": format_duration,
        "mebibytes": format_mebibytes,
        "number": lambda value: f"{value:,}",
        "share": lambda value: f"{value:.1%}",
        "when": _when,
        "code": _code,
        "job": job_in_words,
        "list_called": list_called,
    }
    # Browsers change line breaks in forms; links keep them.
    made.tests["plain"] = lambda text: plain(text) == text
    made.globals |= {
        "figure": figure,
        "static": static_url,
        "spark_line": spark_line,
        "interval": interval,
        "stage_sentence": stage_sentence,
        "as_share": lambda value: f"{value:.1%}",
        "as_number": lambda value: f"{value:,.0f}",
        "as_seconds": lambda value: format_duration(value * 1000),
        "as_duration": format_duration,
    }
    return made


def _visible(value: Any) -> Any:
    """Text without characters that are invisible or reverse a line; an id may hold any."""
    return plain(value) if type(value) is str else value


def figure(name: str, value: float | None, text: str | None = None) -> Markup:
    """A figure of `reckoner status --json`, by its path there, as `text` or as it is."""
    shown = f"{value:,}" if text is None else text
    return Markup('<data value="{}" data-figure="{}">{}</data>').format(value, name, shown)


def _code(sentence: str) -> Markup:
    """A sentence with its commands, which are in backticks, as code."""
    parts = [escape(plain(part)) for part in sentence.split("`")]
    closed = len(parts) % 2 == 1
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if closed and at % 2 else part for at, part in enumerate(parts)
    )


def _when(ms: float | None) -> Markup | str:
    """A time in milliseconds since 1970, to the minute; its title is exact."""
    if ms is None:
        return ""
    try:
        exact = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return format_time(ms)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        exact, format_time(ms, exact=True), format_time(ms)
    )
