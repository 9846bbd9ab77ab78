"""`reckoner status`: the system at a glance."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from producer.cli.edge import complete, connect
from producer.cli.output import counted, print_facts, print_json
from producer.cli.runs import as_object
from producer.cli.users import AsJson

if TYPE_CHECKING:
    from producer.client import Reckoner
    from producer.status import Status


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(status)


def status(as_json: AsJson = False) -> None:
    """Show workers, queue, flows and generations.

    Example: reckoner status --json
    """
    from shared.settings import load_settings

    settings = load_settings()

    async def look() -> None:
        async with connect(settings) as reckoner:
            await _show(reckoner, as_json)

    complete(look())


async def _show(reckoner: "Reckoner", as_json: bool) -> None:
    now = await reckoner.status()
    if as_json:
        runs = [as_object(run) for run in now.runs]
        print_json(asdict(now) | {"runs": runs, "refused_total": sum(now.refused.values())})
        return
    progress = {run.id: (await reckoner.run(run.id)).blocks_done for run in now.runs}
    print_facts(_facts(now, progress))


def _facts(now: "Status", progress: dict[str, int]) -> list[tuple[str, str]]:
    facts = [
        ("server", f"{now.server} {now.server_version}, {now.redis_memory_bytes / 2**20:.1f} MiB"),
        ("workers", ", ".join([str(len(now.workers)), *now.workers])),
        ("queue", counted(now.queued, "job")),
        ("flows", ", ".join(f"{count:,} in {state}" for state, count in now.flows.items())),
        ("generation", now.generation or "none yet: build a model with `reckoner fit`"),
    ]
    others = [("previous", now.previous), ("newest", now.newest if now.newest != now.generation else None)]
    facts += [(name, generation) for name, generation in others if generation]
    facts += [("run", f"{run.id}, {progress[run.id]:,} of {counted(run.blocks, 'block')} done") for run in now.runs]
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(now.refused.items()))
    return [
        *facts,
        ("results", f"{counted(now.results, 'list')} of this generation"),
        ("dead letters", f"{now.dead:,}"),
        ("refused", f"{sum(now.refused.values()):,}" + (f" ({kinds})" if kinds else "")),
    ]
