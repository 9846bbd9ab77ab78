"""The entry of the history that an import by a command or a night leaves."""

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from reckoner.producer.cli.edge import connect, run_async
from reckoner.producer.cli.output import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reckoner.producer.importing import ImportReport
    from reckoner.shared.serving.history import Entry
    from reckoner.shared.settings import Settings
    from reckoner.shared.store.protocol import Store


class ImportHistory:
    """Adds this import to the history in the store, and in Redis if it can be reached."""

    def __init__(self, settings: "Settings", store: "Store", began: float, starter: str) -> None:
        self._settings, self._store, self._began, self._starter = settings, store, began, starter

    @contextmanager
    def failures(self) -> "Iterator[None]":
        """Add an import that fails for what is wrong with its source."""
        from reckoner.shared.errors import SourceAwayError, SourceError

        try:
            yield
        except SourceError as error:
            if not isinstance(error, SourceAwayError):
                # The name of a file may be in any encoding.
                self._remember("failed", reasons=[str(error).encode(errors="backslashreplace").decode()])
            raise

    def remember(self, report: "ImportReport") -> None:
        """Add an import that stored a snapshot."""
        import msgspec

        figures = msgspec.to_builtins(report)
        for name in ("rejected", "suspects"):
            del figures[name]
        if figures["items_file"] is not None:
            del figures["items_file"]["rejected"]
        snapshot, reasons = figures.pop("snapshot_id"), figures.pop("refused")
        self._remember("refused" if reasons else "done", snapshot=snapshot, reasons=reasons, figures=figures)

    def _remember(self, outcome: str, **fields: Any) -> None:
        from reckoner.shared.errors import StoreError
        from reckoner.shared.ids import fresh_id
        from reckoner.shared.serving.history import ENTRY, Entry, entry_file

        ended_ms = time.time_ns() // 1_000_000
        started_ms = ended_ms - int((time.monotonic() - self._began) * 1000)
        fields |= {"started_ms": started_ms, "ended_ms": ended_ms, "starter": self._starter}
        entry = Entry(id=fresh_id(), kind="import", outcome=outcome, **fields)
        try:
            self._store.keep_history(entry_file(entry), ENTRY.encode(entry))
        except StoreError as error:
            say(f"The history in the store lacks this import. {error}")
        run_async(self._in_redis(entry))

    async def _in_redis(self, entry: "Entry") -> None:
        from redis.exceptions import RedisError

        from reckoner.shared.errors import ReckonerError
        from reckoner.shared.serving.history import History

        with suppress(ReckonerError, RedisError):
            async with connect(self._settings) as reckoner:
                await History(reckoner.redis, reckoner.keys).remember(entry)
