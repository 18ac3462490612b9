"""Containers composed at random: what is found in each is what was put in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.composed import KINDS, Composer
from benchmarks.counters import count_images, things
from benchmarks.numbered import MOST, draw_number, read_number
from core.errors import InputError
from pipeline.files.documents import DocumentLimits, open_document
from pipeline.files.page import decode_page
from pipeline.files.passed_over import PassedOver
from tests.samples import zipped


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_in_a_composed_container_is_found(kind: str, tmp_path: Path) -> None:
    for seed in range(4):
        made = KINDS[kind](Composer((7, seed)))
        path = tmp_path / "document"
        path.write_bytes(made.data)
        pages: list[int | None] = []
        named, refused = 0, ""
        try:
            for item in open_document(path, DocumentLimits()):
                if isinstance(item, PassedOver):
                    named += things(item.name)
                else:
                    pages.append(number_of(made.data if item.data is None else item.data))
        except InputError as exc:
            refused = exc.code
        assert (pages, named, refused) == (made.pages, made.beside, made.refused), seed


def number_of(image: bytes) -> int | None:
    try:
        return read_number(decode_page(image).grey)
    except InputError:
        return None


def test_every_number_is_told_from_every_other() -> None:
    for number in range(0, MOST, 13):
        assert read_number(np.asarray(draw_number(number))) == number
    assert read_number(np.full((96, 192), 255, np.uint8)) is None


def test_the_other_count_is_that_of_the_record() -> None:
    made = KINDS["fax"](Composer((7, 1)))
    pdf = KINDS["pdf_attachments"](Composer((7, 1)))
    assert count_images(made.data) == len(made.pages)
    assert (
        count_images(zipped({"a.tif": made.data, ".b": b"", "c.txt": b"x"})) == len(made.pages) + 2
    )
    assert len(pdf.pages) <= (count_images(pdf.data) or 0) <= len(pdf.pages) + pdf.beside
    assert count_images(b"no file of any kind") is None
    assert things("frame 3") == 1
    assert things("a.gif, frames 102 to 130") == 29
