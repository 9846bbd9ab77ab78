"""The arq jobs: the tasks that there are, their arguments, and what arq calls to turn them into bytes and back."""

from collections.abc import Mapping
from time import time
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from reckoner.shared.wire.shapes import Count, Id

# The arq function that bytes are handed to which are no job.
REFUSE = "refuse"


class Split(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The arguments of a split: plan the chunk tasks of a flow."""

    flow: Id

    name: ClassVar[str] = "split"

    @property
    def job_id(self) -> str:
        """The id of the arq job, deterministic."""
        return f"split:{self.flow}"


class Chunk(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The arguments of a chunk task: the best candidates of one range of items."""

    flow: Id
    index: Count
    round: Count

    name: ClassVar[str] = "chunk"

    @property
    def job_id(self) -> str:
        """The id of the arq job, deterministic."""
        return f"chunk:{self.flow}:{self.index}:{self.round}"


class Reduce(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The arguments of a reduce: merge the partials of a flow and publish."""

    flow: Id
    round: Count

    name: ClassVar[str] = "reduce"

    @property
    def job_id(self) -> str:
        """The id of the arq job, deterministic."""
        return f"reduce:{self.flow}:{self.round}"


class Finish(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The arguments of a finish: judge a run and move the pointer."""

    run: Id
    round: Count

    name: ClassVar[str] = "finish"

    @property
    def job_id(self) -> str:
        """The id of the arq job, deterministic."""
        return f"finish:{self.run}:{self.round}"


FlowTask = Split | Chunk | Reduce
Task = FlowTask | Finish
TASKS: Mapping[str, type[Task]] = {task.name: task for task in (Split, Chunk, Reduce, Finish)}


class _JobBody(Struct, forbid_unknown_fields=True):
    """arq's own job format, its one-letter names, no more than what is created here."""

    f: Literal["split", "chunk", "reduce", "finish"]
    a: msgspec.Raw
    et: Count
    t: Count | None = None
    k: Annotated[dict[str, str], Meta(max_length=0)] = {}


_job_decoder = msgspec.msgpack.Decoder(_JobBody)


def _as_data(value: object) -> object:
    """Exceptions cross as the name of their type: a message may hold what a log must not."""
    if isinstance(value, BaseException):
        return type(value).__name__
    raise TypeError(f"{type(value).__name__} does not cross Redis")


def encode_job(task: Task) -> bytes:
    """A task as the body of an arq job."""
    return msgspec.msgpack.encode(
        {"t": None, "f": task.name, "a": msgspec.structs.astuple(task), "k": {}, "et": int(time() * 1000)}
    )


def arq_serializer(value: dict[str, Any]) -> bytes:
    """What arq calls instead of pickle."""
    return msgspec.msgpack.encode(value, enc_hook=_as_data)


def arq_deserializer(data: bytes) -> dict[str, Any]:
    """What arq calls instead of unpickling: a known task, or a call of `refuse` with the bytes and the reason.

    It never raises, since arq keeps a job whose body raises only as a log line.
    """
    try:
        body = _job_decoder.decode(data)
        task = msgspec.msgpack.decode(body.a, type=TASKS[body.f])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return {"t": None, "f": REFUSE, "a": (data, str(error)), "k": {}, "et": int(time() * 1000)}
    return {"t": body.t, "f": body.f, "a": msgspec.structs.astuple(task), "k": {}, "et": body.et}
