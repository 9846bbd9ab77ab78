"""Queue: what waits, what runs, and where is my job?"""

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from reckoner.producer.http.page.screens import Seen, screen
from reckoner.producer.sentences import job_in_words
from reckoner.shared.errors import FlowUnknownError, ReckonerError

if TYPE_CHECKING:
    from reckoner.producer.http.calls import Call


class Asked(Struct, frozen=True, forbid_unknown_fields=True):
    """A job to look for."""

    job: str = ""


async def gather(call: "Call", asked: Asked, seen: Seen) -> dict[str, Any]:
    """The lanes, what runs, and a job."""
    now = await call.reckoner.operator.status(timeout=call.left_s)
    for lane, queue in now.queues.items():
        seen.add(lane, float(queue.oldest_ms or 0))
        seen.add(f"{lane} jobs", float(queue.jobs))
    running = [(job, ms, worker.worker) for worker in now.workers for job, ms in worker.running_ms.items()]
    wanted = asked.job.strip()
    return {
        "status": now,
        "seen": seen.series,
        "running": sorted(running, key=lambda job: -job[1]),
        "wanted": wanted,
        "found": await _find(call, wanted) if wanted else None,
    }


async def _find(call: "Call", job: str) -> dict[str, Any]:
    """What there is about a job or a run, or a sentence."""
    try:
        try:
            report = await call.reckoner.job(job, timeout=call.left_s)
        except FlowUnknownError:
            return {"run": await call.reckoner.operator.run(job, timeout=call.left_s)}
    except ReckonerError as error:
        return {"refusal": str(error)}
    return {"job": report, "about": job_in_words(report.flow.spec, report.flow.block)}


ROUTES = (screen("/queue", "Queue", "queue.html", gather, Asked, every_s=2.0),)
