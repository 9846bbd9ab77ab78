"""The methods of arq that the engine replaces: a new arq release is noticed."""

import inspect
import re
from hashlib import sha256
from pathlib import Path

import arq
import pytest

import reckoner.workers.engine
from reckoner.workers.engine.connection import EngineRedis
from reckoner.workers.engine.worker import EngineWorker

KINDS = {"Worker": (arq.Worker, EngineWorker), "ArqRedis": (arq.ArqRedis, EngineRedis)}
# Of the sources of arq 0.28: when one has changed, see what the engine has to do about it.
HASHES = {
    "ArqRedis.enqueue_job": "7da8706a747c1171",
    "Worker._cancel_aborted_jobs": "54575eaf8682f95b",
    "Worker._poll_iteration": "f8d39d823a0a59f2",
    "Worker.close": "5bcc9cb356680829",
    "Worker.finish_failed_job": "3e16087f318a7acf",
    "Worker.finish_job": "903f09c92830d3fd",
    "Worker.handle_sig": "985ff7ba01aa8f04",
    "Worker.handle_sig_wait_for_completion": "8f161d86834cc74e",
    "Worker.heart_beat": "2e9959bea66dc551",
    "Worker.main": "45ca1591c9717466",
    "Worker.record_health": "108f4b8686c9402d",
    "Worker.run_cron": "7d2d3784e6567fb2",
    "Worker.run_job": "589a19059ff84ee7",
    "Worker.start_jobs": "b45797cfa40bed7f",
}


def replaced() -> set[str]:
    """The methods in the table of `engine/__init__.py`."""
    names = set()
    for line in (reckoner.workers.engine.__doc__ or "").splitlines():
        if found := re.findall(r"`([\w.]+)`", line.split(" | ")[0] if line.startswith("| `") else ""):
            owner = found[0].partition(".")[0]
            names |= {name if "." in name else f"{owner}.{name}" for name in found}
    return names


def hashed(name: str) -> str:
    """The hash of a method's source."""
    owner, _, method = name.partition(".")
    return sha256(inspect.getsource(getattr(KINDS[owner][0], method)).encode()).hexdigest()[:16]


def test_the_table_names_methods_of_arq() -> None:
    """Each is listed once and tested here."""
    assert replaced() | {"Worker.run_cron"} == HASHES.keys()


@pytest.mark.parametrize("name", HASHES)
def test_a_replaced_method_of_arq_is_unchanged(name: str) -> None:
    """Its source is unchanged since the engine was written."""
    assert hashed(name) == HASHES[name]


@pytest.mark.parametrize("name", sorted(replaced()))
def test_a_replaced_method_is_overridden_or_never_called(name: str) -> None:
    """Its callers in arq are replaced, and the engine does not call it."""
    owner, _, method = name.partition(".")
    theirs, ours = KINDS[owner]
    if method in vars(ours):
        return
    call = re.compile(rf"\bself\.{method}\b")
    callers = [
        other
        for other, body in vars(theirs).items()
        if inspect.isfunction(body) and call.search(inspect.getsource(body))
    ]
    assert {f"{owner}.{caller}" for caller in callers} <= replaced()
    room = Path(inspect.getfile(EngineWorker)).parent
    assert not [module.name for module in room.glob("*.py") if call.search(module.read_text())]


def test_nothing_else_of_arq_is_overridden() -> None:
    """Except methods that are still called, and constructors."""
    for owner, (theirs, ours) in KINDS.items():
        both = {name for name in vars(ours) if inspect.iscoroutinefunction(getattr(theirs, name, None))}
        assert {f"{owner}.{name}" for name in both} - replaced() <= {
            "Worker.run_cron",
            "ArqRedis.aclose",
            "ArqRedis.execute_command",
        }
