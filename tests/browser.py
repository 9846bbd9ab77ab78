"""A browser for tests: Debian's Chromium driven by Playwright, and axe-core; `make test-page` fetches them."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.debian import find

AXE = Path(sys.prefix) / "page" / "node_modules" / "axe-core" / "axe.min.js"
# Playwright's own limit for a step, in milliseconds.
STEP_MS = 15_000
# What axe-core calls a barrier.
BARRIERS = ("serious", "critical")


@asynccontextmanager
async def browser() -> AsyncIterator[Any]:
    """A browser without a window."""
    from playwright.async_api import async_playwright

    chromium = find("chromium", "usr/lib/chromium/chromium")
    async with async_playwright() as playwright:
        # Root, as in a container, has no sandbox.
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        yield await playwright.chromium.launch(executable_path=str(chromium), args=options)


@asynccontextmanager
async def page_in(running: Any, **options: Any) -> AsyncIterator[tuple[Any, list[str]]]:
    """An empty page, and what goes wrong in it: refused by the policy, not found, or raised by the script."""
    context = await running.new_context(**options)
    context.set_default_timeout(STEP_MS)
    page, wrong = await context.new_page(), list[str]()
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    try:
        yield page, wrong
    finally:
        await context.close()


async def barriers(page: Any) -> list[str]:
    """What keeps people from using this page, as axe-core finds it."""
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("axe.run()")
    return [
        f"{each['impact']}: {each['id']}: {node['html'][:200]}"
        for each in found["violations"]
        if each["impact"] in BARRIERS
        for node in each["nodes"]
    ]
