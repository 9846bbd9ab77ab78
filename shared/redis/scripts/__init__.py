"""The Lua scripts, one file for each change of state, and the one way to call them."""

import re
from collections.abc import Sequence
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any, NamedTuple, Protocol

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from reckoner.shared.redis.scripts import constants

Value = str | bytes | int | float
CONSTANT = re.compile(rf"\b({'|'.join(name for name in vars(constants) if name.isupper())})\b")
CALLED = re.compile(r"redis\.p?call\('(\w+)'")


class Fence(Protocol):
    """The claim under which a script makes a change, like the engine's `Lease`."""

    closing: bool
    """Whether a script that ends the job was sent, and has not failed."""
    closed: bool
    """Whether such a script has ended the job."""

    @property
    def job_id(self) -> str:
        """The job."""

    @property
    def queue(self) -> str:
        """The queue that the job was claimed from."""

    @property
    def token(self) -> str:
        """The fencing token of the claim."""

    def on_closing(self) -> bool:
        """Called when a script that ends the job is sent. Returns whether a claim follows."""


class Cached(NamedTuple):
    """A value that a script caches with its change. A life of 0 deletes what is cached."""

    key: str
    value: bytes
    life_s: int


class LeaseLostError(Exception):
    """The lease on the job has lapsed: another worker gets the job, and nothing was changed."""


class Script(NamedTuple):
    """A script's text and the hash by which the server knows it."""

    text: str
    sha: str


@cache
def load_script(name: str, closing: bool = False) -> Script:
    """The script `scripts/{name}.lua` behind the prelude; with `closing` as a change made under a job's claim."""
    folder = files("reckoner.shared.redis") / "scripts"
    prelude, text = ((folder / f"{part}.lua").read_text() for part in ("prelude", name))
    if closing:
        text = f"local function change(KEYS, ARGV)\n{text}\nend\n{(folder / 'closing.lua').read_text()}"
    # As literals: each local would be one more upvalue of the closures that the prelude makes at every call.
    text = CONSTANT.sub(lambda found: repr(getattr(constants, found[0])), f"{prelude}\n{text}")
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


@cache
def commands_of_scripts() -> tuple[str, ...]:
    """The commands that scripts need. INFO is optional, and left out."""
    folder = files("reckoner.shared.redis") / "scripts"
    texts = [path.read_text() for path in folder.iterdir() if path.name.endswith(".lua")]
    return tuple(sorted({command for text in texts for command in CALLED.findall(text)} - {"INFO"}))


async def ask(redis: Redis, *command: Value) -> Any:
    """One command's answer: redis-py types its own methods as an answer or an awaitable, which cannot be awaited."""
    return await redis.execute_command(*command)  # type: ignore[no-untyped-call]


async def call(
    redis: Redis,
    name: str,
    keys: Sequence[str],
    arguments: Sequence[Value] = (),
    lease: Fence | None = None,
    *,
    ends_job: bool = True,
    cached: Cached | None = None,
) -> Any:
    """Run a script by its hash, or with its text when the server does not know it yet.

    With a `lease` the change is made only under that lease, and the same script finishes the job if it `ends_job`, and
    writes a `cached` value if the change answers 1.

    Raises:
        LeaseLostError: the job is no longer under the lease; nothing was changed.
    """
    if lease is None:
        return await _run(redis, load_script(name), keys, arguments)
    script = load_script(name, closing=True)
    change = cached, keys, arguments
    lease.closing = ends_job
    try:
        try:
            answer = await ask(redis, "EVALSHA", script.sha, *_closing(lease, ends_job, *change))
        except NoScriptError:
            # The claim that was sent along came too early: this sends another one.
            answer = await ask(redis, "EVAL", script.text, *_closing(lease, ends_job, *change))
    except BaseException:
        lease.closing = False
        raise
    if answer is None:
        raise LeaseLostError
    lease.closed = ends_job
    return answer


def _closing(
    lease: Fence, ends_job: bool, cached: Cached | None, keys: Sequence[str], arguments: Sequence[Value]
) -> list[Value]:
    """The keys and arguments of a change under a lease. Call it only to send them: the lease is notified."""
    claims_next = ends_job and lease.on_closing()
    key, *value = cached or (lease.queue, "", "")
    fence: list[Value] = [lease.job_id, lease.token, int(ends_job), int(claims_next)]
    return [len(keys) + 2, lease.queue, key, *keys, *fence, *value, *arguments]


async def _run(redis: Redis, script: Script, keys: Sequence[str], arguments: Sequence[Value]) -> Any:
    try:
        return await ask(redis, "EVALSHA", script.sha, len(keys), *keys, *arguments)
    except NoScriptError:
        return await ask(redis, "EVAL", script.text, len(keys), *keys, *arguments)
