"""What tests of the pages in Chromium share."""

from __future__ import annotations

from collections.abc import Callable

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, ViewportSize

SignIn = Callable[..., Page]

PHONE: ViewportSize = {"width": 375, "height": 720}


def check_page(page: Page, width: int = PHONE["width"]) -> None:
    """Assert that a page is accessible, and no wider than the window."""
    found = Axe().run(page)
    assert found.violations_count == 0, f"{page.url}: {found.generate_report()}"
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width, f"{page.url} is {wide} pixels wide"
