"""Time limits and event loops of the client: a Redis that takes connections and never answers holds up no call."""

import asyncio
import inspect
from collections.abc import Callable
from contextlib import aclosing
from operator import attrgetter
from typing import Any

import pytest

from reckoner.producer.client.catalogue import Catalogue
from reckoner.producer.client.deadlines import Deadline, Deadlines
from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.client.operator import Operator
from reckoner.producer.client.recording import Event
from reckoner.shared.errors import WaitTimeoutError, WrongLoopError
from reckoner.shared.flows.heartbeats import LiveWorker
from reckoner.shared.flows.nights import NightOptions
from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.wire.shapes import Beat
from tests.commands import CommandLine
from tests.proxies import Proxy
from tests.servers import hanging
from tests.world import Generation

SHORT_S = 0.1
# So that no call ends by another limit than its own: that of a command, or of a connection which is made.
OTHERS = "socket_timeout=600&socket_connect_timeout=600"
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "acknowledge": ("entry",),
    "begin_night": (None, NightOptions()),
    "cancel": ("job",),
    "computed": (["u"],),
    "drain": ([LiveWorker("w", 0, 0, Beat(1, "w", "h", 1, "", 0, 0, 0, [], 1000))],),
    "enqueue": ("u",),
    "enqueue_for": (["i"],),
    "enqueue_many": (["u"],),
    "fit": ("s", ModelConfig(), 20),
    "follow": ("job",),
    "entry": ("entry",),
    "follow_night": ("night",),
    "night": ("night",),
    "follow_run": ("run",),
    "get": ("u",),
    "get_many": (["u"],),
    "drained": (["w"],),
    "drop_failures": ("group",),
    "hidden_for": ("u",),
    "hide": ("u", "i"),
    "catalogue.hide": (["i"],),
    "history": ("u",),
    "impressions": ("u",),
    "job": ("job",),
    "merge": ("visitor", "u"),
    "named_list": ("popular",),
    "pause": ("click",),
    "promote": ("generation",),
    "recommend": ("u",),
    "recommend_for": (["i"],),
    "recommended_for": (["i"],),
    "recommend_many": (["u"],),
    "recent": ("u",),
    "record": ("u", "i"),
    "record_many": ([Event("u", "i")],),
    "catalogue.reset_tags": ("i",),
    "resume": ("click",),
    "retry_failures": ("group",),
    "run": ("run",),
    "catalogue.replace_hidden": (["i"],),
    "show": ("u",),
    "show_item": ("i",),
    "similar": ("i",),
    "start_run": (1, 1),
    "catalogue.item": ("i",),
    "catalogue.set_tags": ("i", ["t"]),
    "catalogue.tag": ("i",),
    "catalogue.tags": (["i"],),
    "unhide": ("u", "i"),
    "catalogue.unhide": (["i"],),
    "wait": (["job"],),
}
# They close, or are for whoever has made another call's limit their own.
UNLIMITED = {"aclose", "cached", "computed", "recommended_for"}
CALLS: dict[str, Callable[..., Any]] = {
    path + name: call
    for path, of in (("", OpenReckoner), ("catalogue.", Catalogue), ("operator.", Operator))
    for name, call in inspect.getmembers(of, inspect.isfunction)
    if not name.startswith("_") and (inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call))
}


OPTIONS: dict[str, dict[str, Any]] = {"catalogue.tag": {"add": ["t"]}}


async def called(reckoner: OpenReckoner, name: str, **options: Any) -> None:
    """Make a call, or take the first item that it yields."""
    options |= OPTIONS.get(name, {})
    given = attrgetter(name)(reckoner)(*ARGUMENTS.get(name.removeprefix("operator."), ()), **options)
    await (given if inspect.isawaitable(given) else anext(given))


@pytest.mark.parametrize("name", [name for name in CALLS if name not in UNLIMITED])
async def test_a_call_takes_no_longer_than_it_may(name: str) -> None:
    """Even if Redis accepts the connection and never answers."""
    assert "timeout" in inspect.signature(CALLS[name]).parameters
    async with hanging() as port, aclosing(OpenReckoner(f"redis://127.0.0.1:{port}?{OTHERS}")) as reckoner:
        with pytest.raises(WaitTimeoutError):
            await called(reckoner, name, timeout=SHORT_S)


async def test_a_connection_that_is_there_and_hangs_holds_up_no_call(redis_url: str, prefix: str) -> None:
    """The limit includes connecting; the next call gets its own answer."""
    async with Proxy(redis_url) as proxy, OpenReckoner(f"{proxy.url}?{OTHERS}", prefix=prefix) as reckoner:
        proxy.hole()
        with pytest.raises(WaitTimeoutError):
            await reckoner.operator.alive(timeout=SHORT_S)
        proxy.heal()
        assert await reckoner.operator.alive() == []


async def test_a_limit_of_ones_own_goes_before_the_usual_one(
    redis_url: str, prefix: str, generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inner calls have no default limit, so that a caller's longer timeout holds on a slow network."""
    seen, start = list[float](), Deadlines.start

    def noted(self: Deadlines, timeout: float) -> Deadline:
        seen.append(timeout)
        return start(self, timeout)

    monkeypatch.setattr(Deadlines, "start", noted)
    async with OpenReckoner(redis_url, prefix=prefix) as reckoner:
        for name, arguments in ((name, ARGUMENTS[name]) for name in ("get", "enqueue", "recommend", "recommend_for")):
            await getattr(reckoner, name)(*arguments, timeout=77.0)
    assert generation.id
    assert seen == [77.0] * 4


async def test_get_gives_up_in_time() -> None:
    """`get` too, by its option."""
    async with hanging() as port:
        commands = CommandLine(redis_url=f"redis://127.0.0.1:{port}?{OTHERS}")
        ended = await asyncio.to_thread(commands.run, "get", "u", "--timeout", str(SHORT_S))
        assert (ended.code, ended.err) == (1, f"Redis did not answer within {SHORT_S:g} s.\n")


@pytest.mark.parametrize("name", CALLS)
async def test_a_client_in_another_event_loop_gets_an_error(redis_url: str, prefix: str, name: str) -> None:
    """Every call raises an error; in the first loop the client still works."""
    async with OpenReckoner(redis_url, prefix=prefix) as reckoner:
        with pytest.raises(WrongLoopError, match="one client for each loop"):
            await asyncio.to_thread(asyncio.run, called(reckoner, name))
        assert await reckoner.operator.alive() == []
