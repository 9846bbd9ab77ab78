"""The arq jobs: all tasks, their arguments, and the serializers for arq."""

from collections.abc import Mapping
from time import time
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from reckoner.shared.wire.shapes import Count, Id

# The arq function that gets invalid bytes.
REFUSE = "refuse"


class Split(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The arguments of a split: plan the chunk tasks of a flow."""

    flow: Id

    name: ClassVar[str] = "split"

    @property
    def job_id(self) -> str:
        """The deterministic id of the arq job."""
        return f"split:{self.flow}"


class Chunk(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The arguments of a chunk task: the best candidates of one range of items."""

    flow: Id
    index: Count
    round: Count

    name: ClassVar[str] = "chunk"

    @property
    def job_id(self) -> str:
        """The deterministic id of the arq job."""
        return f"chunk:{self.flow}:{self.index}:{self.round}"


class Reduce(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The arguments of a reduce: merge the partials of a flow and publish."""

    flow: Id
    round: Count

    name: ClassVar[str] = "reduce"

    @property
    def job_id(self) -> str:
        """The deterministic id of the arq job."""
        return f"reduce:{self.flow}:{self.round}"


class Finish(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The arguments of a finish: check a run at the gate and move the pointer."""

    run: Id
    round: Count

    name: ClassVar[str] = "finish"

    @property
    def job_id(self) -> str:
        """The deterministic id of the arq job."""
        return f"finish:{self.run}:{self.round}"


FlowTask = Split | Chunk | Reduce
Task = FlowTask | Finish
TASKS: Mapping[str, type[Task]] = {task.name: task for task in (Split, Chunk, Reduce, Finish)}


class _JobBody(Struct, forbid_unknown_fields=True):
    """arq's job format with its one-letter names, limited to the jobs that are created here."""

    f: Literal["split", "chunk", "reduce", "finish"]
    a: msgspec.Raw
    et: Count
    t: Count | None = None
    k: Annotated[dict[str, str], Meta(max_length=0)] = {}


_job_decoder = msgspec.msgpack.Decoder(_JobBody)


def _as_data(value: object) -> object:
    """Encode an exception as its type's name: its message may hold private data."""
    if isinstance(value, BaseException):
        return type(value).__name__
    raise TypeError(f"{type(value).__name__} cannot be encoded for Redis")


def encode_job(task: Task) -> bytes:
    """Encode a task as the body of an arq job."""
    return msgspec.msgpack.encode(
        {"t": None, "f": task.name, "a": msgspec.structs.astuple(task), "k": {}, "et": int(time() * 1000)}
    )


def arq_serializer(value: dict[str, Any]) -> bytes:
    """Encode a job for arq, instead of pickle."""
    return msgspec.msgpack.encode(value, enc_hook=_as_data)


def arq_deserializer(data: bytes) -> dict[str, Any]:
    """Decode a job for arq: a known task, or a call of `refuse` with the invalid bytes and the reason.

    It never raises: arq would drop the job and only log it.
    """
    try:
        body = _job_decoder.decode(data)
        task = msgspec.msgpack.decode(body.a, type=TASKS[body.f])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return {"t": None, "f": REFUSE, "a": (data, str(error)), "k": {}, "et": int(time() * 1000)}
    return {"t": body.t, "f": body.f, "a": msgspec.structs.astuple(task), "k": {}, "et": body.et}
