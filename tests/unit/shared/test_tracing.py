"""Contexts and spans, with OpenTelemetry and without it."""

import asyncio
import subprocess
import sys
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from reckoner.shared import tracing
from reckoner.shared.tracing import NO_SPAN, called_by, caller, checked, configure_traces, link, span

if TYPE_CHECKING:
    from collections.abc import Sequence

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = f"00-{TRACE}-{SPAN}-01"
INVALID = [
    "",
    "nonsense",
    f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE.upper()}-{SPAN}-01",
    f"ff-{TRACE}-{SPAN}-01",
    f"{GIVEN}\n",
    f"{GIVEN}-more",
]


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Where spans go, for this test alone."""
    exported, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exported


def named(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    spans: Sequence[ReadableSpan] = exporter.get_finished_spans()
    return {each.name: each for each in spans}


def test_a_valid_context_stays_and_an_invalid_one_is_none() -> None:
    """As W3C has it, version 00."""
    assert checked(GIVEN) == GIVEN
    assert [checked(each) for each in INVALID] == [""] * len(INVALID)
    for header in (None, b"", b"nonsense", b"\xff\xfe"):
        with called_by(header):
            assert caller() == ""


def test_without_a_caller_there_is_no_span(exporter: InMemorySpanExporter) -> None:
    """Nothing is made for background work."""
    assert span("enqueue") is NO_SPAN
    assert span("split", "") is NO_SPAN
    assert caller() == ""
    assert exporter.get_finished_spans() == ()


def test_a_span_is_below_the_current_one_and_names_itself_to_those_that_follow(exporter: InMemorySpanExporter) -> None:
    """Also over a header of the same request."""
    with called_by(GIVEN.encode()), trace.get_tracer("shop").start_as_current_span("page"):
        enqueuing = span("enqueue", role="PRODUCER", attributes={"lane": "click"})
        with enqueuing as started:
            inside = caller()
            link(started, GIVEN)
            link(started, "nonsense")
    found = named(exporter)
    enqueue, page = found["reckoner enqueue"], found["page"]
    assert enqueue.parent == page.context
    assert enqueue.context is not None
    made = f"00-{enqueue.context.trace_id:032x}-{enqueue.context.span_id:016x}-{enqueue.context.trace_flags:02x}"
    assert inside == made == checked(made)
    assert (enqueue.kind, dict(enqueue.attributes or {})) == (trace.SpanKind.PRODUCER, {"reckoner.lane": "click"})
    assert [f"{each.context.span_id:016x}" for each in enqueue.links] == [SPAN]


def test_a_header_is_the_parent_where_no_span_is_current(exporter: InMemorySpanExporter) -> None:
    """For the block alone, and other tasks see none."""
    with called_by(GIVEN.encode()):
        assert caller() == GIVEN
        with span("wait", current=False):
            assert caller() == GIVEN
    assert caller() == ""
    with span("split", GIVEN, "CONSUMER"), span("kernel"):
        pass
    found = named(exporter)
    for name in ("reckoner wait", "reckoner split"):
        parent = found[name].parent
        assert parent is not None
        assert (f"{parent.trace_id:032x}", f"{parent.span_id:016x}", parent.is_remote) == (TRACE, SPAN, True)
    assert found["reckoner kernel"].parent == found["reckoner split"].context


def test_an_error_is_named_without_its_message(exporter: InMemorySpanExporter) -> None:
    """Which may hold an id. A hand-back is no error."""
    for error in (ValueError("user 42"), asyncio.CancelledError()):
        with pytest.raises(type(error)), span("chunk", GIVEN):
            raise error
    failed, stopped = exporter.get_finished_spans()
    assert (failed.status.status_code, failed.status.description) == (trace.StatusCode.ERROR, "ValueError")
    assert (failed.events, stopped.status.status_code) == ((), trace.StatusCode.UNSET)


def test_nothing_is_imported_for_it() -> None:
    """Neither at the start nor for a span: without OpenTelemetry in the process there is none."""
    program = (
        "import sys, reckoner\n"
        "from reckoner.shared.tracing import NO_SPAN, called_by, caller, span\n"
        f"with called_by({GIVEN.encode()!r}):\n"
        f"    assert caller() == {GIVEN!r} and span('enqueue') is NO_SPAN and span('split', {GIVEN!r}) is NO_SPAN\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_process_is_set_up_by_the_installed_distribution_if_it_is_to_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise nothing is looked for."""
    configured = list[str]()

    class Distribution:
        def configure(self) -> None:
            configured.append("here")

    found = [EntryPoint("a distribution", "tests", "opentelemetry_configurator")]
    monkeypatch.setattr(EntryPoint, "load", lambda _: Distribution)
    monkeypatch.setattr(tracing, "entry_points", lambda group: found if group == found[0].group else [])
    assert configure_traces({})
    assert configure_traces({"OTEL_TRACES_EXPORTER": "none"})
    assert configured == []
    assert configure_traces({"OTEL_TRACES_EXPORTER": "otlp"})
    assert configured == ["here"]
    monkeypatch.setattr(tracing, "entry_points", lambda group: [])
    assert not configure_traces({"OTEL_TRACES_EXPORTER": "otlp"})
