"""The engine's Redis client: commands that many jobs send at the same moment share one round trip."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import time
from typing import Any, Unpack
from uuid import uuid4

from arq import ArqRedis
from arq.constants import default_queue_name
from arq.jobs import Job, serialize_job

from reckoner.shared.errors import WireError
from reckoner.shared.redis.connections import PoolOptions, open_pool
from reckoner.shared.redis.multiplexed import MultiplexedConnection, Sent
from reckoner.shared.redis.pools import pack
from reckoner.shared.redis.scripts import Value, call

# More jobs in one script would block the server for more than about 5 ms.
JOBS_AT_ONCE = 500


@dataclass(frozen=True)
class NewJob:
    """A job to enqueue: a call of the arq function `function`."""

    function: str
    arguments: tuple[Any, ...] = ()
    job_id: str | None = None
    """None for a random id. A job whose id is taken is not enqueued."""
    due_ms: int | None = None
    """When it starts, in milliseconds since the epoch; None for now."""


class EngineRedis(ArqRedis):
    """An `ArqRedis` that pipelines the commands of one event loop iteration over one connection.

    A blocking command would delay the others, so it needs another client.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._asked = list[Sent]()
        self._shared = MultiplexedConnection(self)

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Send a command with the next batch. Returns its answer, parsed as redis-py parses it."""
        loop = asyncio.get_running_loop()
        asked = Sent(pack(arguments), loop.create_future())
        self._asked.append(asked)
        if len(self._asked) == 1:
            # Two iterations later, so that tasks woken in this one join the batch.
            loop.call_soon(loop.call_soon, self._send)
        answer = await asked.answer
        # redis-py's own clients drop it too: it is for their cache.
        options.pop("keys", None)
        parse = self.response_callbacks.get(arguments[0])
        return parse(answer, **options) if parse else answer

    def _send(self) -> None:
        asked, self._asked = self._asked, list[Sent]()
        self._shared.send(asked)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close the client. Commands that wait for a connection get a ConnectionError."""
        await self._shared.stop()
        await super().aclose(close_connection_pool)

    async def enqueue_job(
        self,
        function: str,
        *args: Any,
        _job_id: str | None = None,
        _queue_name: str | None = None,
        _defer_until: datetime | None = None,
        _defer_by: float | timedelta | None = None,
        _expires: float | timedelta | None = None,
        _job_try: int | None = None,
        **kwargs: Any,
    ) -> Job | None:
        """Enqueue one job as `ArqRedis` does, in one round trip. None if its id is taken."""
        if _defer_until and _defer_by:
            raise RuntimeError("use either 'defer_until' or 'defer_by' or neither, not both")
        queue, job_id, now_ms = _queue_name or self.default_queue_name, _job_id or uuid4().hex, int(time() * 1000)
        delay_ms = _milliseconds(_defer_by)
        if _defer_until:
            delay_ms = int(_defer_until.timestamp() * 1000) - now_ms
        life_ms = _milliseconds(_expires) or max(delay_ms, 0) + self.expires_extra_ms
        body = serialize_job(function, args, kwargs, _job_try, now_ms, serializer=self.job_serializer)
        due = now_ms + delay_ms if delay_ms else ""
        [made] = await call(self, "enqueue", [queue], [job_id, body, due, life_ms])
        return Job(job_id, self, _queue_name=queue, _deserializer=self.job_deserializer) if made else None

    async def enqueue_jobs(self, jobs: Sequence[NewJob], *, queue_name: str | None = None) -> list[Job | None]:
        """Enqueue many jobs, 500 per round trip. None for each job whose id is taken."""
        queue, made = queue_name or self.default_queue_name, list[Job | None]()
        for start in range(0, len(jobs), JOBS_AT_ONCE):
            now_ms, names = int(time() * 1000), list[str]()
            arguments: list[Value] = []
            for job in jobs[start : start + JOBS_AT_ONCE]:
                names.append(job.job_id or uuid4().hex)
                body = serialize_job(job.function, job.arguments, {}, None, now_ms, serializer=self.job_serializer)
                life_ms = max((job.due_ms or 0) - now_ms, 0) + self.expires_extra_ms
                arguments += [names[-1], body, job.due_ms or "", life_ms]
            answers = await call(self, "enqueue", [queue], arguments)
            for job_id, answer in zip(names, answers, strict=True):
                found = Job(job_id, self, _queue_name=queue, _deserializer=self.job_deserializer)
                made.append(found if answer else None)
        return made


def refuse_jobs(_: Any) -> Any:
    """Stand in for a job serializer or deserializer; arq's default is pickle.

    Raises:
        WireError: always.
    """
    raise WireError("This connection has no codec for jobs.")


def connect_engine(
    url: str,
    *,
    queue_name: str = default_queue_name,
    job_serializer: Callable[[dict[str, Any]], bytes] = refuse_jobs,
    job_deserializer: Callable[[bytes], dict[str, Any]] = refuse_jobs,
    **options: Unpack[PoolOptions],
) -> EngineRedis:
    """Make an engine's client for `url`; see `open_pool`. Close it with `aclose()`."""
    redis = EngineRedis(open_pool(url, **options), job_serializer, job_deserializer, queue_name)
    redis.auto_close_connection_pool = True
    return redis


def _milliseconds(length: float | timedelta | None) -> int:
    seconds = length.total_seconds() if isinstance(length, timedelta) else length or 0
    return int(seconds * 1000)
