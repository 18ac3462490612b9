"""What verifying costs a person: keystrokes, fields an hour, and the wait for the next crop.

    python -m benchmarks.keystrokes [--fields 40] [--write]

A script works as a person does, by keyboard, in Chromium, over a server of the pages: once with
what the machine read before her, once without. Amounts have three to six digits; of what the
machine read, one in ten is wrong, as among fields that policy does not release. The page counts the
keystrokes. Fields an hour are those of a person who presses a key in 0.28 s, an average typist who
is no secretary, and thinks 1.35 s where she reads or compares (Card, Moran and Newell, "The
Keystroke-Level Model for User Performance Time with Interactive Systems", CACM 23, 1980).

The wait is that from the event of the Enter key to the frame in which the next crop is there.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright
from sqlalchemy import func, select, update

from core.keying import VerifyMode
from core.settings import Settings
from db.migrate import upgrade
from db.models import Field, Keying, Reading
from tests.api_under_test import Api, png
from tests.running_api import Running, running_api

RESULTS = Path("benchmarks/results/keystrokes.md")
KEY, THINK = 0.28, 1.35  # seconds
WRONG = 0.1
LONGEST = 100  # milliseconds that a wait may take
SEED = 16

_WATCH = """() => {
  const crop = document.getElementById("crop");
  window.waits = [];
  document.getElementById("value").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    const before = crop.src;
    const look = () => {
      if (crop.src === before || !crop.complete) requestAnimationFrame(look);
      else window.waits.push(performance.now() - event.timeStamp);
    };
    requestAnimationFrame(look);
  }, { capture: true });
}"""


@dataclass(frozen=True, slots=True)
class Work:
    mode: str
    fields: int
    keystrokes: int  # as the page counted them
    thoughts: int  # times that a person reads or compares

    @property
    def seconds(self) -> float:
        return self.keystrokes * KEY + self.thoughts * THINK

    def row(self) -> str:
        each, hour = self.keystrokes / self.fields, 3600 * self.fields / self.seconds
        return f"| {self.mode} | {self.fields} | {self.keystrokes} | {each:.2f} | {hour:,.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=40)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS}")
    options = parser.parse_args()
    chance = random.Random(SEED)
    truths = [str(chance.randint(1, 9)) + _digits(chance) for _ in range(options.fields)]
    reads = [_misread(chance, one) if chance.random() < WRONG else one for one in truths]
    with _started() as (server, browser):
        confirmed, waits = _verify(server, browser, VerifyMode.CONFIRM, truths, reads)
        blind, more = _verify(server, browser, VerifyMode.BLIND, truths, reads)
    differ = sum(read != true for read, true in zip(reads, truths, strict=True))
    digits = sum(len(one) + 1 for one in truths)
    rows = [
        Work("confirm", len(truths), confirmed, len(truths) + differ),
        Work("blind", len(truths), blind, len(truths) + differ),
        Work("all keyed once, without a machine", len(truths), digits, len(truths)),
        Work("all keyed by two", len(truths), 2 * digits, 2 * len(truths)),
    ]
    text = _report(
        rows, sorted(waits + more), f"python -m benchmarks.keystrokes --fields {options.fields}"
    )
    print(text)
    if options.write:
        RESULTS.write_text(text, "utf-8")


def _digits(chance: random.Random) -> str:
    return "".join(str(chance.randint(0, 9)) for _ in range(chance.randint(2, 5)))


def _misread(chance: random.Random, true: str) -> str:
    """Return another value that differs in one digit."""
    at = chance.randrange(len(true))
    other = chance.choice([digit for digit in "123456789" if digit != true[at]])
    return true[:at] + other + true[at + 1 :]


@contextmanager
def _started() -> Iterator[tuple[Running, Browser]]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder)
        url = f"sqlite:///{home / 'counterfoil.sqlite3'}"
        upgrade(url)
        with running_api(Settings(home=home, database_url=url)) as server:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            yield server, browser
            browser.close()


def _verify(
    server: Running, browser: Browser, mode: VerifyMode, truths: list[str], reads: list[str]
) -> tuple[int, list[float]]:
    """Verify a batch by keyboard; return the keystrokes, and the wait of each Enter in ms."""
    api = server.with_new_tenant().api
    batch, expected = _batch(api, mode, truths, reads)
    page = browser.new_context(base_url=server.url).new_page()
    page.goto(api.sign_in_link(f"Ada {api.tenant}"))
    page.goto(f"/batches/{batch['id']}/verify")
    page.locator("#value:focus").wait_for()
    page.evaluate(_WATCH)
    while True:
        page.locator("#desk:not([hidden]) #value:focus, #done:not([hidden])").wait_for()
        if page.locator("#done").is_visible():
            break
        _key(page, expected, blind=mode == VerifyMode.BLIND)
    waits: list[float] = page.evaluate("window.waits")
    with api.db.reading() as s:
        of_batch = Keying.batch_id == batch["id"]
        strokes = s.scalar(select(func.sum(Keying.keystrokes)).where(of_batch))
    page.context.close()
    return int(strokes or 0), waits


def _key(page: Page, expected: dict[str, str], *, blind: bool) -> None:
    """Answer the question that is shown, and wait for the next as a person does."""
    shown = page.locator("#crop").get_attribute("src") or ""
    true = expected[shown.split("/")[2]]
    if blind or page.locator("#value").input_value() != true:
        page.keyboard.type(true)
    page.keyboard.press("Enter")
    page.wait_for_function(
        "shown => document.getElementById('crop').getAttribute('src') !== shown"
        " || document.getElementById('desk').hidden",
        arg=shown,
    )
    page.wait_for_timeout(150)  # quicker than any person; the server answers meanwhile


def _batch(
    api: Api, mode: VerifyMode, truths: list[str], reads: list[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a batch of one field a page, and what is true of each field."""
    files = [(f"{n}.png", png(n, width=400, height=120)) for n in range(len(truths))]
    batch: dict[str, Any] = api.upload(files).json()
    api.read(batch, fields=1)
    with api.db.transaction() as s:
        ids = list(s.scalars(select(Field.id).where(Field.batch_id == batch["id"])))
        for field_id, read in zip(ids, reads, strict=True):
            s.execute(update(Field).where(Field.id == field_id).values(value=read, verify=mode))
            s.execute(update(Reading).where(Reading.field_id == field_id).values(value=read))
    return batch, dict(zip(ids, truths, strict=True))


def _report(rows: list[Work], waits: list[float], command: str) -> str:
    least = waits[len(waits) * 95 // 100 - 1]
    return "\n".join(
        [
            "# What verifying costs a person",
            "",
            f"`{command}`. A key is {KEY} s, a thought {THINK} s (Card, Moran and Newell 1980, an"
            " average typist). Where she confirms, a person thinks once a field, and again where"
            " the machine is wrong (one field in ten); where she keys, once a field. In `blind` she"
            " is alone, so where she and the machine differ she is asked again and decides.",
            "",
            "| Mode | Fields | Keystrokes | A field | Fields an hour |",
            "|---|--:|--:|--:|--:|",
            *(row.row() for row in rows),
            "",
            f"From Enter to the next crop, {len(waits)} times in Chromium: median"
            f" {statistics.median(waits):.0f} ms, 95 of 100 within {least:.0f} ms, at most"
            f" {waits[-1]:.0f} ms; {sum(wait > LONGEST for wait in waits)} took longer than"
            f" {LONGEST} ms.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
