"""PDF pages: what cannot be decoded is an error, never white paper."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pikepdf
import PIL.Image
import pytest

from benchmarks.containers import CONTAINERS, bilevel, pdf_of
from core.errors import InputError
from pipeline.files.documents import DocumentLimits, open_document
from pipeline.files.page import decode_page
from pipeline.files.unpack import run_length
from pipeline.types import Image
from tests.damage import blocks_lost
from tests.drawing_pages import draw_tally

GREY = draw_tally()[440:640, 250:650]
HEIGHT, WIDTH = GREY.shape
IMAGE: dict[str, Any] = {"ColorSpace": pikepdf.Name.DeviceGray, "BitsPerComponent": 8}
FLATE = pikepdf.Name.FlateDecode


def opened(folder: Path, data: bytes) -> Image:
    """Return the only page of a document. Raises InputError if it cannot be read."""
    path = folder / "document"
    path.write_bytes(data)
    (page,) = open_document(path, DocumentLimits())
    if page.error is not None:
        raise page.error
    return decode_page(data if page.data is None else page.data).grey


def predicted(grey: Image) -> bytes:
    """Return pixels as a PNG's rows are packed, each the difference from the row above."""
    rows = np.vstack([grey[:1], np.diff(grey, axis=0)]).astype(np.uint8)
    return zlib.compress(np.hstack([np.full((len(rows), 1), 2, np.uint8), rows]).tobytes())


def a_run_length(data: bytes) -> bytes:
    return b"".join(bytes((127,)) + data[i : i + 128] for i in range(0, len(data), 128)) + b"\x80"


def padded(grey: Image) -> Image:
    """Return rows whose number is a multiple of 128 bytes."""
    return np.ascontiguousarray(grey[:, :384])


OTHERS = {
    "Flate with a predictor": lambda: pdf_of(
        predicted(GREY), (WIDTH, HEIGHT), Filter=FLATE,
        DecodeParms=pikepdf.Dictionary(Predictor=15, Columns=WIDTH), **IMAGE,
    ),
    "run lengths": lambda: pdf_of(
        a_run_length(padded(GREY).tobytes()), (384, HEIGHT),
        Filter=pikepdf.Name.RunLengthDecode, **IMAGE,
    ),
    "hexadecimal Flate": lambda: pdf_of(
        zlib.compress(GREY.tobytes()).hex().encode() + b">", (WIDTH, HEIGHT),
        Filter=pikepdf.Array([pikepdf.Name.ASCIIHexDecode, FLATE]), **IMAGE,
    ),
    "not packed": lambda: pdf_of(GREY.tobytes(), (WIDTH, HEIGHT), **IMAGE),
}  # fmt: skip
PDFS = {name: pack for name, pack in CONTAINERS.items() if name.startswith("PDF")}


@pytest.mark.parametrize("name", [*PDFS, *OTHERS])
def test_a_sound_pdf_is_drawn_and_a_lost_block_never_passes(tmp_path: Path, name: str) -> None:
    data = PDFS[name](GREY) if name in PDFS else OTHERS[name]()
    whole = opened(tmp_path, data)
    expected = np.asarray(bilevel(GREY).convert("L")) if "G4" in name or "JBIG2" in name else GREY
    rows, columns = (min(pair) for pair in zip(whole.shape, expected.shape, strict=True))
    assert np.abs(whole[:rows, :columns].astype(int) - expected[:rows, :columns]).mean() < 12
    for what, damaged in blocks_lost(data, size=len(data) // 20 + 80, count=8, seed=4):
        if what.startswith("zeros") and name in ("not packed", "run lengths"):
            continue  # zeros are black pixels there
        try:
            grey = opened(tmp_path, damaged)
        except InputError:
            continue
        assert np.array_equal(grey, whole), what


def changed(data: bytes, change: Any) -> bytes:
    """Return a PDF after `change(pdf)`, with its tables right again."""
    stream = io.BytesIO()
    with pikepdf.open(io.BytesIO(data)) as pdf:
        change(pdf)
        pdf.save(stream, compress_streams=False)
    return stream.getvalue()


SOUND = PDFS["PDF, JPEG"](GREY)


def _no_image(pdf: pikepdf.Pdf) -> None:
    del pdf.pages[0].Resources.XObject["/Im0"]


def _no_content(pdf: pikepdf.Pdf) -> None:
    del pdf.pages[0].obj["/Contents"]


def _zeros_in_content(pdf: pikepdf.Pdf) -> None:
    pdf.pages[0].Contents = pdf.make_stream(b"q 1 0 0 1 0 0 cm" + bytes(20) + b"Q")


def _too_high(pdf: pikepdf.Pdf) -> None:
    pdf.pages[0].Resources.XObject.Im0.Height = HEIGHT + 30


def _not_an_image(pdf: pikepdf.Pdf) -> None:
    pdf.pages[0].Resources.XObject.Im0.write(b"no JPEG", filter=pikepdf.Name.DCTDecode)


@pytest.mark.parametrize(
    "change", [_no_image, _no_content, _zeros_in_content, _too_high, _not_an_image]
)
def test_what_a_page_draws_must_be_there(tmp_path: Path, change: Any) -> None:
    with pytest.raises(InputError) as error:
        opened(tmp_path, changed(SOUND, change))
    assert error.value.code in ("damaged", "truncated")


@pytest.mark.parametrize("lost", [0, 40])
def test_an_image_within_the_content_is_checked_as_well(tmp_path: Path, lost: int) -> None:
    packed = zlib.compress(GREY.tobytes())
    packed = packed[: len(packed) // 2] + packed[len(packed) // 2 + lost :]
    content = b"q 144 0 0 72 0 0 cm BI /W %d /H %d /CS /G /BPC 8 /F /Fl ID %s\nEI Q" % (
        WIDTH,
        HEIGHT,
        packed,
    )

    def inline(pdf: pikepdf.Pdf) -> None:
        pdf.pages[0].Contents = pdf.make_stream(content)

    data = changed(SOUND, inline)
    if not lost:
        assert opened(tmp_path, data).min() < 128
        return
    with pytest.raises(InputError, match="damaged"):
        opened(tmp_path, data)


def test_zeros_behind_the_end_of_a_pdf_do_no_harm(tmp_path: Path) -> None:
    assert np.array_equal(opened(tmp_path, SOUND + bytes(5000)), opened(tmp_path, SOUND))


def test_run_lengths() -> None:
    assert run_length(b"\x02abc\xfdx\x80rest", 100) == b"abcxxxx"
    with pytest.raises(InputError):
        run_length(b"\x02abc", 100)
    with pytest.raises(InputError):
        run_length(b"\x81x" * 10 + b"\x80", 100)


@pytest.mark.parametrize("tables", [{}, {"optimize": True}])
def test_zeros_in_a_jpeg_are_damage_but_in_blank_paper(tables: dict[str, Any]) -> None:
    stream = io.BytesIO()
    blank = np.full((800, 800), 255, np.uint8)
    PIL.Image.fromarray(blank).save(stream, "JPEG", **tables)
    assert decode_page(stream.getvalue()).grey.min() == 255
