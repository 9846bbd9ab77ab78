"""Jobs: lists that are asked for now and read later."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from reckoner.producer.http.calls import Call
from reckoner.producer.http.fields import Fresh, Id, Ids
from reckoner.producer.http.problems import ProblemError
from reckoner.producer.http.routes import Nothing, Route
from reckoner.producer.objects import job_object, run_object
from reckoner.shared.errors import FlowUnknownError
from reckoner.shared.wire.shapes import BlockSpec, Lane, StoreSpec


class NewJobs(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose lists are to be computed: those of users, or that of a basket's items."""

    users: Ids = ()
    items: Annotated[Ids, Meta(description="A basket's items, instead of users.")] = ()
    fresh: Fresh = False
    lane: Annotated[Lane, Meta(description="`click` goes before `batch`.")] = "batch"


class NewJob(Struct, frozen=True):
    """The job that computes a list, null if the list is in the cache; `user` is null for a basket."""

    user: str | None
    job: str | None


class Jobs(Struct, frozen=True):
    """A job for each user, or one for the basket."""

    jobs: list[NewJob]


class OfJob(Struct, frozen=True):
    """Which job or run."""

    id: Annotated[Id, Meta(description="The id of a job or a run.")]


class Cancelled(Struct, frozen=True):
    """Whether it was cancelled; false if it had ended before."""

    cancelled: bool


async def enqueue(call: Call, _: Nothing) -> Jobs:
    """Enqueue jobs.

    Raises:
        ProblemError: there are neither users nor items, or both.
    """
    asked = call.body(NewJobs)
    if bool(asked.users) == bool(asked.items):
        raise ProblemError("invalid-parameter", "Give users or items, and not both.")
    if asked.items:
        if asked.fresh:
            raise ProblemError("invalid-parameter", "fresh is for users. A basket's list is kept for an hour.")
        found = await call.reckoner.enqueue_for(list(asked.items), lane=asked.lane, timeout=call.left_s)
        return Jobs([NewJob(None, found.job)])
    users = await call.reckoner.enqueue_many(list(asked.users), fresh=asked.fresh, lane=asked.lane, timeout=call.left_s)
    return Jobs([NewJob(one.user, one.job) for one in users])


async def job(call: Call, asked: OfJob) -> dict[str, Any]:
    """The state of a job or a run."""
    try:
        return job_object(await call.reckoner.job(asked.id, timeout=call.left_s))
    except FlowUnknownError:
        report = await call.reckoner.operator.run(asked.id, timeout=call.left_s)
        return run_object(report.run) | {"blocks_done": report.blocks_done}


async def cancel(call: Call, asked: OfJob) -> Cancelled:
    """Cancel a job or a run. What belongs to a run or a fit needs the role of who starts these.

    Raises:
        ProblemError: the role is too low.
    """
    if call.identity is None or not call.identity.may("admin"):
        # A run is no job of this call's: it is not found.
        found = await call.reckoner.job(asked.id, timeout=call.left_s)
        if isinstance(found.flow.spec, BlockSpec | StoreSpec):
            raise ProblemError("role-too-low", "This job belongs to a run or a fit, which needs the role admin.")
    return Cancelled(await call.reckoner.cancel(asked.id, timeout=call.left_s))


ROUTES = (
    Route(
        method="POST",
        path="/v1/jobs",
        role="write",
        handle=enqueue,
        summary="Enqueue jobs for the lists of users, or for a basket's, that are not in the cache.",
        body=NewJobs,
        answer=Jobs,
        status=202,
        example={"body": {"users": ["601", "42"], "fresh": True}},
        problems=("queue-full", "no-model"),
    ),
    Route(
        method="GET",
        path="/v1/jobs/{id}",
        role="read",
        handle=job,
        summary="The state of a job or a run, as `reckoner job --json` prints it. It expires an hour after its end.",
        asked=OfJob,
        answer=dict[str, Any],
        problems=("job-unknown",),
    ),
    Route(
        method="DELETE",
        path="/v1/jobs/{id}",
        role="write",
        handle=cancel,
        summary="Cancel a job or a run for all its callers.",
        asked=OfJob,
        answer=Cancelled,
        problems=("job-unknown",),
    ),
)
