"""`reckoner serve`: the HTTP API and the page, also beside a local system."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from reckoner.shared.settings import Settings

# Of the extra `http`.
PACKAGES = frozenset({"starlette", "uvicorn", "httptools", "uvloop", "jinja2", "prometheus_client"})
LOOPBACK, DEFAULT_PORT = "127.0.0.1", 8321


def serve(
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="The address to listen on.")] = LOOPBACK,
    port: Annotated[int, typer.Option("--port", metavar="PORT", min=0, max=65_535, help="0 takes a free one.")] = (
        DEFAULT_PORT
    ),
    tokens: Annotated[
        Path | None,
        typer.Option(
            "--tokens",
            metavar="FILE",
            help="A file with a line `ROLE NAME TOKEN` for each token; overrides RECKONER_HTTP_TOKENS_FILE. Roles are "
            "read, write and admin.",
            show_default="loopback only, without tokens",
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option("--processes", metavar="N", min=1, max=256, help="Number of processes.")
    ] = 1,
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", min=0.1, max=60, help="The time of a request that names none."),
    ] = 10.0,
    linger: Annotated[
        float,
        typer.Option(
            "--linger",
            metavar="SECONDS",
            min=0,
            max=600,
            help="How long SIGTERM leaves it open while it is not ready, for load balancers.",
        ),
    ] = 1.0,
) -> None:
    """Serve the HTTP API until Ctrl-C.

    Without a file of tokens it listens on this machine only, where everybody
    may do everything. See docs/http.md.

    Example: reckoner serve --port 8321
    """
    from reckoner.producer.cli.output import say
    from reckoner.shared.errors import UsageError
    from reckoner.shared.logs import configure_logs
    from reckoner.shared.redis.embedded import find_redis
    from reckoner.shared.settings import load_settings

    require_http("`reckoner serve`")
    from reckoner.producer.http.config import HttpConfig
    from reckoner.producer.http.serving import listen, serve_on, url_of
    from reckoner.producer.http.tokens import Access, is_loopback

    settings = load_settings()
    file = tokens or settings.http_tokens_path
    if file is None and not is_loopback(host):
        raise UsageError(
            f"Without tokens, it listens on this machine only. Give --tokens FILE, or a host such as 127.0.0.1 instead "
            f"of {host}."
        )
    access = Access(file)
    who = _who(len(access))
    config = HttpConfig(settings, find_redis(settings), access, timeout_s=timeout, linger_s=linger)
    _check(settings)
    with listen(host, port) as listening:
        say(who)
        print(f"serving {url_of(listening)}", flush=True)
        configure_logs(settings.log_level)
        serve_on(listening, config, processes)


@contextmanager
def served_beside(settings: "Settings", redis_url: str) -> Iterator[str]:
    """Serve API and page of a local system on this machine during the block; yields where.

    It takes another port if the usual one is taken. The extra `http` is required.

    Raises:
        SettingsError: the file of tokens is invalid.
    """
    from reckoner.producer.cli.output import say
    from reckoner.producer.http.config import HttpConfig
    from reckoner.producer.http.serving import listen, serve_beside, url_of
    from reckoner.producer.http.tokens import Access
    from reckoner.shared.errors import UsageError
    from reckoner.shared.logs import configure_logs

    file = settings.http_tokens_path
    access = Access(file)
    who = _who(len(access))
    try:
        listening = listen(LOOPBACK, DEFAULT_PORT)
    except UsageError as error:
        say(f"{error} The page takes a free one.")
        listening = listen(LOOPBACK, 0)
    configure_logs(settings.log_level)
    with listening:
        url = url_of(listening)
        with serve_beside(listening, HttpConfig(settings, redis_url, access)):
            say(who)
            yield url


def _who(tokens: int) -> str:
    who = f"{tokens} tokens" if tokens else "no tokens: this machine only, and everybody on it may do everything"
    return f"Who may what: {who}."


def _check(settings: "Settings") -> None:
    """Check the server; one that is away may come back."""
    from reckoner.producer.cli.edge import connect, run_async
    from reckoner.producer.cli.output import say
    from reckoner.shared.errors import RedisUnavailableError

    async def enter() -> None:
        async with connect(settings):
            pass

    try:
        run_async(enter())
    except RedisUnavailableError as error:
        say(f"{error} Requests are refused until it answers.")


def require_http(needed_by: str) -> None:
    """Import what serves.

    Raises:
        MissingExtraError: the extra `http` is not installed.
    """
    from reckoner.shared.errors import MissingExtraError

    try:
        import_module("reckoner.producer.http.serving")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in PACKAGES:
            raise
        raise MissingExtraError(
            f"{needed_by} needs {error.name}, which is not installed: pip install 'ready-reckoner[http]'."
        ) from error
