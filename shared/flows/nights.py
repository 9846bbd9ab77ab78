"""Nights: from the source to the live lists, their state in Redis and each change of it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import msgspec

from reckoner.shared.errors import WireError
from reckoner.shared.flows.flow_state import parse_count
from reckoner.shared.ids import fresh_id
from reckoner.shared.redis.scripts import ask, call
from reckoner.shared.redis.scripts.constants import NIGHT_TTL_DAYS

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys

StageName = Literal["import", "fit", "everybody", "gate", "flip", "clean-up"]
# In their order.
STAGES: tuple[StageName, ...] = ("import", "fit", "everybody", "gate", "flip", "clean-up")
StageOutcome = Literal["done", "unchanged", "skipped", "refused", "failed"]
# `unchanged`: nothing to do. `held`: a dry run passed the gate.
NightOutcome = Literal["live", "unchanged", "held", "refused", "failed"]
Beginning = Literal["started", "joined", "known"]
# The time to live of the driver's claim.
DRIVER_TTL_MS = 10_000


class NightOptions(msgspec.Struct, frozen=True):
    """Which stages a night skips; a dry one changes nothing that readers see."""

    imports: bool = True
    fits: bool = True
    dry: bool = False


class Stage(msgspec.Struct, frozen=True):
    """A stage: how it ended, or that it runs."""

    name: StageName
    started_ms: int
    ended_ms: int | None = None
    outcome: StageOutcome | None = None
    """None while it runs."""
    message: str = ""
    """What was done, or why not, as a sentence."""
    progress: int = 0
    """The rows that an import has read."""
    job: str = ""
    """The fit's flow, or the run."""
    snapshot: str = ""
    generation: str = ""


@dataclass
class Night:
    """A night as it was read."""

    id: str
    date: str
    starter: str
    """`settings` for RECKONER_NIGHTLY, or `command`."""
    options: NightOptions
    started_ms: int
    ended_ms: int | None
    outcome: NightOutcome | None
    """None while it runs."""
    failures: int
    """The number of times that it was interrupted and goes on."""
    due_ms: int
    """When it goes on after an interruption."""
    stages: dict[StageName, Stage]


class Nights:
    """The nights under one prefix."""

    def __init__(self, redis: "Redis", keys: "Keys") -> None:
        self._redis = redis
        self.keys = keys

    async def begin(self, date: str, starter: str, options: NightOptions) -> tuple[str, Beginning]:
        """Begin the night of a date, or join the one under way.

        A date has one night; a dry one does not count. If it did not go live, a command may begin another one, and
        after a night that a command began, the settings too.

        Returns:
            The night's id, and whether it was started, joined, or known: the date had its night.
        """
        night_id, keys = fresh_id(), self.keys
        names = [keys.night_now, keys.night(date), keys.night_state(night_id)]
        arguments = [night_id, date, "1" if options.dry else "", keys.night_state(""), starter]
        found = await call(self._redis, "begin_night", names, [*arguments, msgspec.json.encode(options)])
        night, beginning = (part.decode(errors="replace") for part in found)
        return night, beginning

    async def load(self, night_id: str) -> Night | None:
        """Load a night, None if there is none.

        Raises:
            WireError: its state is invalid.
        """
        raw = await ask(self._redis, "HGETALL", self.keys.night_state(night_id))
        if not raw:
            return None
        try:
            return _decode(night_id, {name.decode(): value for name, value in raw.items()})
        except (KeyError, ValueError, WireError, msgspec.MsgspecError) as error:
            raise WireError(f"The state of night {night_id} is invalid.") from error

    async def under_way(self) -> str | None:
        """The id of the night under way, None if there is none."""
        found = await ask(self._redis, "GET", self.keys.night_now)
        return found.decode(errors="replace") if found else None

    async def of_date(self, date: str) -> str | None:
        """The id of a date's last night, None if there is none or it has expired."""
        return (await self._of([date]))[0]

    async def last(self) -> tuple[str, str] | None:
        """The latest date with a night, and the night's id; None if all have expired."""
        seconds, _ = await ask(self._redis, "TIME")
        # In some time zone it is tomorrow already.
        tomorrow = datetime.fromtimestamp(int(seconds), UTC).date() + timedelta(1)
        dates = [(tomorrow - timedelta(days)).isoformat() for days in range(NIGHT_TTL_DAYS + 2)]
        nights = zip(dates, await self._of(dates), strict=True)
        return next(((date, night_id) for date, night_id in nights if night_id is not None), None)

    async def _of(self, dates: list[str]) -> list[str | None]:
        values = await ask(self._redis, "MGET", *map(self.keys.night, dates))
        return [None if value is None else value.decode(errors="replace") for value in values]

    async def note(self, night: Night, token: str, stage: Stage) -> bool:
        """Note a stage's state; one that ended sets the failures to 0. False if another worker drives the night."""
        fields: list[str | bytes] = [f"stage:{stage.name}", msgspec.json.encode(stage)]
        if stage.outcome is not None:
            night.failures = 0
            fields += ["failures", "0"]
        return await self._advance(night, token, False, *fields)

    async def is_driven_by(self, token: str) -> bool:
        """Whether the claim of the night's driver has this token."""
        return bool(await ask(self._redis, "GET", self.keys.night_driver) == token.encode())

    async def interrupt(self, night: Night, token: str, due_ms: int) -> bool:
        """Note that the night was interrupted, and when it goes on."""
        return await self._advance(night, token, False, "failures", str(night.failures + 1), "due", str(due_ms))

    async def end(self, night: Night, token: str, outcome: NightOutcome) -> bool:
        """End a night; False if another worker drives it, or it has ended."""
        return await self._advance(night, token, True, "outcome", outcome)

    async def _advance(self, night: Night, token: str, ends: bool, *fields: str | bytes) -> bool:
        keys = self.keys
        names = [keys.night_driver, keys.night_now, keys.night_state(night.id), keys.events(night.id)]
        return bool(await call(self._redis, "advance_night", names, [token, night.id, "1" if ends else "", *fields]))


def _decode(night_id: str, fields: dict[str, bytes]) -> Night:
    stages: dict[StageName, Stage] = {}
    for name in STAGES:
        if data := fields.get(f"stage:{name}"):
            stages[name] = msgspec.json.decode(data, type=Stage)
    outcome = fields.get("outcome", b"").decode()
    return Night(
        id=night_id,
        date=fields["date"].decode(),
        starter=fields["starter"].decode(),
        options=msgspec.json.decode(fields["options"], type=NightOptions),
        started_ms=parse_count(fields["started"]),
        ended_ms=parse_count(fields["ended"]) if "ended" in fields else None,
        outcome=msgspec.convert(outcome, NightOutcome) if outcome else None,
        failures=parse_count(fields["failures"]),
        due_ms=parse_count(fields["due"]),
        stages=stages,
    )
