"""`make pictures`: take the pictures of docs/guide from the running pages.

It starts the embedded stack in a folder that it removes again, has the bundled samples read, walks
through the pages in Chromium as the guide does, and writes one PNG for each picture.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from cli.local.stack import Stack
from core.settings import load_settings

OUT: Final = Path(__file__).parents[1] / "docs" / "guide"
_WIDE: Final[ViewportSize] = {"width": 1100, "height": 760}
_PHONE: Final[ViewportSize] = {"width": 375, "height": 720}
_LONG: Final = (
    120_000  # milliseconds: the samples are read in seconds, on a slow machine in minutes
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A page of the guide: `open_` leads to it from the page of the samples' batch."""

    name: str
    open_: Callable[[Page], object]
    phone: bool = False
    dark: bool = False
    whole: bool = False  # the whole page, not only what a screen shows of it


def _verify(page: Page) -> None:
    page.get_by_role("link", name="Verify").first.click()
    expect(page.locator("#crop")).to_be_visible()


def _first_page(page: Page) -> None:
    page.locator("ul.pages a").first.click()


def _carpet(page: Page) -> None:
    page.goto(f"{page.url}/carpet")
    page.get_by_role("link", name="Check released ones").click()


def _balance(page: Page) -> None:
    """State the total that the samples would have with a 7 where 1861 ends with a 1."""
    page.goto(f"{page.url}/balance")
    page.get_by_label("Control total").fill(str(82 + 98870 + 1867 + 4397))
    page.get_by_role("button", name="Save").click()


def _people(page: Page) -> None:
    page.goto("/people")
    for name, role in (("Ada Lovelace", "supervisor"), ("Grace Hopper", "verifier")):
        if page.get_by_text(name).count() == 0:
            page.locator("input[name=name]").fill(name)
            page.locator("select[name=role]").first.select_option(role)
            page.get_by_role("button", name="Add").click()
            page.goto("/people")


PICTURES: Final = (
    Picture("batches", lambda page: page.goto("/")),
    Picture("batch", lambda page: None),
    Picture("upload", lambda page: page.goto("/upload")),
    Picture("verify", _verify),
    Picture("verify-dark", _verify, dark=True),
    Picture("verify-phone", _verify, phone=True),
    Picture("carpet", _carpet),
    Picture("page", _first_page),
    Picture("files", lambda page: page.get_by_role("link", name="Files").click()),
    Picture("balance", _balance),
    Picture("release", lambda page: page.goto("/policy"), whole=True),
    Picture("export", lambda page: page.goto(f"{page.url}/exports")),
    Picture("template", lambda page: page.goto("/templates/demo-cheque")),
    Picture("people", _people),
)


def take(browser: Browser, url: str, pictures: tuple[Picture, ...], out: Path) -> None:
    """Sign in at `url`, have the samples read, and write the pictures into the folder `out`."""
    first = browser.new_context(viewport=_WIDE)
    page = first.new_page()
    page.goto(url)
    page.get_by_role("button", name="samples").click()
    expect(page.get_by_role("link", name="Verify").first).to_be_visible(timeout=_LONG)
    expect(page.get_by_text("being read")).to_have_count(0, timeout=_LONG)
    batch, signed_in = page.url, first.storage_state()
    first.close()
    for picture in pictures:
        context = browser.new_context(
            base_url=url,
            storage_state=signed_in,
            viewport=_PHONE if picture.phone else _WIDE,
            color_scheme="dark" if picture.dark else "light",
            device_scale_factor=2 if picture.phone else 1,
        )
        page = context.new_page()
        page.goto(batch)
        picture.open_(page)
        page.wait_for_load_state("networkidle")
        page.screenshot(path=out / f"{picture.name}.png", full_page=picture.whole)
        sys.stdout.write(f"{picture.name}\n")
        context.close()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make pictures", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the pictures")
    parser.add_argument("--only", default="", help="pictures whose name contains this")
    options = parser.parse_args(arguments)
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.stderr.write("There is no Chromium on the PATH. Install it, for example with apt.\n")
        return 2
    chosen = tuple(picture for picture in PICTURES if options.only in picture.name)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        # Ignore COUNTERFOIL_* of this shell: samples must never reach a real database.
        settings = load_settings({}, home=Path(home), port=0, workers=2)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        with Stack(settings, report=lambda _: None) as stack:
            take(browser, stack.sign_in_url(), chosen, options.out)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
