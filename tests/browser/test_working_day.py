"""A working day in Chromium: 200 pages go in, people verify by keyboard, and the export is right.

The pages are drawn with digits of MNIST's test writers, so what is written on each is known: the
test types what a person would read. Everything runs as `counterfoil up` starts it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from cli.local.stack import TENANT, Stack
from cli.people import link_for
from core.roles import Role
from core.settings import Settings
from tests.http_client import HttpClient
from tests.samples import DATA
from tests.stacks import database_of
from training.synthesis import cheque, form
from training.synthesis.hand import load_mnist
from training.synthesis.scan import scan
from web import words

pytestmark = pytest.mark.slow

expect.set_options(timeout=120_000)  # the machine may be slow

CHEQUES, FORMS = 150, 50
SEED = 1600
NAMES = {words.label(name): name for name in (*cheque.BOXES, *form.BOXES)}
Truth = dict[str, dict[str, str]]  # by file and field: what is written


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """A folder of 200 scans, and what is written on each."""
    folder = tmp_path_factory.mktemp("scans")
    digits, rng = load_mnist(DATA), np.random.default_rng(SEED)
    truth: Truth = {}
    for number in range(CHEQUES + FORMS):
        if number < CHEQUES:
            written = {
                "date": f"{rng.integers(1, 29):02d}{rng.integers(1, 13):02d}2026",
                "amount": str(rng.integers(10, 10**5)),
                "account": f"{rng.integers(10**9, 10**10)}",
            }
            picture = cheque.render_cheque(
                **written, number=f"{number:06d}", digits=digits, rng=rng
            )
        else:
            counts = {name: str(rng.integers(0, 200)) for name, _ in form.ROWS}
            written = {"clinic": f"{rng.integers(10**5, 10**6)}", "week_ending": "06112026"}
            written |= counts
            picture = form.render_form(written, digits, rng)
        name = f"{number:03d}.jpg"
        grey = cv2.cvtColor(scan(picture, rng, skew=0.5, noise=2.0), cv2.COLOR_RGB2GRAY)
        (folder / name).write_bytes(cv2.imencode(".jpg", grey)[1].tobytes())
        truth[name] = written
    return folder, truth


class Day:
    """The running stack, which can be started again, and the browser of each person."""

    def __init__(self, home: Path, browser: Browser) -> None:
        self.settings = Settings(home=home, port=0, workers=2)
        self._browser = browser
        self._running = ExitStack()
        self.start()

    def start(self) -> None:
        self.stack = self._running.enter_context(Stack(self.settings, report=lambda _: None))
        port = int(self.stack.url.rpartition(":")[2])
        self.settings = self.settings.model_copy(update={"port": port})  # the same address again
        self.client = HttpClient(self.stack.url, self.stack.api_key)

    def stop(self) -> None:
        self.client.close()
        self._running.close()

    def open(self, path: str, name: str = "Ada", **options: Any) -> Page:
        """Open a page in a browser of its own, in which a person is signed in."""
        context = self._browser.new_context(base_url=self.stack.url, **options)
        page = context.new_page()
        with database_of(self.stack) as database:
            role, tenant = Role.ADMIN, TENANT
            page.goto(link_for(database, self.stack.url, name, role=role, tenant=tenant)[1])
        page.goto(path)
        return page


@pytest.fixture(scope="module")
def day(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    running = Day(tmp_path_factory.mktemp("day") / "home", chromium)
    yield running
    running.stop()


class Clerk:
    """Somebody who keys what is written, by keyboard alone."""

    def __init__(self, page: Page, truth: dict[tuple[str, str], str]) -> None:
        self.page = page
        self._truth = truth
        self.keyed = 0  # fields that waited
        self.checked = 0  # released ones that were asked again

    def key_next(self) -> bool:
        """Key the field that is shown and wait for the next; False where none is left."""
        expect(self.page.locator("#value:focus, #done:not([hidden])")).to_be_visible()
        if self.page.locator("#done").is_visible():
            return False
        shown = self.page.locator("#page").get_attribute("href") or ""
        found = re.fullmatch(r"/pages/([^/#]+)(?:#(.+)|/image)", shown)
        assert found, shown
        # A question that is asked blindly links to the picture alone.
        name = found[2] or NAMES[self.page.locator("#name").inner_text()]
        text = self._truth[found[1], name]
        self.page.keyboard.type(text)  # the value is selected: typing replaces it
        if not text:
            self.page.keyboard.press("Backspace")
            self.page.keyboard.press("Enter")  # empty must be said twice
        self.page.keyboard.press("Enter")
        another = f'#desk:not([hidden]) #page:not([href="{shown}"])'
        expect(self.page.locator(f"{another}, #done:not([hidden])").first).to_be_visible()
        if found[2]:
            self.keyed += 1
        else:
            self.checked += 1
        return True


def test_a_day(day: Day, scans: tuple[Path, Truth], tmp_path: Path) -> None:
    folder, truth = scans
    page = day.open("/upload")
    page.get_by_label("Or a whole folder").set_input_files(folder)
    page.get_by_label("Name of the batch").fill("Monday")
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", name="Monday")).to_be_visible()

    # She watches, without touching the page.
    expect(page.get_by_text("200 of 200")).to_be_visible(timeout=600_000)
    expect(page.get_by_role("link", name=re.compile("Verify .* fields"))).to_be_visible()
    batch_id = page.url.rpartition("/")[2]
    pages = day.client.pages(batch_id)
    written = {
        (one["id"], name): text
        for one in pages
        for name, text in truth[Path(one["file"]).name].items()
    }
    assert len(pages) == len(truth)

    page.get_by_role("link", name=re.compile("Verify .* fields")).click()
    first = Clerk(page, written)
    while first.keyed < 40:
        assert first.key_next()

    # The server is started again while she has a field before her.
    day.stop()
    day.start()
    assert first.key_next()

    second = Clerk(
        day.open(f"/batches/{batch_id}/verify", "Bob", viewport={"width": 375, "height": 720}),
        written,
    )
    working = [first, second]
    while working:
        working = [clerk for clerk in working if clerk.key_next()]
    expect(first.page.locator("#faults")).to_be_hidden()
    expect(second.page.locator("#faults")).to_be_hidden()
    assert second.keyed > 5, "two people shared the work"

    page = day.open(f"/batches/{batch_id}")
    expect(page.get_by_text("Every field has its value.")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    with download.value.path().open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert {(Path(row["file"]).name, row["field"]) for row in rows} == {
        (file, name) for file, fields in truth.items() for name in fields
    }
    wrong = [row for row in rows if row["value"] != truth[Path(row["file"]).name][row["field"]]]
    assert [row for row in wrong if row["state"] == "verified"] == [], (
        "what a person keyed came out"
    )
    assert len(wrong) <= 0.005 * len(rows), wrong
    verified = sum(row["state"] == "verified" for row in rows)
    assert verified == first.keyed + second.keyed, "no field was keyed twice"
