"""Images that phones and drawing programs write: read as they are, or an error."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from core.errors import InputError
from pipeline.files.documents import DocumentLimits, open_document
from pipeline.files.page import decode_page
from tests.damage import blocks_lost
from tests.drawing_pages import draw_tally

HEIC = Path(__file__).parents[1] / "data" / "cheque.heic"  # a corner of demo/samples/cheque-1.jpg


@cache
def form() -> Any:
    return draw_tally()


def page() -> Any:
    """A part of a form, with the noise of a scanner."""
    part = form()[460:620, 300:640].astype(np.int16)
    noise = np.random.default_rng(1).integers(-3, 4, part.shape)
    return np.clip(part + noise, 0, 255).astype(np.uint8)


def saved(kind: str, mode: str = "L", **options: Any) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(page()).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def plain_pgm() -> bytes:
    rows = "\n".join(" ".join(map(str, row)) for row in page()[:60])
    return b"P2 # from a scanner\n%d 60\n255\n" % page().shape[1] + rows.encode()


def twelve_bits_pgm() -> bytes:
    wide = (page().astype(np.uint16) * 16 + 15).astype(">u2")
    return b"P5\n%d %d\n4095\n" % wide.shape[::-1] + wide.tobytes()


PICTURES = {
    "WebP": (saved("WEBP", "RGB", quality=90), 8),
    "WebP, lossless": (saved("WEBP", "RGB", lossless=True), 1),
    "BMP": (saved("BMP", "RGB"), 1),
    "BMP, black and white": (saved("BMP", "1"), 255),
    "GIF": (saved("GIF"), 2),
    "GIF, interlaced": (saved("GIF", interlace=1), 2),
    "PBM": (saved("PPM", "1"), 255),
    "PGM": (saved("PPM"), 0),
    "PGM, 12 bits": (twelve_bits_pgm(), 1),
    "PPM": (saved("PPM", "RGB"), 1),
    "AVIF": (saved("AVIF", "RGB", quality=90), 12),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_read_as_it_is(name: str, tmp_path: Path) -> None:
    data, tolerance = PICTURES[name]
    grey = decode_page(data).grey
    assert grey.shape == page().shape
    assert np.abs(grey.astype(int) - page()).mean() <= tolerance / 4
    path = tmp_path / "document"
    path.write_bytes(data)
    (opened,) = open_document(path, DocumentLimits())
    assert opened.media_type == "image/png"
    assert opened.data is not None
    assert np.array_equal(decode_page(opened.data).grey, grey)


def test_heic_of_a_phone_is_read() -> None:
    grey = decode_page(HEIC.read_bytes()).grey
    assert grey.shape == (200, 400)
    assert grey.std() > 5


def test_a_plain_pgm_is_read() -> None:
    assert np.array_equal(decode_page(plain_pgm()).grey, page()[:60])


CUT = {name: data for name, (data, _) in PICTURES.items()} | {
    "HEIC": HEIC.read_bytes(),
    "plain PGM": plain_pgm(),
}


@pytest.mark.parametrize("name", CUT)
def test_a_picture_cut_anywhere_is_an_error(name: str) -> None:
    data = CUT[name]
    for end in (*range(0, 200, 13), len(data) // 3, len(data) // 2, len(data) - 9):
        with pytest.raises(InputError):
            decode_page(data[:end])


# Of what is not packed, and of WebP's lossless codes, a block of zeros is pixels like others.
CHECKED = ("WebP", "GIF", "AVIF", "HEIC")


@pytest.mark.parametrize("name", CHECKED)
def test_a_block_that_is_lost_never_passes_with_other_pixels(name: str) -> None:
    data = CUT[name]
    whole = decode_page(data).grey
    for what, damaged in blocks_lost(data, size=700, count=8, seed=6):
        try:
            grey = decode_page(damaged).grey
        except InputError:
            continue
        assert np.array_equal(grey, whole), what


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "AVIF"])
def test_an_animation_is_no_single_page(kind: str, tmp_path: Path) -> None:
    frames = [PIL.Image.fromarray(page() // divisor) for divisor in (1, 2)]
    stream = io.BytesIO()
    frames[0].save(stream, kind, save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="2 images") as error:
        decode_page(stream.getvalue())
    assert error.value.code == "several-pages"


def test_a_second_pnm_behind_the_first_is_seen() -> None:
    with pytest.raises(InputError, match="2 images"):
        decode_page(saved("PPM") + saved("PPM"))


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "BMP", "PPM"])
def test_large_pictures_are_refused_before_they_are_decoded(kind: str) -> None:
    with pytest.raises(InputError, match="340 × 160 pixels") as error:
        decode_page(saved(kind), max_pixels=50_000)
    assert error.value.code == "too-many-pixels"


def test_a_photograph_lies_as_it_was_taken() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    assert decode_page(saved("WEBP", "RGB", exif=exif)).grey.shape == page().shape[::-1]
