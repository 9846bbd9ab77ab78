"""The engine's Redis client: commands that many jobs send at the same moment share one round trip."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import time
from typing import Any, NamedTuple
from uuid import uuid4

from arq import ArqRedis
from arq.jobs import Job, serialize_job

from reckoner.shared.redis.pools import BoundedPool
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


class _Pending(NamedTuple):
    """A command, its options for redis-py, and the future of its answer."""

    command: tuple[Any, ...]
    options: dict[str, Any]
    answer: asyncio.Future[Any]


class EngineRedis(ArqRedis):
    """An `ArqRedis` that pipelines the commands of one event loop iteration.

    A blocking command would delay the others, so it needs another connection.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._asked = list[_Pending]()
        self._sending = set[asyncio.Task[None]]()

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Send a command with the next batch. Returns its answer."""
        loop = asyncio.get_running_loop()
        asked = _Pending(arguments, options, loop.create_future())
        self._asked.append(asked)
        if len(self._asked) == 1:
            # Two iterations later, so that tasks woken in this one join the batch.
            loop.call_soon(loop.call_soon, self._send)
        return await asked.answer

    def _send(self) -> None:
        asked, self._asked = self._asked, list[_Pending]()
        task = asyncio.create_task(self._exchange(asked))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _exchange(self, asked: Sequence[_Pending]) -> None:
        try:
            pool = self.connection_pool
            assert isinstance(pool, BoundedPool)
            answers = await pool.exchange([one.command for one in asked])
        except BaseException as error:
            answers = [error] * len(asked)
            if not isinstance(error, Exception):
                raise
        finally:
            for one, answer in zip(asked, answers, strict=True):
                if one.answer.done():
                    continue
                if isinstance(answer, Exception):
                    one.answer.set_exception(answer)
                elif isinstance(answer, BaseException):
                    one.answer.cancel()
                else:
                    self._resolve(one, answer)

    def _resolve(self, asked: _Pending, answer: Any) -> None:
        """Resolve a command's future with its answer, parsed as redis-py parses it."""
        # redis-py's own clients drop it too: it is for their cache.
        asked.options.pop("keys", None)
        parse = self.response_callbacks.get(asked.command[0])
        try:
            asked.answer.set_result(parse(answer, **asked.options) if parse else answer)
        except Exception as error:
            asked.answer.set_exception(error)

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


def _milliseconds(length: float | timedelta | None) -> int:
    seconds = length.total_seconds() if isinstance(length, timedelta) else length or 0
    return int(seconds * 1000)
