"""JSON objects of the client's answers, alike for commands, the HTTP API and the page."""

from typing import TYPE_CHECKING, Any

import msgspec

from reckoner.shared.wire.shapes import (
    BasketSpec,
    BlockSpec,
    EvaluationSpec,
    FitSpec,
    HistorySpec,
    SimilarSpec,
    UserSpec,
)

if TYPE_CHECKING:
    from reckoner.producer.client.answers import JobReport
    from reckoner.producer.client.status import RunNow, Status
    from reckoner.shared.flows.heartbeats import LiveWorker
    from reckoner.shared.flows.nights import Night
    from reckoner.shared.flows.run_state import Run
    from reckoner.shared.serving.history import Entry


def status_object(now: "Status", imported: str | None) -> dict[str, Any]:
    """The JSON object for the status; `imported` is the current snapshot of the store."""
    return {
        "server": now.server,
        "server_version": now.server_version,
        "redis_memory_bytes": now.redis_memory_bytes,
        "redis_memory_max_bytes": now.redis_memory_max_bytes,
        "workers": list(map(worker_object, now.workers)),
        "silent": [{"worker": each.worker, "age_ms": each.age_ms} for each in now.silent],
        "queued": now.queued,
        "lanes": {
            lane: {
                "waiting": queue.waiting,
                "running": queue.running,
                "oldest_waiting_ms": queue.oldest_ms,
                "paused": queue.paused_ms is not None,
                "paused_ms": queue.paused_ms,
            }
            for lane, queue in now.queues.items()
        },
        "flows": now.flows,
        "runs": list(map(_run_now_object, now.runs)),
        "night": now.night and night_object(now.night),
        "generation": now.generation,
        "previous": now.previous,
        "newest": now.newest,
        "damage": now.damage,
        "generations": {
            name: record
            and {
                "model": record.model,
                "snapshot": record.snapshot,
                "made_ms": record.made_ms,
                "users": record.users,
                "list_length": record.options.list_length,
                "recency": record.options.recency or 0.0,
            }
            for name, record in now.records.items()
        },
        "results": now.results,
        "holdings": {
            name: {"lists": each.lists, "empty": each.empty, "until_ms": each.until_ms}
            for name, each in now.holdings.items()
        },
        "barred": now.barred,
        "estimated": now.estimated,
        "events": now.events,
        "hidden_items": now.hidden_items,
        "stale_lists": now.stale_lists,
        "dead": now.dead,
        "refused": now.refused,
        "refused_total": sum(now.refused.values()),
        "imported_snapshot": imported,
    }


def worker_object(worker: "LiveWorker") -> dict[str, Any]:
    """The JSON object for a worker."""
    beat = worker.beat
    return {
        "worker": worker.worker,
        "age_ms": worker.age_ms,
        "host": beat and beat.host,
        "pid": beat and beat.pid,
        "version": beat and (beat.version or None),
        "up_ms": worker.up_ms,
        "memory_bytes": beat and beat.memory_bytes,
        "lease_ms": beat and (beat.lease_ms or None),
        "draining": beat and beat.draining,
        "trouble": beat and (beat.trouble or None),
        "jobs": [{"job": job, "running_ms": ms} for job, ms in worker.running_ms.items()],
    }


def _run_now_object(now: "RunNow") -> dict[str, Any]:
    return run_object(now.run) | {
        "blocks_done": now.blocks_done,
        "users": now.run.users,
        "users_done": now.users_done,
        "age_ms": now.age_ms,
        "users_per_second": round(now.users_per_second, 3),
    }


def run_object(run: "Run") -> dict[str, Any]:
    """The JSON object for a run."""
    return {
        "run": run.id,
        "kind": "run",
        "state": run.state,
        "outcome": run.outcome or None,
        "generation": run.generation,
        "blocks": run.blocks,
        "block_size": run.block_size,
        "created_ms": run.started_ms,
        "ended_ms": run.ended_ms,
        "manifest": None if run.manifest is None else msgspec.to_builtins(run.manifest),
    }


def job_object(report: "JobReport") -> dict[str, Any]:
    """The JSON object for a job, with its tasks."""
    flow, spec = report.flow, report.flow.spec
    shown: dict[str, Any] = {"job": flow.id, "kind": type(spec).__struct_config__.tag, "lane": flow.lane}
    shown["state"] = flow.state
    match spec:
        case UserSpec() | HistorySpec():
            shown |= {"user": spec.user, "generation": spec.generation}
        case BasketSpec():
            shown |= {"basket": spec.items, "generation": spec.generation}
        case SimilarSpec():
            shown |= {"item": spec.item, "other": spec.other, "generation": spec.generation}
        case BlockSpec():
            shown |= {"run": flow.run, "block": flow.block, "generation": spec.generation}
        case FitSpec():
            shown |= {"snapshot": spec.snapshot, "generation": flow.answer.decode(errors="replace") or None}
        case EvaluationSpec():
            shown |= {"snapshot": spec.snapshot, "model": spec.model}
    return shown | {
        # Unknown for a flow that could not be decoded.
        "created_ms": flow.created_ms or None,
        "ended_ms": flow.ended_ms,
        "tasks_planned": flow.tasks,
        "tasks_done": report.tasks_done,
        "reason": flow.reason or None,
        "tasks": [
            {"task": index, "worker": trace.worker, "started_ms": trace.started_ms, "ended_ms": trace.ended_ms}
            for index, trace in sorted(report.traces.items())
        ],
    }


def night_object(night: "Night") -> dict[str, Any]:
    """The JSON object for a night."""
    return {
        "night": night.id,
        "date": night.date,
        "starter": night.starter,
        "outcome": night.outcome,
        "started_ms": night.started_ms,
        "ended_ms": night.ended_ms,
        "stages": [msgspec.to_builtins(stage) for stage in night.stages.values()],
    }


def entry_object(entry: "Entry") -> dict[str, object]:
    """The JSON object for an entry."""
    fields: dict[str, object] = msgspec.structs.asdict(entry)
    return fields | {"took_s": entry.took_s}
