"""`reckoner serve`: the HTTP API and the page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from reckoner.shared.settings import Settings

DEFAULT_PORT = 8321


def serve(
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="The address to listen on.")] = "127.0.0.1",
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

    try:
        from reckoner.producer.http.config import HttpConfig
        from reckoner.producer.http.serving import listen, serve_on, url_of
        from reckoner.producer.http.tokens import is_loopback, read_tokens
    except ModuleNotFoundError as error:
        raise _without_http(error) from error
    settings = load_settings()
    file = tokens or settings.http_tokens_path
    if file is None and not is_loopback(host):
        raise UsageError(
            f"Without tokens, it listens on this machine only. Give --tokens FILE, or a host such as 127.0.0.1 instead "
            f"of {host}."
        )
    count = 0 if file is None else len(read_tokens(file))
    config = HttpConfig(settings, find_redis(settings), file, timeout_s=timeout, linger_s=linger)
    _check(settings)
    with listen(host, port) as listening:
        who = f"{count} tokens" if file else "no tokens: this machine only, and everybody on it may do everything"
        say(f"Who may what: {who}.")
        print(f"serving {url_of(listening)}", flush=True)
        configure_logs(settings.log_level)
        serve_on(listening, config, processes)


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


def _without_http(error: ModuleNotFoundError) -> Exception:
    from reckoner.shared.errors import MissingExtraError

    if (error.name or "").partition(".")[0] not in {"starlette", "uvicorn", "httptools", "uvloop", "jinja2"}:
        return error
    return MissingExtraError(
        f"`reckoner serve` needs {error.name}, which is not installed: pip install 'ready-reckoner[http]'."
    )
