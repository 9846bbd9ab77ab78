"""Structured logs on standard error: for people on a terminal, one JSON object a line otherwise."""

import logging
import sys

import structlog


def configure_logs(level: str) -> None:
    """Send our events, and what libraries log, to standard error."""
    for_people = sys.stderr.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=not for_people),
    ]
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if for_people:
        # Not the one that structlog takes by itself, which shows what local variables hold: the URL of Redis is one.
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    else:
        shared.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer], foreign_pre_chain=shared
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # arq logs each job with its arguments; what we log has ids and sizes.
    logging.getLogger("arq").setLevel(max(logging.WARNING, logging.getLevelName(level)))
