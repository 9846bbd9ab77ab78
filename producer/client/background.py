"""Runs the asynchronous client for blocking callers: in one event loop, in a thread of its own, for each process."""

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from reckoner.shared.errors import ClientClosedError

if TYPE_CHECKING:
    from reckoner.producer.client.reckoner import Reckoner

T = TypeVar("T")


class _Call(Generic[T]):
    """A coroutine that the loop runs, and the lock that its caller waits for."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._ended = threading.Lock()
        self._ended.acquire()
        self._answer: list[T] = []
        self._error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the loop."""
        self._task = asyncio.create_task(self._run())

    def cancel(self) -> None:
        """Cancel, in the loop."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            self._answer.append(await self._coroutine)
        except BaseException as error:
            self._error = error
        finally:
            # The task refers to this call.
            self._task = None
            self._ended.release()

    def wait(self) -> T:
        """Wait for the end; returns the answer or raises the error."""
        self._ended.acquire()
        error, self._error = self._error, None
        if error is None:
            return self._answer[0]
        try:
            raise error
        finally:
            # The error's traceback refers to this frame.
            del error


class LoopThread:
    """An event loop in a daemon thread, which runs until the interpreter ends."""

    def __init__(self) -> None:
        self._loop = asyncio.SelectorEventLoop()
        threading.Thread(target=self._loop.run_forever, name="reckoner", daemon=True).start()
        self.inherited: list[object] = []
        """What a forked process keeps for ever, although it cannot use it."""

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and wait for its end; an interrupt of the wait, such as KeyboardInterrupt, cancels it."""
        call = _Call(coroutine)
        try:
            self._loop.call_soon_threadsafe(call.start)
            return call.wait()
        except BaseException:
            # It has no effect on a call that has ended.
            self._loop.call_soon_threadsafe(call.cancel)
            raise

    def start(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine without waiting for it."""
        self._loop.call_soon_threadsafe(_Call(coroutine).start)


# Held while a process starts its loop or a client. A fork waits for it, so that the child's copy is free.
STARTING = threading.Lock()
os.register_at_fork(before=STARTING.acquire, after_in_parent=STARTING.release, after_in_child=STARTING.release)


@cache
def _loop_of_process(_: int) -> LoopThread:
    """The loop of the process with this id."""
    return LoopThread()


class _Session(NamedTuple):
    """The asynchronous client of one process."""

    pid: int
    loop: LoopThread
    client: "Reckoner"

    def end(self) -> None:
        """Close the connections without waiting, or leave them to the parent process, which has opened them."""
        if self.pid == os.getpid():
            self.loop.start(self.client.aclose())
        else:
            # To collect a connection closes it, and TLS says goodbye, which ends the parent's connection.
            self.loop.inherited.append(self)


class Background:
    """An asynchronous client for blocking callers in any thread; it is made anew in each forked process.

    Args:
        make: Makes the client, without connecting.
    """

    def __init__(self, make: "Callable[[], Reckoner]") -> None:
        self._make = make
        self._closed = False
        # By the process.
        self._sessions: dict[int, _Session] = {}
        # Check the arguments. The thread starts with the first call, so that a process can be forked before.
        make()

    def _session(self) -> _Session:
        pid = os.getpid()
        session = self._sessions.get(pid)
        if session is not None:
            return session
        with STARTING:
            return self._sessions.get(pid) or self._start(pid)

    def _start(self, pid: int) -> _Session:
        if self._closed:
            raise ClientClosedError
        for inherited in self._sessions.values():
            inherited.end()
        session = self._sessions[pid] = _Session(pid, _loop_of_process(pid), self._make())
        weakref.finalize(self, session.end)
        return session

    def run(self, call: "Callable[[Reckoner], Coroutine[Any, Any, T]]") -> T:
        """Make a call of the client and wait for its end."""
        _, loop, client = self._session()
        return loop.run(call(client))

    def iterate(self, call: "Callable[[Reckoner], AsyncIterator[T]]") -> Iterator[T]:
        """Yield what a call of the client yields."""
        _, loop, client = self._session()
        source = call(client)
        # asyncio closes a generator that is dropped.
        while found := loop.run(_next(source)):
            yield found[0]

    def close(self) -> None:
        """Close the connections; calls that wait in other threads raise ClientClosedError."""
        self._closed = True
        session = self._sessions.get(os.getpid())
        if session is not None:
            session.loop.run(session.client.aclose())


async def _next(source: AsyncIterator[T]) -> list[T]:
    try:
        return [await anext(source)]
    except StopAsyncIteration:
        return []
