"""`reckoner forget`: erases users, and says what still has them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from reckoner.producer.cli.arguments import AsJson, Users, UsersFile, read_users
from reckoner.producer.cli.edge import connect, run_async, without_extra
from reckoner.producer.cli.output import print_json, print_line
from reckoner.producer.formats import format_count, format_time

if TYPE_CHECKING:
    from reckoner.producer.forgetting.forgetting import Forgetting
    from reckoner.shared.settings import Settings


def forget(
    users: Users = None,
    users_file: UsersFile = None,
    undo: Annotated[bool, typer.Option("--undo", help="Let later imports have the users again.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Only look for the users in Redis, snapshots and files. 1 if one is found.")
    ] = False,
    now: Annotated[bool, typer.Option("--now", help="Delete old snapshots with the users now.")] = False,
    as_json: AsJson = False,
) -> None:
    """Forget users: erase what there is of them, and leave them out of all later snapshots.

    Their lists, jobs, events and hidden items are deleted from Redis, and new
    events for them are refused. The store keeps a keyed hash of each id. The
    current snapshot is replaced; run `fit` and `batch` afterwards, or wait for
    the night. Snapshots that still have them are named with the date when they
    are deleted.

    Example: reckoner forget 4711
    """
    from reckoner.shared.errors import UsageError

    if undo + verify + now > 1:
        raise UsageError("Give one of --undo, --verify and --now.")
    wanted = list(dict.fromkeys(read_users(users, users_file)))
    try:
        from reckoner.producer.forgetting.forgetting import Forgetting
    except ModuleNotFoundError as error:
        raise without_extra(error, "Forgetting") from error
    from reckoner.shared.settings import load_settings
    from reckoner.shared.store.location import store_of
    from reckoner.shared.store.ownership import claim_store

    settings = load_settings()

    async def work() -> bool:
        # Redis first: an outage is the error to report.
        async with connect(settings) as reckoner:
            store = store_of(settings, create=False)
            await claim_store(reckoner.redis, settings, store)
            forgetting = Forgetting(reckoner, store, wanted)
            if undo:
                await forgetting.undo()
                _print({"users": len(wanted)}, [f"No longer forgotten: {format_count(len(wanted), 'user')}."], as_json)
            elif verify:
                return await _verify(forgetting, settings, as_json)
            else:
                await _forget(forgetting, len(wanted), now, as_json)
            return True

    if not run_async(work()):
        raise typer.Exit(1)


async def _forget(forgetting: "Forgetting", users: int, now: bool, as_json: bool) -> None:
    erased = await forgetting.forget()
    rewritten = await forgetting.rewrite_file()
    if now:
        await forgetting.delete_holders()
    facts, sentences = await _holders(forgetting)
    lines = [f"Forgotten: {format_count(users, 'user')}. Deleted from Redis: {format_count(erased, 'key')} or entries."]
    if not rewritten:
        lines.append("The server's append-only file still has them: run BGREWRITEAOF. Its backups have them too.")
    _print({"users": users, "erased": erased, "rewritten": rewritten, "snapshots": facts}, lines + sentences, as_json)


async def _verify(forgetting: "Forgetting", settings: "Settings", as_json: bool) -> bool:
    from reckoner.shared.store.bucket import is_bucket
    from reckoner.shared.store.location import store_directory

    of_store = [] if is_bucket(settings.store_location) else [store_directory(settings.store_location)]
    keys, files = await forgetting.search([settings.home_path, *of_store])
    facts, sentences = await _holders(forgetting)
    lines = [f"Redis key: {key}" for key in keys] + [f"File: {file}" for file in files] + sentences
    found = {"keys": keys, "files": files, "snapshots": facts}
    _print(found, lines or ["Nothing was found in Redis, snapshots and files."], as_json)
    return not lines


async def _holders(forgetting: "Forgetting") -> tuple[list[dict[str, Any]], list[str]]:
    """The snapshots that have one of the users, as JSON objects and as sentences."""
    holders = await forgetting.holders()
    sentences = [
        f"Snapshot {each.snapshot} has them until {format_time(each.until_ms)}. `--now` deletes it."
        if each.until_ms is not None
        else f"Snapshot {each.snapshot} has them, and is needed by {each.user}. It is deleted a day after it is not."
        for each in holders
    ]
    return [each._asdict() for each in holders], sentences


def _print(facts: dict[str, Any], lines: list[str], as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    for line in lines:
        print_line(line)
