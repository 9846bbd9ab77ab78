"""`Operator`: what operators ask of the system as a whole: fits, runs, status, lanes, workers."""

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from reckoner.producer.client import steering
from reckoner.producer.client.answers import RunReport
from reckoner.producer.client.calls import (
    ASK_S,
    moment_after,
    require_lane,
    require_number,
    translates_redis_errors,
    until,
)
from reckoner.producer.client.connection import Client
from reckoner.producer.client.status import Status, read_status, read_workers
from reckoner.producer.client.waiting import patiently
from reckoner.shared.defaults import MAX_BLOCK_USERS, MAX_LIST_LENGTH
from reckoner.shared.errors import FlowUnknownError
from reckoner.shared.flows.flows import FLOWS_AT_ONCE
from reckoner.shared.flows.heartbeats import Heartbeats, LiveWorker
from reckoner.shared.ids import require_id
from reckoner.shared.serving.generations import generation_id
from reckoner.shared.store.model_config import ModelConfig, fit_spec, model_id
from reckoner.shared.wire.shapes import Lane, Options, Record

if TYPE_CHECKING:
    from arq import ArqRedis


class Operator:
    """The operator's calls of a client; see `Reckoner.operator`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def redis(self) -> "ArqRedis":
        """The connection that asks."""
        return self._client.redis

    @property
    def closed(self) -> bool:
        """Whether its client was left."""
        return self._client.closed

    def require_own_loop(self) -> None:
        """Make sure that its client is used in one event loop alone; see `Client`."""
        self._client.require_own_loop()

    @translates_redis_errors
    async def fit(
        self, snapshot: str, config: ModelConfig, list_length: int, *, timeout: float | None = ASK_S
    ) -> tuple[str, str]:
        """Ask for the fit of a model, or join the one of the same generation that is under way.

        Returns:
            The job, and the id that the model has or will have.

        Raises:
            UsageError: the lists cannot be so long, or the snapshot's id cannot be one.
            QueueFullError: the batch lane takes no more.
        """
        require_id("snapshot", snapshot)
        require_number("The list length", list_length, MAX_LIST_LENGTH)
        model = model_id(snapshot, config)
        generation = generation_id(model, Options(list_length))
        return await self._client.asking.create_fit(fit_spec(snapshot, config, list_length), generation), model

    @translates_redis_errors
    async def newest(self, *, timeout: float | None = ASK_S) -> Record:
        """The record of the generation whose model was fitted last.

        Raises:
            NothingFittedError: no model was fitted yet.
        """
        return (await self._client.results.generations.follow(self._client.keys.newest)).require()

    @translates_redis_errors
    async def start_run(self, block_size: int, window: int, *, timeout: float | None = ASK_S) -> tuple[str, bool]:
        """Start a run of the newest generation, or join the one under way; returns its id and whether it is new.

        Raises:
            NothingFittedError: no model was fitted yet.
            UsageError: a block cannot have so many users, or no block may be under way.
        """
        require_number("The block size", block_size, MAX_BLOCK_USERS)
        require_number("The number of blocks in flight", window, FLOWS_AT_ONCE)
        return await self._client.runs.start(await self.newest(timeout=None), block_size, window)

    @translates_redis_errors
    async def run(self, run_id: str, *, timeout: float | None = ASK_S) -> RunReport:
        """A run as it is now.

        Raises:
            FlowUnknownError: there is no such run, or it is forgotten.
            UsageError: the run's id is refused (`require_id`).
        """
        return await self._report(require_id("run", run_id))

    async def _report(self, run_id: str) -> RunReport:
        run = await self._client.runs.load(run_id)
        if run is None:
            raise FlowUnknownError
        return RunReport(run, run.blocks if run.state == "ended" else await self._client.runs.progress(run_id))

    async def follow_run(self, run_id: str, *, timeout: float | None = None) -> AsyncIterator[RunReport]:
        """Yield a run as it is, once a second and at its end, until it has ended; see `follow`."""
        self.require_own_loop()
        moment = moment_after(timeout)
        async with self._client.waiting.hearing(require_id("run", run_id)) as hear:
            while True:
                async with until(moment):
                    await hear()
                    report = await patiently(lambda: self._report(run_id))
                yield report
                if report.run.state == "ended":
                    return

    @translates_redis_errors
    async def status(self, *, timeout: float | None = ASK_S) -> Status:
        """The system as it is now; it takes no longer when there is more."""
        return await read_status(self.redis, self._client.keys, self._client.results, self._client.runs)

    @translates_redis_errors
    async def pause(self, lane: Lane, *, timeout: float | None = ASK_S) -> int:
        """Have workers take no more jobs from a lane; what runs comes to its end.

        Returns:
            Since when it is paused, in milliseconds since the epoch by the server's clock.

        Raises:
            UsageError: there is no such lane.
        """
        require_lane(lane)
        return await steering.pause(self.redis, self._client.keys, lane)

    @translates_redis_errors
    async def resume(self, lane: Lane, *, timeout: float | None = ASK_S) -> bool:
        """Have workers take a lane's jobs again; False when it was not paused. See `pause`."""
        require_lane(lane)
        return await steering.resume(self.redis, self._client.keys, lane)

    @translates_redis_errors
    async def alive(self, *, timeout: float | None = ASK_S) -> list[LiveWorker]:
        """The workers that have been heard of within their lease, with what each says of itself."""
        return await Heartbeats(self.redis, self._client.keys).alive()

    @translates_redis_errors
    async def drain(self, workers: Sequence[LiveWorker], *, timeout: float | None = ASK_S) -> None:
        """Tell workers to claim nothing any more, and to end when they have done what they run; their supervisor starts
        no others in their places.

        Raises:
            DrainRefusedError: what one of them says of itself cannot be read; none was told then.
        """
        await steering.drain(self.redis, self._client.keys, workers)

    async def gone(self, workers: Sequence[str], *, timeout: float | None = None) -> AsyncIterator[str]:
        """Yield workers that were told to drain, as they end.

        Raises:
            RedisUnavailableError: Redis was away for longer than a minute.
            WaitTimeoutError: some had not ended in time.
        """
        self.require_own_loop()
        moment, ended = moment_after(timeout), steering.gone(self.redis, self._client.keys, workers)
        while True:
            async with until(moment):
                worker = await anext(ended, None)
            if worker is None:
                return
            yield worker

    @translates_redis_errors
    async def workers(self, since_ms: int = 0, *, timeout: float | None = ASK_S) -> list[str]:
        """The workers that have been heard of within their lease, and since a moment by the server's clock."""
        return await read_workers(self.redis, self._client.keys, since_ms)
