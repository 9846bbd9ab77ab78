"""`reckoner record`: records what users do, one event or many as JSON lines."""

from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reckoner.producer.cli.arguments import AsJson, open_file, open_input
from reckoner.producer.cli.edge import connect_blocking, identifier, require_utf8, run_connected
from reckoner.producer.cli.output import Bar, print_json, print_line, print_result, progress_bar, say
from reckoner.producer.cli.times import read_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reckoner.producer.cli.event_lines import Line
    from reckoner.producer.client.open import OpenReckoner
    from reckoner.producer.client.recording import Event, Recorded
    from reckoner.producer.client.sync import SyncReckoner

# Further refused lines are only counted.
SHOWN_REFUSALS = 20
ANSWERS = {
    "recorded": "recorded",
    "seen": "recorded before",
    "later": "counted from the next import on",
    "refused": "refused",
    "full": "without room",
}


def record(
    user: Annotated[
        str | None, typer.Argument(metavar="USER", help="The user's id; - reads events from standard input.")
    ] = None,
    item: Annotated[str | None, typer.Argument(metavar="ITEM", help="The item's id.")] = None,
    type_: Annotated[
        str | None,
        typer.Option("--type", metavar="TYPE", help="The event type.", show_default="interaction"),
    ] = None,
    weight: Annotated[
        float | None,
        typer.Option("--weight", metavar="W", help="How much it counts, times its type's weight.", show_default="1"),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            "--time",
            metavar="TIME",
            help="When it was: ISO 8601, in UTC without a zone, or how long ago, as in 2h or 3d.",
            show_default="now",
        ),
    ] = None,
    event_id: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="Your id of the event: it is recorded once a day.", show_default=False),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Record the events of a file, as JSON lines.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Record what a user did with an item: their next list follows it.

    With - or --file, each line is one event as a JSON object:

        {"user": "42", "item": "550", "type": "view", "time": "2026-12-24T18:00Z"}

    Only user and item are required; weight and id are possible too. A time is
    ISO 8601, in UTC without a zone, or a number of seconds or milliseconds since
    1970. Lines of a pipe are recorded as they arrive. A bad line is reported and
    the others are recorded; then the exit code is 1.

    Example: reckoner record 42 550 --type purchase
    """
    from reckoner.shared.errors import UsageError

    many = user == "-" or file is not None
    if many and (item is not None or (file is not None and user is not None)):
        raise UsageError("Give either USER and ITEM, or - for standard input, or --file.")
    if many:
        options = {"--type": type_, "--weight": weight, "--time": time, "--id": event_id}
        if given := next((name for name, value in options.items() if value is not None), None):
            raise UsageError(f"{given} is for one event. In JSON lines, each event has its own fields.")
        if not _record_lines(file, as_json):
            raise typer.Exit(1)
        return
    if user is None or item is None:
        raise UsageError("Give USER and ITEM; or - to read events from standard input, or --file.")
    from reckoner.producer.client.recording import Event

    event = Event(
        identifier("user", user),
        identifier("item", item),
        "interaction" if type_ is None else require_utf8(type_),
        weight,
        None if time is None else read_time(time, ahead=False),
        "" if event_id is None else identifier("event", event_id),
    )
    _record_one(event, as_json)


def _record_one(event: "Event", as_json: bool) -> None:
    from reckoner.shared.event_types import IMPRESSION

    async def ask(reckoner: "OpenReckoner") -> "Recorded":
        return await reckoner.record(
            event.user, event.item, type=event.type, weight=event.weight, time=event.time, id=event.id
        )

    answer = run_connected(ask)
    is_impression = event.type == IMPRESSION
    follows = "It counts only for rotation." if is_impression else f"The next list of user {event.user} follows it."
    sentences = {
        "recorded": f"Recorded. {follows}",
        "seen": f"An event with the id {event.id} was recorded before. Nothing has changed.",
        "later": f"Recorded. It counts from the next import on, since user {event.user} has so many events.",
    }
    record = {"user": event.user, "item": event.item, "status": answer.status}
    print_result(record, sentences[answer.status], as_json)


def _record_lines(file: Path | None, as_json: bool) -> bool:
    """Record the lines of a file or of standard input; returns whether none was refused."""
    from reckoner.producer.cli.event_lines import read_lines
    from reckoner.shared.errors import EventsFullError, RedisUnavailableError

    where = "Standard input" if file is None else f"The file {file}"
    opened = nullcontext(open_input("event")) if file is None else open_file(file)
    with opened as stream, connect_blocking() as reckoner, progress_bar("Recording", "events") as bar:
        progress = Progress(bar, as_json)
        try:
            for batch in read_lines(stream, where):
                progress.take(batch, _answers(reckoner, batch))
        except (EventsFullError, RedisUnavailableError) as error:
            raise type(error)(f"{error} {progress.stopped}") from error
        except KeyboardInterrupt:
            bar.say(progress.stopped)
            raise
    progress.close()
    return not progress.counts["refused"]


def _answers(reckoner: "SyncReckoner", batch: "list[Line]") -> "Iterator[Recorded]":
    """Record a batch; yields what became of each line."""
    from reckoner.producer.client.recording import Recorded

    answers = iter(reckoner.record_many([line.event for line in batch if not isinstance(line.event, str)]))
    for line in batch:
        yield Recorded("refused", line.event) if isinstance(line.event, str) else next(answers)


class Progress:
    """Reports the answers of lines."""

    def __init__(self, bar: Bar, as_json: bool) -> None:
        self._bar = bar
        self._as_json = as_json
        self._under_way: tuple[int, int] | None = None
        """The first and the last line of a batch that is not recorded as a whole."""
        self._next = 1
        self.counts = Counter[str]()

    def take(self, batch: "list[Line]", answers: "Iterator[Recorded]") -> None:
        """Report the answers for a batch, which are made meanwhile.

        Raises:
            EventsFullError: Redis holds too many events for all of them.
        """
        from reckoner.shared.errors import EventsFullError

        self._under_way, full = (batch[0].number, batch[-1].number), ""
        for line, answer in zip(batch, answers, strict=True):
            full = full or (answer.reason if answer.is_full else "")
            self.counts["full" if answer.is_full else answer.status] += 1
            if self._as_json:
                print_json(_as_object(line, answer))
            elif answer.status == "refused" and not answer.is_full and self.counts["refused"] <= SHOWN_REFUSALS:
                self._bar.say(f"Line {line.number:,} is refused: {answer.reason}")
        if full:
            raise EventsFullError(full)
        self._next, self._under_way = batch[-1].number + 1, None
        self._bar.show("Recording", "events", self.counts.total(), None)

    @property
    def stopped(self) -> str:
        """How far it came, and how to go on."""
        again = "To go on, record the same lines again: an event with an id is not recorded twice within a day."
        if self._under_way is None:
            return f"Stopped before line {self._next:,}: {self._summary}. {again} Without ids, begin at this line."
        first, last = self._under_way
        where = f"line {first:,}" if first == last else f"lines {first:,} to {last:,}"
        some = "--json says which of these lines are" if self.counts["full"] else "some of these lines may be"
        return f"Stopped in {where}: {self._summary}. {again} Without ids, {some} recorded."

    def close(self) -> None:
        """Print the summary."""
        if self.counts["refused"] > SHOWN_REFUSALS and not self._as_json:
            say("Further refused lines are not shown. --json shows all.")
        (say if self._as_json else print_line)(f"{self._summary[0].upper()}{self._summary[1:]}.")

    @property
    def _summary(self) -> str:
        parts = [f"{self.counts[status]:,} {words}" for status, words in ANSWERS.items() if self.counts[status]]
        return ", ".join(parts) or "no events"


def _as_object(line: "Line", answer: "Recorded") -> dict[str, Any]:
    event = None if isinstance(line.event, str) else line.event
    return {
        "line": line.number,
        "user": event and event.user,
        "item": event and event.item,
        "status": answer.status,
        "reason": answer.reason,
    }
