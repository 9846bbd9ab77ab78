"""Traces across processes: the caller's context reaches the workers, and theirs are in the caller's trace."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from reckoner import SyncReckoner
from reckoner.shared.redis.scripts import ask
from tests.patience import PATIENCE_S
from tests.processes import started
from tests.root import ROOT
from tests.system import System, eventually, synthetic_pairs

pytestmark = pytest.mark.long

USER = "üser 001"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
# What a distribution of OpenTelemetry is to a process.
DISTRIBUTION = """
import json, os
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor

class Distribution:
    def configure(self):
        provider, file = TracerProvider(), open({file!r}, "a", buffering=1)
        line = lambda span: json.dumps(json.loads(span.to_json())) + "\\n"
        exporter = ConsoleSpanExporter(out=file, formatter=line)
        if "EXPORT_AT_EXIT" in os.environ:
            provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=3_600_000))
        else:
            provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
"""


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Where the spans of this process go."""
    exported, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exported


class Spans:
    """The spans of workers."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def of(self, trace_id: str) -> list[dict[str, Any]]:
        """Those of a trace."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [each for each in map(json.loads, lines) if each["context"]["trace_id"] == f"0x{trace_id}"]

    async def whole(self, trace_id: str) -> list[dict[str, Any]]:
        """Those of a trace of one job, when all its tasks have ended."""

        async def look() -> list[dict[str, Any]] | None:
            found = self.of(trace_id)
            tasks = sorted(each["name"] for each in found if each["name"] != "reckoner kernel")
            return found if tasks == ["reckoner chunk"] * 4 + ["reckoner reduce", "reckoner split"] else None

        return await eventually(look)


@asynccontextmanager
async def traced_system(place: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[System, Spans]]:
    """A system whose workers write their spans into a file."""
    packages, spans = place / "packages", Spans(place / "spans.jsonl")
    described = packages / "a_distribution-1.0.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: a-distribution\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[opentelemetry_configurator]\nc = a_distribution:Distribution\n")
    (packages / "a_distribution.py").write_text(DISTRIBUTION.format(file=str(spans.file)))
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "a file")
    async with System(place / "a home") as system:
        system.packages = (packages,)
        system.import_pairs(synthetic_pairs())
        system.start_workers(2)
        await system.fit()
        yield system, spans


async def test_a_job_is_in_the_trace_of_its_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exporter: InMemorySpanExporter
) -> None:
    """By the client, by its synchronous twin, and over HTTP without OpenTelemetry. Without a caller there is none."""
    async with traced_system(tmp_path, monkeypatch) as (system, spans), system.reckoner() as reckoner:
        with trace.get_tracer("shop").start_as_current_span("page"):
            await reckoner.recommend(USER, fresh=True, timeout=30)
        own = {each.name: each for each in exporter.get_finished_spans()}
        page, enqueue, wait = own["page"], own["reckoner enqueue"], own["reckoner wait"]
        assert enqueue.parent == wait.parent == page.context
        assert page.context is not None
        assert enqueue.context is not None
        theirs = await spans.whole(f"{page.context.trace_id:032x}")
        tasks = {each["context"]["span_id"]: each for each in theirs if each["name"] != "reckoner kernel"}
        kernels = [each for each in theirs if each["name"] == "reckoner kernel"]
        chunks = [each for each in tasks.values() if each["name"] == "reckoner chunk"]
        assert sorted(each["attributes"]["reckoner.chunk"] for each in chunks) == [0, 1, 2, 3]
        assert {each["parent_id"] for each in tasks.values()} == {f"0x{enqueue.context.span_id:016x}"}
        assert {each["parent_id"] for each in kernels} <= set(tasks)
        assert len(kernels) >= len(chunks)
        job = str((enqueue.attributes or {})["reckoner.job"])
        assert {each["attributes"]["reckoner.job"] for each in tasks.values()} == {job}
        assert USER not in json.dumps(theirs, ensure_ascii=False)

        # A second caller joins the job, and links to the first one.
        await reckoner.operator.pause("click")
        exporter.clear()
        for name in ("first", "second"):
            with trace.get_tracer("shop").start_as_current_span(name):
                asked = await reckoner.enqueue(USER, fresh=True, lane="click")
        first, _, second, _ = exporter.get_finished_spans()
        [to] = second.links
        assert first.context is not None
        assert (to.context.trace_id, to.context.span_id) == (first.context.trace_id, first.context.span_id)
        assert tuple(first.links) == ()
        kept = await ask(reckoner.redis, "HGET", system.keys.flow(str(asked.job)), "traceparent")
        assert kept.decode().split("-")[2] == f"{first.context.span_id:016x}"
        await reckoner.operator.resume("click")

        asked = await reckoner.enqueue("üser 002", fresh=True)
        async for _ in reckoner.wait([str(asked.job)]):
            pass
        assert not await ask(reckoner.redis, "HEXISTS", system.keys.flow(str(asked.job)), "traceparent")

        with trace.get_tracer("shop").start_as_current_span("thread") as thread:
            await asyncio.to_thread(_recommend, system)
        await spans.whole(f"{thread.get_span_context().trace_id:032x}")

        environ = {name: value for name, value in system.environ().items() if not name.startswith("OTEL_")}
        async with serving(environ, tmp_path / "serve.log") as http:
            answer = await http.post("/v1/events", json={"events": [{"user": USER, "item": "item:05"}]})
            assert answer.status_code == 200, answer.text
            theirs = await spans.whole(TRACE)
        assert {each["parent_id"] for each in theirs if each["name"] != "reckoner kernel"} == {f"0x{PARENT}"}


async def test_each_process_of_serve_exports_its_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that are left when it stops."""
    async with traced_system(tmp_path, monkeypatch) as (system, spans):
        path = os.pathsep.join(map(str, (ROOT, *system.packages)))
        environ = system.environ() | {"PYTHONPATH": path, "EXPORT_AT_EXIT": "1"}
        async with serving(environ, tmp_path / "serve.log", "--processes", "2") as http:
            answer = await http.post("/v1/jobs", json={"users": [USER], "fresh": True})
            assert answer.status_code == 202, answer.text

        async def look() -> dict[str, Any] | None:
            found = [each for each in spans.of(TRACE) if each["name"] == "reckoner enqueue"]
            return found[0] if found else None

        assert (await eventually(look))["parent_id"] == f"0x{PARENT}"


@asynccontextmanager
async def serving(environ: Mapping[str, str], log: Path, *options: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of `reckoner serve` that sends a context, and the end of both in good order."""
    with started("producer", "serve", "--port", "0", *options, environ=environ, log=log) as process:
        assert process.stdout is not None
        url, header = process.stdout.readline().split()[1], {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        async with httpx.AsyncClient(base_url=url, headers=header) as http:
            yield http
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0


def _recommend(system: System) -> None:
    with SyncReckoner(system.server.url, prefix=system.settings.prefix) as reckoner:
        reckoner.recommend("üser 003", fresh=True, timeout=30)


async def test_workers_without_a_distribution_say_so_and_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for each."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    async with System(tmp_path / "a home") as system:
        system.start_workers(1)
        await system.ready(1)
        assert system.log.read_text().count("traces not exported") == 1
