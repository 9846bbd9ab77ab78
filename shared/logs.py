"""Structured logs on standard error: readable on a terminal, one JSON object a line otherwise."""

import logging
import sys
from collections.abc import Mapping
from typing import Any

import structlog

from reckoner.shared.terminal import plain, plain_lines

# The fields of an event with several lines.
TRACES = {"exception", "stack"}


def configure_logs(level: str) -> None:
    """Log our events, and those of libraries, to standard error."""
    for_people = sys.stderr.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=not for_people),
    ]
    # structlog's own tracebacks show local variables, and the URL of Redis is one.
    shared.append(structlog.processors.format_exc_info)
    rendering: list[structlog.typing.Processor] = [structlog.processors.JSONRenderer()]
    if for_people:
        rendering = [_plain_event, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
            foreign_pre_chain=shared,
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # arq logs the arguments of each job, which may be private.
    logging.getLogger("arq").setLevel(max(logging.WARNING, logging.getLevelName(level)))


def _plain_event(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Escape control characters in an event; the renderer adds its colours later."""
    return {name: plain_lines(value) if name in TRACES else _plain_value(value) for name, value in event.items()}


def _plain_value(value: Any) -> Any:
    match value:
        case str():
            return plain(value)
        case Mapping():
            return {_plain_value(key): _plain_value(each) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain_value(each) for each in value]
        case None | bool() | int() | float() | bytes():
            return value
        case _:
            return plain(str(value))
