"""`reckoner dead`: shows, retries and drops dead letters."""

import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import typer

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import identifier, run_connected
from reckoner.producer.cli.output import print_facts, print_json, print_result, print_table, say
from reckoner.producer.formats import format_count, format_time

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner
    from reckoner.shared.flows.dead_letters import DeadLetter, DeadLetters, Retried
    from reckoner.shared.wire.shapes import Spec

T = TypeVar("T")

Letters: TypeAlias = Annotated[
    list[str] | None, typer.Argument(metavar="ID", help="Ids of dead letters, from `dead list`.")
]

group = typer.Typer(name="dead", help="Show, retry or drop failed jobs and refused data.", no_args_is_help=True)


@group.command("list")
def list_letters(
    n: Annotated[int, typer.Option("-n", metavar="N", min=1, help="How many to print.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the dead letters, newest first.

    Example: reckoner dead list -n 5
    """

    async def look(letters: "DeadLetters") -> None:
        found = await letters.newest(n)
        if as_json:
            for letter in found:
                print_json(_as_object(letter))
        elif found:
            rows = [(x.id, x.kind, _about(x), x.reason, format_time(x.at_ms)) for x in found]
            print_table(("id", "kind", "about", "reason", "when"), rows)
        else:
            say("There are no dead letters.")

    _with_letters(look)


@group.command()
def show(
    letter: Annotated[str, typer.Argument(metavar="ID", help="Id of a dead letter.")], as_json: AsJson = False
) -> None:
    """Show a dead letter: the failed job's request, or up to 4 KiB of refused data.

    Example: reckoner dead show 1764000000000-0
    """
    wanted = identifier("dead letter", letter)

    async def look(letters: "DeadLetters") -> None:
        found = await letters.find(wanted)
        if as_json:
            print_json(_as_object(found) | _as_text_or_hex(found.data))
        else:
            print_facts(_facts(found))

    _with_letters(look)


@group.command()
def retry(
    ids: Letters = None,
    everything: Annotated[bool, typer.Option("--all", help="Retry all failed jobs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Retry failed jobs, and print each dead letter with its new job.

    A retried block stays part of its run. If the run has ended, its gate is checked again afterwards, and the run may
    go live.

    Example: reckoner dead retry --all
    """
    wanted = _wanted(ids, everything)

    async def retry_chosen(letters: "DeadLetters") -> bool:
        chosen = wanted
        if everything:
            # Oldest first, in the order of the requests. A retried job that fails again is not in the list.
            pages = [page async for page in letters.pages()]
            chosen = [letter.id for page in pages for letter in page if letter.kind == "flow"][::-1]
            if not chosen:
                say("There are no failed jobs to retry.")

        async def one(letter_id: str) -> None:
            _print_retried(await letters.retry(letter_id), as_json)

        return await _each(chosen, one)

    _end(_with_letters(retry_chosen))


@group.command()
def drop(
    ids: Letters = None,
    everything: Annotated[bool, typer.Option("--all", help="Drop all dead letters; needs confirmation.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Drop without asking.")] = False,
) -> None:
    """Delete dead letters for good; their jobs are not retried.

    Example: reckoner dead drop --all --yes
    """
    wanted = _wanted(ids, everything)
    if everything and not yes:
        _confirm()

    async def drop_chosen(letters: "DeadLetters") -> bool:
        if everything:
            say(f"Dropped {format_count(await letters.drop_all(), 'dead letter')}.")
            return True
        return await _each(wanted, letters.drop)

    _end(_with_letters(drop_chosen))


def _with_letters(work: "Callable[[DeadLetters], Awaitable[T]]") -> T:
    async def connected(reckoner: "OpenReckoner") -> T:
        from reckoner.shared.flows.dead_letters import DeadLetters

        return await work(DeadLetters(reckoner.redis, reckoner.flows))

    return run_connected(connected)


def _wanted(ids: list[str] | None, everything: bool) -> list[str]:
    from reckoner.shared.errors import UsageError

    if bool(ids) == everything:
        raise UsageError("Give either ids of dead letters or --all.")
    return [identifier("dead letter", letter) for letter in ids or []]


def _confirm() -> None:
    from reckoner.shared.errors import UsageError

    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("Dropping all dead letters needs confirmation. Add --yes.")
    if not typer.confirm("Drop all dead letters?", err=True):
        say("Nothing was dropped.")
        raise typer.Exit(1)


async def _each(ids: Iterable[str], work: "Callable[[str], Awaitable[None]]") -> bool:
    """Do the work for each id; a refusal is printed and the others continue. False if one was refused."""
    from reckoner.shared.errors import LetterUnknownError, RetryRefusedError

    whole = True
    for letter_id in ids:
        try:
            await work(letter_id)
        except (LetterUnknownError, RetryRefusedError) as error:
            say(str(error))
            whole = False
    return whole


def _end(whole: bool) -> None:
    if not whole:
        raise typer.Exit(1)


def _print_retried(retried: "Retried", as_json: bool) -> None:
    joined = "" if retried.is_new else "  (already in progress)"
    record = {"letter": retried.letter.id, "job": retried.job, "is_new": retried.is_new}
    print_result(record, f"{retried.letter.id}  {retried.job}{joined}", as_json)


def _as_object(letter: "DeadLetter") -> dict[str, Any]:
    import msgspec

    asked = None if letter.spec is None else {k: v for k, v in msgspec.to_builtins(letter.spec).items() if k != "type"}
    if asked is not None and letter.block is not None:
        asked["block"] = letter.block
    return {
        "letter": letter.id,
        "kind": letter.kind,
        "of": letter.of,
        "subject": letter.subject,
        "reason": letter.reason,
        "at_ms": letter.at_ms,
        "asked_for": asked,
    }


def _as_text_or_hex(data: bytes) -> dict[str, str | None]:
    """Bytes as text if they are UTF-8, and as hexadecimal digits."""
    try:
        text: str | None = data.decode()
    except UnicodeDecodeError:
        text = None
    return {"text": text, "hex": data.hex()}


def _facts(letter: "DeadLetter") -> list[tuple[str, str]]:
    from reckoner.producer.sentences import job_in_words

    facts = [
        ("id", letter.id),
        ("kind", letter.kind),
        ("when", format_time(letter.at_ms, exact=True)),
        ("reason", letter.reason or "none"),
    ]
    if letter.spec is not None:
        return [
            *facts,
            ("job", letter.subject),
            ("asked for", job_in_words(letter.spec, letter.block)),
            *_bound(letter.spec),
        ]
    facts += [("of", letter.of or "unknown"), ("subject", letter.subject or "none")]
    if letter.kind == "flow":
        return [*facts, ("asked for", "unreadable")]
    shown = _as_text_or_hex(letter.data)
    return [*facts, ("size", format_count(len(letter.data), "byte"))] + (
        [("text", shown["text"])] if shown["text"] else [("hex", shown["hex"] or "")]
    )


def _bound(spec: "Spec") -> list[tuple[str, str]]:
    from reckoner.shared.wire.shapes import StoreSpec

    return [("snapshot", spec.snapshot) if isinstance(spec, StoreSpec) else ("generation", spec.generation)]


def _about(letter: "DeadLetter") -> str:
    from reckoner.producer.sentences import job_in_words

    if letter.spec is not None:
        return job_in_words(letter.spec, letter.block)
    return " ".join(part for part in (letter.of, letter.subject) if part) or "unknown"
