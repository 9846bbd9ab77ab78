"""The page in a real browser, with the data of a real system (make test-page).

With PAGE_SHOTS=FOLDER it leaves a picture of each screen there.
"""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from reckoner.shared.flows.nights import NightOptions
from reckoner.shared.wire.shapes import UserSpec
from tests.browser import barriers, browser, page_in
from tests.commands import CommandLine
from tests.patience import PATIENCE_S
from tests.system import System, eventually, synthetic_pairs

USER, ITEM = "üser 001", "item:01"
SCREENS = ("/", "/nights", "/queue", "/workers", "/failures", "/user", "/item", "/models")
WIDTHS = (1280, 380)
SHOTS = os.environ.get("PAGE_SHOTS")


@asynccontextmanager
async def serving(system: System, port: int = 0) -> AsyncIterator[str]:
    """`reckoner serve`, and where it serves."""
    process = CommandLine(redis_url=system.server.url, home=system.home).start("serve", "--port", str(port))
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        lines = [await asyncio.to_thread(stream.readline) for stream in (process.stdout,)]
        [url] = re.findall(r"http://\S+", "".join(lines))
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)


@asynccontextmanager
async def a_site(tmp_path: Path) -> AsyncIterator[System]:
    """Two generations, workers, a night that fails, failed jobs, a hidden item and events."""
    async with System(tmp_path / "a home", source="/nowhere/purchases.csv") as system, system.reckoner() as reckoner:
        system.import_pairs(synthetic_pairs())
        system.start_workers(2)
        for neighbours in (20, 30):
            await system.fit(neighbours)
            await system.run()
        generation = await reckoner.generation()
        night_id, _, _ = await reckoner.operator.begin_night("2026-11-30", NightOptions())
        async for _ in reckoner.operator.follow_night(night_id, timeout=PATIENCE_S):
            pass
        await reckoner.catalogue.hide(["item:03"])
        await reckoner.catalogue.tag(ITEM, add=["new"])
        await reckoner.record(USER, "item:02")
        # Or a worker is faster.
        await reckoner.operator.pause("batch")
        for number in range(10, 15):
            join = reckoner.keys.join_user(generation, f"üser {number:03d}")
            [job] = await reckoner.flows.create([UserSpec(f"üser {number:03d}", generation)], [join], "batch")
            flow = await reckoner.flows.load(job)
            assert flow is not None
            await reckoner.flows.fail(flow, "no space is left on the disk", lease=None)
        await reckoner.operator.resume("batch")
        yield system


@pytest.mark.page
async def test_every_screen_is_whole_light_and_dark_wide_and_narrow(tmp_path: Path) -> None:
    """Nothing is refused by the policy or scrolls sideways, and axe-core finds no barrier."""
    wrong: list[str] = []
    async with a_site(tmp_path) as system, serving(system) as url, browser() as running:
        for scheme in ("light", "dark"):
            for width in WIDTHS:
                options = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
                async with page_in(running, **options) as (page, errors):
                    for path in await _paths(page, url):
                        await page.goto(url + path)
                        about = f"{path} {scheme} {width}: "
                        wrong += [about + barrier for barrier in await barriers(page)]
                        if (wide := await page.evaluate("document.documentElement.scrollWidth")) > width:
                            wrong.append(f"{about}{wide} pixels wide")
                        if SHOTS:
                            name = re.sub(r"\W+", "-", path).strip("-") or "overview"
                            await page.screenshot(path=f"{SHOTS}/{name}-{scheme}-{width}.png", full_page=True)
                    wrong += errors
    assert wrong == []


async def _paths(page: Any, url: str) -> list[str]:
    """The screens, with something to see on each."""
    await page.goto(url + "/nights")
    night = await page.get_by_role("link", name="night of 2026-11-30").get_attribute("href")
    return [*SCREENS, night, f"/user?id={USER}", f"/item?id={ITEM}", "/queue?job=none", "/change/pause?of=batch"]


@pytest.mark.page
async def test_a_failing_night_is_seen_and_failures_are_retried(tmp_path: Path) -> None:
    """From the overview to what failed and why, by links alone."""
    async with a_site(tmp_path) as system, serving(system) as url, browser() as running, page_in(running) as (page, _):
        await page.goto(url)
        await page.get_by_role("link", name="2026-11-30").click()
        await page.get_by_text("/nowhere/purchases.csv").first.wait_for()
        await page.get_by_role("link", name="Acknowledge").click()
        await page.get_by_role("button", name="Acknowledge").click()
        await page.get_by_role("status").get_by_text("is acknowledged").wait_for()
        await page.get_by_role("link", name="Failures").click()
        await page.get_by_text("no space is left on the disk").wait_for()
        await page.get_by_role("link", name="Retry 5 jobs").click()
        await page.get_by_role("button", name="Retry").click()
        await page.get_by_text("5 jobs retried.").wait_for()
        await page.get_by_text("No job has failed").wait_for()
        async with system.reckoner() as reckoner:

            async def idle() -> bool:
                return (await reckoner.operator.status()).queued == 0

            await eventually(idle)


@pytest.mark.page
async def test_the_page_follows_and_the_keyboard_is_enough(tmp_path: Path) -> None:
    """A change made elsewhere appears; one is made with keys alone; a server that is away is told, and comes back."""
    async with a_site(tmp_path) as system, browser() as running, page_in(running) as (page, _):
        async with serving(system) as url, system.reckoner() as reckoner:
            await page.goto(url + "/queue")
            await reckoner.operator.pause("click")
            await page.get_by_role("link", name="Resume click").wait_for()
            await page.keyboard.press("Tab")
            assert await page.evaluate("document.activeElement.textContent") == "Skip to the content"
            await page.keyboard.press("Enter")
            for _ in range(20):
                if await page.evaluate("document.activeElement.textContent") == "Resume click":
                    break
                await page.keyboard.press("Tab")
            # The part with the link is replaced meanwhile; the keyboard stays on it.
            await reckoner.enqueue(USER, fresh=True)
            await reckoner.operator.pause("batch")
            await page.get_by_role("link", name="Resume batch").wait_for()
            assert await page.evaluate("document.activeElement.textContent") == "Resume click"
            await page.keyboard.press("Enter")
            await page.get_by_role("heading", name="Resume the click lane?").wait_for()
            while await page.evaluate("document.activeElement.textContent") != "Resume":
                await page.keyboard.press("Tab")
            await page.keyboard.press("Enter")
            await page.get_by_text("The click lane goes on.").wait_for()
            port = int(url.rpartition(":")[2])
        await page.get_by_text("The server does not answer.").wait_for()
        async with serving(system, port), system.reckoner() as reckoner:
            await reckoner.operator.resume("batch")
            await page.get_by_role("link", name="Pause batch").wait_for()
            await page.get_by_text("The server does not answer.").wait_for(state="hidden")
