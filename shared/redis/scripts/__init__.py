"""The Lua scripts of this package, one file for each change of state, and the one way to call them."""

import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

Value = str | bytes | int | float
CALLED = re.compile(r"redis\.p?call\('(\w+)'")


@dataclass
class Lease:
    """A worker's hold on a job that it has claimed."""

    job_id: str
    queue: str
    token: str
    place: int
    on_closing: Callable[[], bool]
    """Is called when a script is sent that ends the job: its slot is as good as free. Whether a claim follows."""
    lapses_at: float = math.inf
    """When it lapses unless it is renewed, by `time.monotonic`."""
    closing: bool = False
    """Whether such a script is under way or has ended the job: from then on the lease need not be held."""
    closed: bool = False
    """Whether one has ended the job."""

    _was_late: bool = False

    @property
    def lapsed(self) -> bool:
        """Whether it was once not renewed in time: this process stood still, or could not reach Redis, and another
        worker may hold the job.
        """
        return self._was_late or time.monotonic() >= self.lapses_at

    def extend(self, lapses_at: float) -> None:
        """Note that it was renewed, and lapses at this moment unless it is renewed again."""
        self._was_late = self.lapsed
        self.lapses_at = lapses_at


class LeaseLostError(Exception):
    """The lease on the job has lapsed: another worker has the job, or will have it, and this one changes nothing."""


class Script(NamedTuple):
    """A script's text and the hash by which the server knows it."""

    text: str
    sha: str


@cache
def load_script(name: str, closing: bool = False) -> Script:
    """The script `scripts/{name}.lua` behind the prelude; with `closing` as a change made under a job's claim."""
    folder = files("shared.redis") / "scripts"
    prelude, text = ((folder / f"{part}.lua").read_text() for part in ("prelude", name))
    if closing:
        text = f"local function change(KEYS, ARGV)\n{text}\nend\n{(folder / 'closing.lua').read_text()}"
    text = f"{prelude}\n{text}"
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


@cache
def commands_of_scripts() -> tuple[str, ...]:
    """The commands that scripts call; INFO, which they bear with being refused, is not among them."""
    texts = [path.read_text() for path in (files("shared.redis") / "scripts").iterdir() if path.name.endswith(".lua")]
    return tuple(sorted({command for text in texts for command in CALLED.findall(text)} - {"INFO"}))


async def ask(redis: Redis, *command: Value) -> Any:
    """One command's answer; redis-py's own methods are typed as an answer or its promise, which nobody can await."""
    return await redis.execute_command(*command)  # type: ignore[no-untyped-call]


async def call(
    redis: Redis,
    name: str,
    keys: Sequence[str],
    arguments: Sequence[Value] = (),
    lease: Lease | None = None,
    *,
    ends_job: bool = True,
) -> Any:
    """Run a script: by its hash, and with its text when the server doesn't know it yet.

    With a `lease` its change is made only while the job is under that lease, and unless `ends_job` is false the job is
    finished in the same script.

    Raises:
        LeaseLostError: the job is no longer under the lease; nothing was changed.
    """
    if lease is None:
        return await _run(redis, load_script(name), keys, arguments)
    script = load_script(name, closing=True)
    lease.closing = ends_job
    try:
        try:
            answer = await ask(redis, "EVALSHA", script.sha, *_closing(lease, keys, arguments, ends_job))
        except NoScriptError:
            # The claim that was sent along came before anything has changed: there is to be another one.
            answer = await ask(redis, "EVAL", script.text, *_closing(lease, keys, arguments, ends_job))
    except BaseException:
        lease.closing = False
        raise
    if answer is None:
        raise LeaseLostError
    lease.closed = ends_job
    return answer


def _closing(lease: Lease, keys: Sequence[str], arguments: Sequence[Value], ends_job: bool) -> list[Value]:
    """What a script is given that makes a change under a lease, at the moment at which it is sent."""
    claims_next = ends_job and lease.on_closing()
    fence: list[Value] = [lease.job_id, lease.token, int(ends_job), int(claims_next)]
    return [len(keys) + 1, lease.queue, *keys, *fence, *arguments]


async def _run(redis: Redis, script: Script, keys: Sequence[str], arguments: Sequence[Value]) -> Any:
    try:
        return await ask(redis, "EVALSHA", script.sha, len(keys), *keys, *arguments)
    except NoScriptError:
        return await ask(redis, "EVAL", script.text, len(keys), *keys, *arguments)
