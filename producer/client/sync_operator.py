"""`SyncOperator`, made from `Operator` by `make sync`: do not edit it."""

from collections.abc import Iterator, Sequence

from reckoner.producer.client.answers import RunReport
from reckoner.producer.client.background import Background
from reckoner.producer.client.calls import ASK_S
from reckoner.producer.client.failures import FailureGroup, GroupRetried
from reckoner.producer.client.showing import Shown, ShownItem
from reckoner.producer.client.status import Status
from reckoner.shared.defaults import SPARE
from reckoner.shared.flows.heartbeats import LiveWorker
from reckoner.shared.flows.nights import Beginning, Night, NightOptions
from reckoner.shared.nightly import Nightly
from reckoner.shared.serving.history import Entry, Kind
from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.wire.shapes import Lane, Record


class SyncOperator:
    """`Operator` for code that is not asynchronous; see `SyncReckoner.operator`."""

    def __init__(self, background: Background) -> None:
        self._background = background

    def fit(
        self,
        snapshot: str,
        config: ModelConfig,
        list_length: int,
        *,
        recency: float = 0.0,
        spare: int = SPARE,
        timeout: float | None = ASK_S,
    ) -> tuple[str, str]:
        """Fit a model, or join the running fit of the same generation.

        Lists have `spare` more places, for readers that leave some out. An item of a history weighs (1 + n)^-`recency`,
        n being the number of the user's later items. It needs a snapshot with times: `recency_of` tells the default of
        `reckoner fit`, and so the store.

        Returns:
            The id of the job, and the id of the model.

        Raises:
            UsageError: the list length, the recency, the number of spare places or the snapshot's id is invalid.
            QueueFullError: the batch lane is full.
        """
        return self._background.run(
            lambda client: client.operator.fit(
                snapshot, config, list_length, recency=recency, spare=spare, timeout=timeout
            )
        )

    def newest(self, *, timeout: float | None = ASK_S) -> Record:
        """The record of the newest generation.

        Raises:
            NothingFittedError: no model was fitted yet.
        """
        return self._background.run(lambda client: client.operator.newest(timeout=timeout))

    def start_run(
        self, block_size: int | None = None, window: int | None = None, *, timeout: float | None = ASK_S
    ) -> tuple[str, bool]:
        """Start a run of the newest model, or join the running one; returns its id and whether it is new.

        It counts what was recorded, and leaves out what was hidden, until now: then it makes another generation.

        A block has `block_size` users, by default as many as make some 20 ms of work. At most `window` blocks are in
        flight, by default as many as the live workers hold.

        Raises:
            NothingFittedError: no model was fitted yet.
            UsageError: the block size or the window is invalid.
        """
        return self._background.run(lambda client: client.operator.start_run(block_size, window, timeout=timeout))

    def promote(self, generation: str, *, timeout: float | None = ASK_S) -> str | None:
        """Make a generation whose lists are whole live, whatever the gate said; the live one becomes the previous one.

        Readers see it at their next read. It is also how a generation that was rolled back goes live again.

        Returns:
            The generation that was live, None if there was none.

        Raises:
            GenerationUnknownError: there is no such generation.
            PromotionError: some of its lists are missing, or another one went live meanwhile.
            UsageError: the generation's id is invalid.
        """
        return self._background.run(lambda client: client.operator.promote(generation, timeout=timeout))

    def rollback(self, *, timeout: float | None = ASK_S) -> tuple[str, str]:
        """Make the previous generation live again. No run makes the one that was live current again: see `promote`.

        Returns:
            The generation that is live now, and the one that was.

        Raises:
            BarredError: the previous generation was rolled back itself.
            GenerationUnknownError: its record is missing.
            PromotionError: there is no previous generation, some of its lists are missing, or another one went live
                meanwhile.
        """
        return self._background.run(lambda client: client.operator.rollback(timeout=timeout))

    def begin_night(
        self, date: str | None, options: NightOptions, nightly: Nightly | None = None, *, timeout: float | None = ASK_S
    ) -> tuple[str, str, Beginning]:
        """Begin the night of a date, or join the one under way.

        The default is the date that was due last by `nightly`, or today's in UTC.

        A date whose night did not go live may have another one.

        Returns:
            The night's id, its date, and whether it was started, joined, or known: the date had its night.

        Raises:
            NightInProgressError: a night with other options is under way.
            UsageError: the date is invalid.
        """
        return self._background.run(lambda client: client.operator.begin_night(date, options, nightly, timeout=timeout))

    def night(self, night_id: str, *, timeout: float | None = ASK_S) -> Night:
        """The state of a night.

        Raises:
            FlowUnknownError: the night does not exist, or has expired.
            UsageError: the night's id is invalid (`require_id`).
        """
        return self._background.run(lambda client: client.operator.night(night_id, timeout=timeout))

    def follow_night(self, night_id: str, *, timeout: float | None = None) -> Iterator[Night]:
        """Yield the state of a night once a second and at its end.

        Raises:
            FlowUnknownError: the night does not exist, or has expired.
            RedisUnavailableError: Redis was away for longer than a minute.
            WaitTimeoutError: it did not end in time.
        """
        return self._background.iterate(lambda client: client.operator.follow_night(night_id, timeout=timeout))

    def entries(self, n: int = 20, kind: Kind | None = None, *, timeout: float | None = ASK_S) -> list[Entry]:
        """The `n` newest entries of the history, of one kind if it is given, newest first.

        Raises:
            UsageError: `n` is invalid.
        """
        return self._background.run(lambda client: client.operator.entries(n, kind, timeout=timeout))

    def entry(self, entry_id: str, *, timeout: float | None = ASK_S) -> Entry:
        """An entry of the history.

        Raises:
            EntryUnknownError: there is none with this id.
            UsageError: the id is invalid.
        """
        return self._background.run(lambda client: client.operator.entry(entry_id, timeout=timeout))

    def acknowledge(self, entry_id: str, *, timeout: float | None = ASK_S) -> Entry:
        """Note that somebody knows how this ended. Raises as `entry` does."""
        return self._background.run(lambda client: client.operator.acknowledge(entry_id, timeout=timeout))

    def show(
        self,
        user: str,
        n: int | None = None,
        *,
        generation: str | None = None,
        patience_s: float | None = None,
        timeout: float | None = None,
    ) -> Shown:
        """A user's history, recent events and cached list, next to the list of the previous generation.

        The list of a given `generation` is compared with the live one. The history comes from the workers, which are
        waited for `patience_s` seconds, or without a limit.

        Raises:
            NothingFittedError: no model was fitted yet.
            GenerationUnknownError: there is no such generation.
            UserUnknownError: the user is not in the data.
            UsageError: an id (`require_id`) or `n` is invalid.
        """
        return self._background.run(
            lambda client: client.operator.show(user, n, generation=generation, patience_s=patience_s, timeout=timeout)
        )

    def show_item(
        self, item: str, n: int = 20, *, patience_s: float | None = None, timeout: float | None = None
    ) -> ShownItem:
        """An item's neighbours, its tags, whether it is hidden, and how often it stands in some of the live lists.

        The neighbours come from the workers, which are waited for `patience_s` seconds, or without a limit.

        Raises:
            NothingFittedError: no model was fitted yet.
            ItemUnknownError: the item is not in the data.
            UsageError: the item's id (`require_id`) or `n` is invalid.
        """
        return self._background.run(
            lambda client: client.operator.show_item(item, n, patience_s=patience_s, timeout=timeout)
        )

    def failures(self, *, timeout: float | None = None) -> list[FailureGroup]:
        """The dead letters grouped by reason, the group with the newest letter first.

        There is no default timeout, since the time grows with the number of dead letters.
        """
        return self._background.run(lambda client: client.operator.failures(timeout=timeout))

    def retry_failures(self, group: str, *, timeout: float | None = None) -> GroupRetried:
        """Retry the failed jobs of a group of `failures`; a job that cannot be retried stays.

        Raises:
            LetterUnknownError: there is no such group.
        """
        return self._background.run(lambda client: client.operator.retry_failures(group, timeout=timeout))

    def drop_failures(self, group: str, *, timeout: float | None = None) -> int:
        """Drop the dead letters of a group of `failures` for good; returns their number.

        Raises:
            LetterUnknownError: there is no such group.
        """
        return self._background.run(lambda client: client.operator.drop_failures(group, timeout=timeout))

    def run(self, run_id: str, *, timeout: float | None = ASK_S) -> RunReport:
        """The state of a run.

        Raises:
            FlowUnknownError: the run does not exist, or has expired.
            UsageError: the run's id is invalid (`require_id`).
        """
        return self._background.run(lambda client: client.operator.run(run_id, timeout=timeout))

    def follow_run(self, run_id: str, *, timeout: float | None = None) -> Iterator[RunReport]:
        """Yield the state of a run once a second and at its end; see `Reckoner.follow`."""
        return self._background.iterate(lambda client: client.operator.follow_run(run_id, timeout=timeout))

    def status(self, *, timeout: float | None = ASK_S) -> Status:
        """The status of the system, read in bounded time."""
        return self._background.run(lambda client: client.operator.status(timeout=timeout))

    def pause(self, lane: Lane, *, timeout: float | None = ASK_S) -> int:
        """Pause a lane: workers take no more jobs from it; running jobs finish.

        Returns:
            The time of the pause, in milliseconds since the epoch by the server's clock.

        Raises:
            UsageError: the lane does not exist.
        """
        return self._background.run(lambda client: client.operator.pause(lane, timeout=timeout))

    def resume(self, lane: Lane, *, timeout: float | None = ASK_S) -> bool:
        """Resume a lane; False if it was not paused. See `pause`."""
        return self._background.run(lambda client: client.operator.resume(lane, timeout=timeout))

    def alive(self, *, timeout: float | None = ASK_S) -> list[LiveWorker]:
        """The live workers, with their heartbeats."""
        return self._background.run(lambda client: client.operator.alive(timeout=timeout))

    def drain(self, workers: Sequence[LiveWorker], *, timeout: float | None = ASK_S) -> None:
        """Let workers finish their running jobs and exit; their supervisor does not replace them.

        Raises:
            DrainRefusedError: the heartbeat of one is unreadable; then none of them is drained.
        """
        return self._background.run(lambda client: client.operator.drain(workers, timeout=timeout))

    def drained(self, workers: Sequence[str], *, timeout: float | None = None) -> Iterator[str]:
        """Yield draining workers as they exit.

        Raises:
            RedisUnavailableError: Redis was away for longer than a minute.
            WaitTimeoutError: some did not exit in time.
        """
        return self._background.iterate(lambda client: client.operator.drained(workers, timeout=timeout))

    def workers(self, since_ms: int = 0, *, timeout: float | None = ASK_S) -> list[str]:
        """The ids of the live workers with a heartbeat since `since_ms` by the server's clock."""
        return self._background.run(lambda client: client.operator.workers(since_ms, timeout=timeout))
