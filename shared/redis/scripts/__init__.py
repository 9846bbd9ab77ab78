"""The Lua scripts of this package, one file for each change of state, and the one way to call them."""

from collections.abc import Sequence
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

Value = str | bytes | int | float


class Script(NamedTuple):
    """A script's text and the hash by which the server knows it."""

    text: str
    sha: str


@cache
def load_script(name: str) -> Script:
    """The script `scripts/{name}.lua` behind the prelude."""
    folder = files("shared.redis") / "scripts"
    text = (folder / "prelude.lua").read_text() + "\n" + (folder / f"{name}.lua").read_text()
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


async def ask(redis: Redis, *command: Value) -> Any:
    """One command's answer; redis-py's own methods are typed as an answer or its promise, which nobody can await."""
    return await redis.execute_command(*command)  # type: ignore[no-untyped-call]


async def call(redis: Redis, name: str, keys: Sequence[str], arguments: Sequence[Value] = ()) -> Any:
    """Run a script: by its hash, and with its text when the server doesn't know it yet."""
    script = load_script(name)
    try:
        return await ask(redis, "EVALSHA", script.sha, len(keys), *keys, *arguments)
    except NoScriptError:
        return await ask(redis, "EVAL", script.text, len(keys), *keys, *arguments)
