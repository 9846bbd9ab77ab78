"""Changes: each is asked back on a page of its own, whose form has a seal, and then told in a sentence."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

import structlog
from msgspec import Struct
from starlette.responses import Response

from reckoner.producer.client.steering import find_worker
from reckoner.producer.formats import format_count
from reckoner.producer.http.page.screens import moved, of_visitor, page
from reckoner.producer.http.page.sessions import form, require_seal
from reckoner.producer.http.problems import ProblemError
from reckoner.producer.http.routes import Route
from reckoner.shared.wire.shapes import Lane

if TYPE_CHECKING:
    from reckoner.producer.http.calls import Call

log = structlog.get_logger()

# Refused letters that a notice names.
NAMED = 2


class Asked(Struct, frozen=True, forbid_unknown_fields=True):
    """A change by its name, of what, and with which word."""

    name: str
    of: str = ""
    word: str = ""


class Change(NamedTuple):
    """A change: what it asks, what it means, how it is done, and which screen shows it."""

    button: str
    question: str
    meaning: str
    do: Callable[["Call", Asked], Awaitable[str]]
    """Returns a sentence that tells what was done."""
    back: str
    grave: bool = False
    """Whether readers see it, or something is lost."""


async def _pause(call: "Call", asked: Asked) -> str:
    await call.reckoner.operator.pause(_lane(asked.of), timeout=call.left_s)
    return f"The {asked.of} lane is paused."


async def _resume(call: "Call", asked: Asked) -> str:
    was = await call.reckoner.operator.resume(_lane(asked.of), timeout=call.left_s)
    return f"The {asked.of} lane goes on." if was else f"The {asked.of} lane was not paused."


def _lane(name: str) -> Lane:
    match name:
        case "click" | "batch":
            return name
    raise ProblemError("invalid-parameter", "There is no such lane.")


async def _cancel(call: "Call", asked: Asked) -> str:
    was = await call.reckoner.cancel(asked.of, timeout=call.left_s)
    return f"Job {asked.of} is cancelled." if was else f"Job {asked.of} had ended already."


async def _drain(call: "Call", asked: Asked) -> str:
    operator = call.reckoner.operator
    worker = find_worker(await operator.alive(timeout=call.left_s), asked.of)
    await operator.drain([worker], timeout=call.left_s)
    return f"Worker {worker.worker} takes no more jobs and exits after its running ones."


async def _promote(call: "Call", asked: Asked) -> str:
    before = await call.reckoner.operator.promote(asked.of, timeout=call.left_s)
    return f"Generation {asked.of} is live" + (f", in the place of {before}." if before else ".")


async def _roll_back(call: "Call", asked: Asked) -> str:
    reckoner = call.reckoner
    if await reckoner.results.generations.pointer(reckoner.keys.previous) != asked.of:
        raise ProblemError("conflict", "Another generation is the previous one now. Nothing was changed.")
    now, before = await call.reckoner.operator.rollback(timeout=call.left_s)
    return f"Generation {now} is live again, in the place of {before}."


async def _acknowledge(call: "Call", asked: Asked) -> str:
    entry = await call.reckoner.operator.acknowledge(asked.of, timeout=call.left_s)
    return f"The {entry.kind} {entry.id} is acknowledged."


async def _retry(call: "Call", asked: Asked) -> str:
    done = await call.reckoner.operator.retry_failures(asked.of, timeout=call.left_s)
    told = f"{format_count(done.retried, 'job')} retried."
    if not done.refused:
        return told
    named = " ".join(done.refused[:NAMED])
    return f"{told} {format_count(len(done.refused), 'job')} cannot be retried: {named}"


async def _drop(call: "Call", asked: Asked) -> str:
    return (
        f"{format_count(await call.reckoner.operator.drop_failures(asked.of, timeout=call.left_s), 'letter')} dropped."
    )


async def _hide(call: "Call", asked: Asked) -> str:
    await call.reckoner.catalogue.hide([asked.of], timeout=call.left_s)
    return f"Item {asked.of} is hidden from everybody."


async def _unhide(call: "Call", asked: Asked) -> str:
    await call.reckoner.catalogue.unhide([asked.of], timeout=call.left_s)
    return f"Item {asked.of} is shown again."


async def _tag(call: "Call", asked: Asked) -> str:
    await call.reckoner.catalogue.tag(asked.of, add=[asked.word.strip()], timeout=call.left_s)
    return f"Item {asked.of} has the tag {asked.word.strip()}."


async def _untag(call: "Call", asked: Asked) -> str:
    await call.reckoner.catalogue.tag(asked.of, remove=[asked.word], timeout=call.left_s)
    return f"Item {asked.of} has no tag {asked.word} any more."


async def _reset_tags(call: "Call", asked: Asked) -> str:
    await call.reckoner.catalogue.reset_tags(asked.of, timeout=call.left_s)
    return f"Item {asked.of} has the tags of the last import."


CHANGES: Final[Mapping[str, Change]] = {
    "pause": Change(
        "Pause",
        "Pause the {of} lane?",
        "Workers take no more jobs from it. Running jobs finish. New jobs wait until somebody resumes the lane.",
        _pause,
        "/queue",
    ),
    "resume": Change("Resume", "Resume the {of} lane?", "Workers take its jobs again.", _resume, "/queue"),
    "cancel": Change(
        "Cancel",
        "Cancel {of}?",
        "It ends for everybody who waits for it. A cancelled run does not go live.",
        _cancel,
        "/queue",
        grave=True,
    ),
    "drain": Change(
        "Drain",
        "Drain worker {of}?",
        "It takes no more jobs, finishes its running ones, and exits. Its supervisor does not replace it.",
        _drain,
        "/workers",
        grave=True,
    ),
    "promote": Change(
        "Promote",
        "Make generation {of} live?",
        "Readers get its lists at their next read, whatever the gate said.",
        _promote,
        "/nights",
        grave=True,
    ),
    "roll-back": Change(
        "Roll back",
        "Go back to generation {of}?",
        "Readers get its lists at their next read. No run makes the one that is live now live again: promote does.",
        _roll_back,
        "/nights",
        grave=True,
    ),
    "acknowledge": Change(
        "Acknowledge",
        "Acknowledge {of}?",
        "The checks stop naming it. Nothing else changes.",
        _acknowledge,
        "/nights",
    ),
    "retry": Change(
        "Retry",
        "Retry all jobs of this group?",
        "Each becomes a new job. A block goes back to its run, whose gate is checked again.",
        _retry,
        "/failures",
    ),
    "drop": Change(
        "Drop",
        "Drop all letters of this group?",
        "They are deleted for good. Their jobs are not retried.",
        _drop,
        "/failures",
        grave=True,
    ),
    "hide": Change(
        "Hide",
        "Hide item {of} from everybody?",
        "The next read leaves it out, and new lists are made without it.",
        _hide,
        "/item?id={of}",
        grave=True,
    ),
    "unhide": Change(
        "Show again", "Show item {of} again?", "The next read may have it again.", _unhide, "/item?id={of}"
    ),
    "tag": Change(
        "Add the tag",
        "Give item {of} the tag {word}?",
        "Filters see it at the next read. It stays until it is removed or reset, whatever later imports say.",
        _tag,
        "/item?id={of}",
    ),
    "untag": Change(
        "Remove the tag",
        "Remove the tag {word} from item {of}?",
        "Filters see it at the next read. It stays so until it is added or reset, whatever later imports say.",
        _untag,
        "/item?id={of}",
    ),
    "reset-tags": Change(
        "Reset the tags",
        "Undo the live changes of the tags of item {of}?",
        "It has the tags of the last import again.",
        _reset_tags,
        "/item?id={of}",
    ),
}


async def ask(call: "Call", asked: Asked) -> Response:
    """Ask whether the change is meant."""
    change = _find(asked)
    words = {"of": asked.of, "word": asked.word}
    context = {
        "title": change.button,
        "path": change.back.partition("?")[0],
        "every_s": None,
        "change": change,
        "question": change.question.format(**words),
        "asked": asked,
        "back": _back(change, asked),
    }
    return page(call, "confirm.html", {**context, **of_visitor(call)})


async def do(call: "Call", asked: Asked) -> Response:
    """Do it, and lead to the screen that shows it."""
    change, given = _find(asked), await form(call)
    require_seal(call, given.get("seal", ""), asked.name, asked.of, asked.word)
    who = call.identity.name if call.identity else ""
    log.info("change confirmed", who=who, change=asked.name, of=asked.of, word=asked.word)
    return moved(_back(change, asked), await change.do(call, asked))


def _find(asked: Asked) -> Change:
    change = CHANGES.get(asked.name)
    if change is None:
        raise ProblemError("no-such-path", "There is no such change.")
    return change


def _back(change: Change, asked: Asked) -> str:
    return change.back.format(of=quote(asked.of, safe=""))


ROUTES = (
    Route(
        method="GET",
        path="/change/{name}",
        role="admin",
        handle=ask,
        summary="Ask back.",
        asked=Asked,
        described=False,
    ),
    Route(
        method="POST",
        path="/change/{name}",
        role="admin",
        handle=do,
        summary="Change it.",
        asked=Asked,
        described=False,
    ),
)
