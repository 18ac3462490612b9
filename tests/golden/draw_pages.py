"""Draw the golden pages that are not among the demo's samples, and write down what is read.

    python -m tests.golden.draw_pages

`pages/photograph.jpg` is a sample cheque, photographed at an angle on a dark desk, with less light
on one side. `pages/no-template.jpg` has four numbers on plain paper. `expected.json` gives, for
each page, what is written in each field and where its box is, in pixels. The values come from
what is written, the boxes from what was read: look at the difference before you commit it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.files.documents import DocumentLimits, only_pages, open_document
from pipeline.files.page import decode_page
from pipeline.placing.template import bundled_template
from pipeline.read import read_pages
from pipeline.readers.loaded import Readers, load_readers
from pipeline.types import Image, PageReading
from tests.samples import DEMO, DigitPages, written

PAGES = Path(__file__).parent / "pages"
EXPECTED = PAGES / "expected.json"
NUMBERS = ("253", "9916847512", "40", "77031")

# File, number of the page, template.
GOLDEN: tuple[tuple[Path, int, str | None], ...] = (
    (DEMO / "cheque-1.jpg", 1, "demo-cheque"),
    (DEMO / "clinic-forms.tif", 2, "demo-form"),
    (DEMO / "nist-form.png", 1, "nist-hsf"),
    (PAGES / "photograph.jpg", 1, "demo-cheque"),
    (PAGES / "no-template.jpg", 1, None),
)


def read_golden(path: Path, number: int, template: str | None, readers: Readers) -> PageReading:
    """Read page `number` of the document at `path`, by a bundled template or by its lines."""
    page = list(only_pages(open_document(path, DocumentLimits())))[number - 1]
    assert page.error is None
    data = path.read_bytes() if page.data is None else page.data
    (reading,) = read_pages([data], bundled_template(template) if template else None, readers)
    return reading


def photograph(page: Image, size: tuple[int, int], rng: np.random.Generator) -> Image:
    """Return a photograph of the grey `page`; `size` is its (width, height)."""
    (height, width), (columns, rows) = page.shape, size
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    seen_at = [(0.07, 0.22), (0.95, 0.17), (0.92, 0.80), (0.10, 0.76)]
    seen = np.array(seen_at, np.float32) * np.array(size, np.float32)
    matrix = cv2.getPerspectiveTransform(corners, seen)
    paper = cv2.warpPerspective(page.astype(np.float32), matrix, size, flags=cv2.INTER_AREA)
    covered = cv2.warpPerspective(np.ones(page.shape, np.float32), matrix, size)
    desk = cv2.GaussianBlur(rng.normal(70, 6, (rows, columns)), (0, 0), 3)
    across, down = np.linspace(0, 1, columns)[None, :], np.linspace(0, 1, rows)[:, None]
    light = 0.62 + 0.38 * (0.7 * across + 0.3 * down)
    lit = (paper * covered + desk * (1 - covered)) * light
    seen_by_camera = cv2.GaussianBlur(lit, (0, 0), 0.6) + rng.normal(0, 2.5, lit.shape)
    return np.asarray(np.clip(seen_by_camera, 0, 255), np.uint8)


def draw_pages() -> None:
    """Write the two images."""
    cheque = decode_page((DEMO / "cheque-2.jpg").read_bytes()).grey
    _write(PAGES / "photograph.jpg", photograph(cheque, (1500, 1000), np.random.default_rng(2)))
    digits = DigitPages()
    page = np.random.default_rng(3).normal(242, 2, (700, 640)).clip(0, 255).astype(np.uint8)
    for row, number in enumerate(NUMBERS):
        line = digits.page(number)
        page[40 + 160 * row : 180 + 160 * row, 30 : 30 + line.shape[1]] = line
    _write(PAGES / "no-template.jpg", page)


def _write(path: Path, image: Image) -> None:
    path.write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 70])[1].tobytes())


def _expected(path: Path, number: int, template: str | None, readers: Readers) -> dict[str, Any]:
    reading = read_golden(path, number, template, readers)
    names = [field.name for field in reading.fields]
    if template is None:
        truth = dict(zip(names, NUMBERS, strict=True))
    else:
        truth = written("cheque-2.jpg" if path.stem == "photograph" else path.name, number)
    boxes = [(field.box.x, field.box.y, field.box.w, field.box.h) for field in reading.fields]
    return {
        "file": path.name,
        "page": number,
        "template": template,
        "size": [reading.width, reading.height],
        "fields": {
            name: {"value": truth[name], "box": [round(side) for side in box]}
            for name, box in zip(names, boxes, strict=True)
        },
    }


def main() -> None:
    """Draw the pages and write `expected.json`."""
    PAGES.mkdir(exist_ok=True)
    draw_pages()
    readers = load_readers()
    pages = [_expected(*golden, readers) for golden in GOLDEN]
    text = (
        json.dumps(pages).replace('{"file"', '\n{"file"').replace('"fields": {', '"fields": {\n  ')
    )
    EXPECTED.write_text(
        text.replace('}, "', '},\n  "').replace(" \n", "\n") + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
