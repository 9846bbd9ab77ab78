"""Traces: the W3C context of a job's caller, and spans through OpenTelemetry's API in processes that have loaded it.

Nothing is imported for it: who has a current span has loaded the API already, and so has a process that exports spans.
Spans hold no ids of users or items. Context: https://www.w3.org/TR/trace-context/#traceparent-header
"""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, Literal

TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
Role = Literal["INTERNAL", "PRODUCER", "CONSUMER"]

NO_DISTRIBUTION = "OTEL_TRACES_EXPORTER is set, but no package such as opentelemetry-distro is installed"

# Where a caller is known by a header only.
_given: ContextVar[str] = ContextVar("traceparent", default="")
NO_SPAN: AbstractContextManager[None] = nullcontext()
NOTHING: Mapping[str, str | int] = MappingProxyType({})


def configure_traces(environ: Mapping[str, str]) -> bool:
    """Let the installed distribution of OpenTelemetry set up this process, if its variables ask for an exporter.

    Returns:
        False if they do, but none is installed.
    """
    if environ.get("OTEL_TRACES_EXPORTER", "none") == "none":
        return True
    configurators = entry_points(group="opentelemetry_configurator")
    for configurator in configurators:
        configurator.load()().configure()
    return bool(configurators)


def end_traces() -> None:
    """Export the spans that are left, before an exit that runs no other code."""
    api: Any = sys.modules.get("opentelemetry.trace")
    shutdown = api and getattr(api.get_tracer_provider(), "shutdown", None)
    if shutdown:
        shutdown()


def checked(traceparent: str) -> str:
    """A context that was read, empty if it is invalid."""
    return traceparent if TRACEPARENT.fullmatch(traceparent) else ""


def called_by(header: bytes | None) -> AbstractContextManager[None]:
    """Whatever is asked in the block is asked by the caller who sent this header."""
    found = checked(header.decode("latin-1")) if header else ""
    return _called_by(found) if found else NO_SPAN


@contextmanager
def _called_by(traceparent: str) -> Iterator[None]:
    token = _given.set(traceparent)
    try:
        yield
    finally:
        _given.reset(token)


def caller() -> str:
    """The context of the current span, or of the caller; empty without one."""
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is not None and (current := api.get_current_span().get_span_context()).is_valid:
        return f"00-{current.trace_id:032x}-{current.span_id:016x}-{current.trace_flags:02x}"
    return _given.get()


def span(
    name: str,
    parent: str | None = None,
    role: Role = "INTERNAL",
    attributes: Mapping[str, str | int] = NOTHING,
    *,
    current: bool = True,
) -> AbstractContextManager[Any]:
    """A span during the block, below the `parent`, by default the caller; None and no span without either.

    Attributes get the prefix `reckoner.`. The span is the current one in the block unless `current` is False, as in
    generators. An error sets its status to the type's name, since messages may be private.
    """
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None:
        return NO_SPAN
    above = None
    if parent is not None or not api.get_current_span().get_span_context().is_valid:
        remote = _given.get() if parent is None else parent
        if not remote:
            return NO_SPAN
        above = api.set_span_in_context(api.NonRecordingSpan(_remote(api, remote)))
    return _span(api, name, above, role, current, attributes)


@contextmanager
def _span(
    api: Any, name: str, above: Any, role: Role, current: bool, attributes: Mapping[str, str | int]
) -> Iterator[Any]:
    started = api.get_tracer("reckoner").start_span(
        f"reckoner {name}",
        above,
        getattr(api.SpanKind, role),
        {f"reckoner.{attribute}": value for attribute, value in attributes.items()},
    )
    inside = api.use_span(started, record_exception=False, set_status_on_exception=False) if current else NO_SPAN
    try:
        with inside:
            yield started
    except Exception as error:
        started.set_status(api.Status(api.StatusCode.ERROR, type(error).__name__))
        raise
    finally:
        started.end()


def link(started: Any, traceparent: str) -> None:
    """Link a span to another context, if that is valid."""
    if checked(traceparent):
        started.add_link(_remote(sys.modules["opentelemetry.trace"], traceparent))


def _remote(api: Any, traceparent: str) -> Any:
    _, trace_id, span_id, flags = traceparent.split("-")
    return api.SpanContext(int(trace_id, 16), int(span_id, 16), True, api.TraceFlags(int(flags, 16)))
