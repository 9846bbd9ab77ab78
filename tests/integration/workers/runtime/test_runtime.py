"""The runtime: where kernels run, and that a stopped kernel ends soon."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.store.snapshots import Snapshot
from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.kernels.building.build import build_tile
from reckoner.workers.kernels.scoring.candidates import lay_out
from reckoner.workers.kernels.scoring.score import score_users
from reckoner.workers.runtime.layout_files import LayoutFiles
from reckoner.workers.runtime.layouts import Layouts
from reckoner.workers.runtime.runtime import ADDITIONS_ON_LOOP
from reckoner.workers.runtime.scheduling import Scheduler
from tests.building import BIT_BYTES, no_floors, ranked_of, weighting_of
from tests.interactions import Interactions, everything
from tests.patience import slowness
from tests.world import Hand, World

SIZE = 2500
# A kernel looks at its flag every few milliseconds; a machine that is busy is slow. What it is stopped in takes longer.
SOON_S = 2.0


def score(data: Interactions, stop: Any) -> Any:
    """More than half a minute of work: one user with a huge history."""
    once_more, values = np.tile(data.user_items[:SIZE], SIZE), np.ones(data.user_items.size, np.float32)
    candidates = lay_out(data.user_ptr, data.user_items, values, 0, SIZE, stop=stop)
    if candidates is None:
        return None
    return score_users(candidates, np.array([0, once_more.size]), once_more, None, 9, left=None, stop=stop)


def build(data: Interactions, stop: Any) -> Any:
    """Half as much work: weighted items that all users have."""
    weighting = weighting_of(data, ModelConfig())
    return build_tile(
        *(ranked_of(data, weighting), weighting, no_floors(data), 0, SIZE, 0, SIZE),
        neighbours=9,
        bit_bytes=BIT_BYTES,
        stop=stop,
    )


@pytest.mark.parametrize("kernel", [score, build])
async def test_a_kernel_whose_task_is_cancelled_ends_soon_and_frees_its_thread(
    hand: Hand, kernel: Callable[[Interactions, Any], Any]
) -> None:
    """In the middle of endless work; the next kernel gets the thread."""
    data = everything(SIZE, weighted=True)
    began = threading.Event()

    def work(stop: Any) -> Any:
        began.set()
        return kernel(data, stop)

    running = asyncio.create_task(hand.runtime.kernel("batch", work))
    await asyncio.to_thread(began.wait)
    await asyncio.sleep(0.1)
    assert not running.done()
    since = time.monotonic()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await hand.runtime.kernel("batch", lambda _: "next") == "next"
    assert time.monotonic() - since < SOON_S * slowness()


async def test_a_small_kernel_runs_on_the_loop_and_another_one_in_a_thread_of_its_lane(hand: Hand) -> None:
    """Small is measured in additions."""

    def where(_: Any) -> str:
        return threading.current_thread().name

    here = threading.current_thread().name
    assert await hand.runtime.kernel("click", where, ADDITIONS_ON_LOOP - 1) == here
    assert (await hand.runtime.kernel("click", where, ADDITIONS_ON_LOOP)).startswith("click")
    assert (await hand.runtime.kernel("batch", where)).startswith("batch")


async def test_a_kernel_that_stops_by_itself_is_an_error(hand: Hand) -> None:
    """Its flag was not set."""
    for additions in (0, ADDITIONS_ON_LOOP):
        with pytest.raises(RuntimeError, match="stop flag was not set"):
            await hand.runtime.kernel("click", lambda _: None, additions)


async def test_kernels_that_take_long_to_load_are_waited_for_again(hand: Hand) -> None:
    """Compiling may take longer than a task may run; it happens once."""
    runtime = replace(hand.runtime, scheduler=Scheduler({"click": 1, "batch": 1}, patience_s=0.1))
    loaded, end = [], threading.Event()

    def load() -> None:
        end.wait()
        loaded.append(threading.current_thread().name)

    with pytest.raises(NotNowError):
        await runtime.load(load)
    assert not loaded
    end.set()
    for _ in range(2):
        await runtime.load(load)
    [thread] = loaded
    assert thread.startswith("blocking")


async def test_kernels_that_could_not_be_loaded_are_tried_again(hand: Hand) -> None:
    """The disk may have been full."""
    troubles = [OSError("no space")]

    def load() -> None:
        if troubles:
            raise troubles.pop()

    with pytest.raises(OSError, match="no space"):
        await hand.runtime.load(load)
    await hand.runtime.load(load)


class SlowLayouts(Layouts):
    """Layouts that block until released or stopped."""

    def __init__(self, files: LayoutFiles) -> None:
        super().__init__(files)
        self.threads: list[str] = []
        self.stopped = False
        self.begun, self.end = threading.Event(), threading.Event()

    def counting(self, snapshot: Snapshot, config: ModelConfig, popular: int, stop: Any) -> Any:
        self.threads.append(threading.current_thread().name)
        self.begun.set()
        while not self.end.wait(0.01):
            if stop[0]:
                self.stopped = True
                return None
        return super().counting(snapshot, config, popular, stop)


async def test_a_layout_that_takes_long_is_waited_for_again(hand: Hand, world: World) -> None:
    """It continues in the batch lane after its callers were handed back, and is shared by all callers."""
    layouts, config = SlowLayouts(hand.runtime.layouts.files), world.generations[0].config
    runtime = replace(hand.runtime, scheduler=Scheduler({"click": 1, "batch": 1}, patience_s=0.1), layouts=layouts)
    waiting = [runtime.lay_out(world.snapshot, config, 0) for _ in range(2)]
    assert [type(answer) for answer in await asyncio.gather(*waiting, return_exceptions=True)] == [NotNowError] * 2
    layouts.end.set()
    await asyncio.gather(*(runtime.lay_out(world.snapshot, config, 0) for _ in range(2)))
    await runtime.lay_out(world.snapshot, config, 0)
    assert layouts.cached_counting(world.snapshot, config, 0) is not None
    [thread] = layouts.threads
    assert thread.startswith("batch")


async def test_an_unneeded_layout_is_stopped(hand: Hand, world: World) -> None:
    """As when a worker stops; waiting callers are cancelled."""
    layouts = SlowLayouts(hand.runtime.layouts.files)
    runtime = replace(hand.runtime, layouts=layouts)
    waiting = asyncio.create_task(runtime.lay_out(world.snapshot, world.generations[0].config, 0))
    await asyncio.to_thread(layouts.begun.wait)
    await runtime.stop_shared_work()
    assert layouts.stopped
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_failed_layout_is_retried(hand: Hand, world: World) -> None:
    """There may have been no memory; the retry is shared."""
    troubles, made = [MemoryError()], 0

    class Full(Layouts):
        def counting(self, snapshot: Snapshot, config: ModelConfig, popular: int, stop: Any) -> Any:
            nonlocal made
            if troubles:
                raise troubles.pop()
            made += 1
            return super().counting(snapshot, config, popular, stop)

    runtime, config = replace(hand.runtime, layouts=Full(hand.runtime.layouts.files)), world.generations[0].config

    async def ask_again() -> None:
        with pytest.raises(MemoryError):
            await runtime.lay_out(world.snapshot, config, 0)
        await runtime.lay_out(world.snapshot, config, 0)

    await asyncio.gather(*(ask_again() for _ in range(3)))
    assert made == 1
    assert runtime.layouts.cached_counting(world.snapshot, config, 0) is not None
