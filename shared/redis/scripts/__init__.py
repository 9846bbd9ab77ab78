"""The Lua scripts of this package, one file for each change of state, and the one way to call them."""

import re
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
    closing: bool = False
    """Whether such a script is under way or has ended the job: from then on the lease need not be held."""
    closed: bool = False
    """Whether one has ended the job."""


class Script(NamedTuple):
    """A script's text and the hash by which the server knows it."""

    text: str
    sha: str


@cache
def load_script(name: str, closing: bool = False) -> Script:
    """The script `scripts/{name}.lua` behind the prelude; with `closing` as one that ends a job with its change."""
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
    redis: Redis, name: str, keys: Sequence[str], arguments: Sequence[Value] = (), lease: Lease | None = None
) -> Any:
    """Run a script: by its hash, and with its text when the server doesn't know it yet.

    With a `lease` the job that is under it is finished in the same script, if it still is under it.
    """
    if lease is None:
        return await _run(redis, load_script(name), keys, arguments)
    lease.closing = True
    script = load_script(name, closing=True)
    try:
        try:
            answer = await ask(redis, "EVALSHA", script.sha, *_closing(lease, keys, arguments))
        except NoScriptError:
            # The claim that was sent along came before anything has changed: there is to be another one.
            answer = await ask(redis, "EVAL", script.text, *_closing(lease, keys, arguments))
    except BaseException:
        lease.closing = False
        raise
    lease.closed = True
    return answer


def _closing(lease: Lease, keys: Sequence[str], arguments: Sequence[Value]) -> list[Value]:
    """What a script is given that ends the job under a lease, at the moment at which it is sent."""
    claims_next = lease.on_closing()
    return [len(keys) + 1, lease.queue, *keys, lease.job_id, lease.token, int(claims_next), *arguments]


async def _run(redis: Redis, script: Script, keys: Sequence[str], arguments: Sequence[Value]) -> Any:
    try:
        return await ask(redis, "EVALSHA", script.sha, len(keys), *keys, *arguments)
    except NoScriptError:
        return await ask(redis, "EVAL", script.text, len(keys), *keys, *arguments)
