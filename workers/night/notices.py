"""Notices: the outcome of a night as JSON, to a command or an http(s) URL. A failure is logged, and harmless."""

import asyncio
import os
import shlex
import signal
import urllib.request
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress

import structlog

from reckoner.shared.serving.history import ENTRY, Entry

log = structlog.get_logger()

TRIES, TIMEOUT_S, PAUSE_S = 3, 10.0, 1.0


async def notify(target: str, entry: Entry, timeout_s: float = TIMEOUT_S, pause_s: float = PAUSE_S) -> bool:
    """Send the entry to a command's standard input, or to a URL by POST. Returns whether it arrived."""
    send = _post if target.startswith(("http://", "https://")) else _run
    for tries in range(1, TRIES + 1):
        try:
            async with asyncio.timeout(timeout_s):
                await send(target, ENTRY.encode(entry), timeout_s)
        except Exception as error:
            # The target may hold a secret, so neither it nor the message is logged.
            log.warning("notice failed", night=entry.id, tries=tries, error=type(error).__name__)
            await asyncio.sleep(pause_s * tries)
        else:
            log.info("notice sent", night=entry.id)
            return True
    return False


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Lets a redirection fail: urllib would follow it by GET, without the notice."""

    def redirect_request(self, *_: object) -> None:
        return None


async def _post(url: str, body: bytes, timeout_s: float) -> None:
    # Only http and https come here.
    request = urllib.request.Request(  # noqa: S310
        url, body, {"Content-Type": "application/json"}, method="POST"
    )

    def post() -> None:
        urllib.request.build_opener(_NoRedirects).open(request, timeout=timeout_s).close()

    await asyncio.to_thread(post)


async def _run(command: str, body: bytes, _: float) -> None:
    # A shell's own children are in its group.
    child = await asyncio.create_subprocess_exec(
        *shlex.split(command), stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
    )
    try:
        await child.communicate(body)
        if child.returncode:
            raise ChildProcessError(child.returncode)
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        await child.wait()
