"""Debian's Chromium, driven by playwright, for tests that look at what a page shows.

A page is only as good as what a reader sees of it, so tests ask the browser: text, boxes, colours, errors, requests.
Take the fixture ``chromium`` (tests/conftest.py) and open pages with ``opened``::

    def test_the_page_names_the_model(chromium):
        with opened(chromium, url, width=390, dark=True) as seen:
            assert "sqlcoder" in seen.page.inner_text("body")
            assert seen.faults == [] and seen.requests == [url]
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class Seen:
    """An open page with what it did.

    Attributes:
        page: playwright's.
        faults: what scripts threw or wrote to the console as an error.
        requests: addresses the page asked for, itself included; ``data:`` and ``blob:`` hold their answer already.
        dialogs: messages of dialogs it opened (they are dismissed).
    """

    page: Any
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


def keep(page: Any, name: str) -> None:
    """A picture of a page in the folder ``WORKBENCH_SCREENSHOTS``, where pictures are wanted (README's are made so)."""
    folder = os.environ.get("WORKBENCH_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png")


def shown_store() -> Path | None:
    """A store of real builds to make pictures of, in place of made-up ones."""
    store = os.environ.get("WORKBENCH_SCREENSHOT_STORE")
    return Path(store).resolve() if store else None


@contextmanager
def running_chromium() -> Iterator[Any]:
    """Playwright's browser object, its process ended afterwards."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Any, url: str, *, width: int = 1280, height: int = 900, **options: Any) -> Iterator[Seen]:
    """A page at an address, in a context of its own.

    Args:
        browser: of the fixture ``chromium``.
        url: ``file:`` or ``http:``.
        width: of the window, in CSS pixels.
        height: likewise.
        options: ``dark=True`` for a reader who prefers dark; the rest goes to playwright's ``new_context``
            (``offline=True``, ``device_scale_factor=2``).
    """
    scheme = "dark" if options.pop("dark", False) else "light"
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **options)
    try:
        seen = Seen(context.new_page())
        seen.page.on("console", lambda message: seen.faults.append(message.text) if message.type == "error" else None)
        seen.page.on("pageerror", lambda error: seen.faults.append(str(error)))
        seen.page.on("request", lambda request: _note(seen, request.url))
        seen.page.on("dialog", lambda dialog: (seen.dialogs.append(dialog.message), dialog.dismiss()))
        seen.page.goto(url)
        yield seen
    finally:
        context.close()


def _note(seen: Seen, url: str) -> None:
    if not url.startswith(("data:", "blob:")):
        seen.requests.append(url)


def file_url(path: Path) -> str:
    """The ``file:`` address of a page on disk."""
    return path.resolve().as_uri()


def overflow(page: Any) -> int:
    """CSS pixels by which a page is wider than its window; 0 where nothing sticks out."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
