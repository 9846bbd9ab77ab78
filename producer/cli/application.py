"""The command line: registers all commands and runs one to its exit code."""

import os
import sys

import typer

from reckoner.producer.cli import dead, history, store
from reckoner.producer.cli.batch import batch
from reckoner.producer.cli.cancel import cancel
from reckoner.producer.cli.compare import compare
from reckoner.producer.cli.config import config
from reckoner.producer.cli.demo import demo
from reckoner.producer.cli.doctor import doctor
from reckoner.producer.cli.drain import drain
from reckoner.producer.cli.edge import run_to_exit_code
from reckoner.producer.cli.enqueue import enqueue
from reckoner.producer.cli.evaluate import evaluate
from reckoner.producer.cli.export import export
from reckoner.producer.cli.fit import fit
from reckoner.producer.cli.forget import forget
from reckoner.producer.cli.generations import promote, rollback
from reckoner.producer.cli.get import get
from reckoner.producer.cli.hidden import hidden, hide, unhide
from reckoner.producer.cli.importing import import_
from reckoner.producer.cli.job import job
from reckoner.producer.cli.lanes import pause, resume
from reckoner.producer.cli.merge import merge
from reckoner.producer.cli.named_lists import lists
from reckoner.producer.cli.night import night
from reckoner.producer.cli.output import say
from reckoner.producer.cli.record import record
from reckoner.producer.cli.serve import serve
from reckoner.producer.cli.show import show
from reckoner.producer.cli.similar import similar
from reckoner.producer.cli.status import status
from reckoner.producer.cli.synth import synth
from reckoner.producer.cli.tags import tag, tags
from reckoner.producer.cli.tune import tune
from reckoner.producer.cli.users import users
from reckoner.producer.cli.version import version
from reckoner.producer.cli.workers import up, worker
from reckoner.shared.terminal import show_trace

app = typer.Typer(
    name="reckoner",
    help="Keeps every user's next N recommendations ready in Redis.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
# In the order in which a new user needs them.
app.command("import")(import_)
for command in (
    users, fit, evaluate, tune, compare, enqueue, get, show, similar, lists, record, merge, forget, hide, unhide,
    hidden, tag, tags, batch, export, night, rollback, promote, job, cancel, status, pause, resume, drain, doctor,
    config, worker, up, serve, demo, synth, version,
):  # fmt: skip
    # -TAG is no option.
    app.command(context_settings={"ignore_unknown_options": command is tag})(command)
for group in (history.group, dead.group, store.group):
    app.add_typer(group)


def run() -> int:
    """Run the command and return its exit code."""
    sys.excepthook = show_trace
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as this process lives
    if sys.stdout is None:
        say("Standard output is closed. Redirect it to a file or to /dev/null.")
        return 1
    # The locale may not be able to encode a title.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    return run_to_exit_code(lambda: app(sys.argv[1:] or ["--help"], prog_name="reckoner", standalone_mode=False))
