"""TIFF frames: every pixel that is read came from the file, whatever happened to the file."""

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

VARIETIES: dict[str, tuple[str, dict[str, Any]]] = {
    "Group 4": ("1", {"compression": "group4"}),
    "Group 4 in strips": ("1", {"compression": "group4", "tiffinfo": {278: 32}}),
    "Group 4, white is 0": ("1", {"compression": "group4", "tiffinfo": {262: 0}}),
    "Group 3": ("1", {"compression": "group3"}),
    "Group 3, two-dimensional": ("1", {"compression": "group3", "tiffinfo": {292: 1}}),
    "modified Huffman": ("1", {"compression": "tiff_ccitt"}),
    "LZW": ("1", {"compression": "tiff_lzw"}),
    "LZW, grey": ("L", {"compression": "tiff_lzw", "tiffinfo": {317: 2}}),
    "PackBits": ("1", {"compression": "packbits"}),
    "deflate": ("L", {"compression": "tiff_adobe_deflate"}),
    "JPEG": ("L", {"compression": "jpeg", "quality": 85}),
    "JPEG, colour": ("RGB", {"compression": "jpeg", "quality": 85}),
    "colour, LZW": ("RGB", {"compression": "tiff_lzw"}),
    "uncompressed": ("L", {"compression": "raw"}),
}
# In rows that are not compressed, or hardly, a block of zeros is pixels like others.
WITHOUT_A_CHECK = ("uncompressed",)


@cache
def drawn_page() -> Any:
    """A part of a form, with the noise of a scanner."""
    part = draw_tally()[440:840, 250:900].astype(np.int16)
    noise = np.random.default_rng(1).integers(-3, 4, part.shape)
    return np.clip(part + noise, 0, 255).astype(np.uint8)


def tiff(mode: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(drawn_page()).convert(mode).save(stream, "TIFF", **options)
    return stream.getvalue()


@pytest.mark.parametrize("name", VARIETIES)
def test_a_sound_frame_has_the_pixels_that_pillow_gives(name: str) -> None:
    mode, options = VARIETIES[name]
    data = tiff(mode, **options)
    with PIL.Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image.convert("L"))
    assert np.array_equal(decode_page(data).grey, expected)


@pytest.mark.parametrize("name", VARIETIES)
def test_a_block_that_is_lost_never_passes_with_other_pixels(name: str) -> None:
    mode, options = VARIETIES[name]
    data = tiff(mode, **options)
    whole = decode_page(data).grey
    for what, damaged in blocks_lost(data, size=len(data) // 20 + 30, count=20, seed=3):
        if what.startswith("zeros") and name in WITHOUT_A_CHECK:
            continue
        try:
            grey = decode_page(damaged).grey
        except InputError:
            continue
        assert np.array_equal(grey, whole), what


def test_an_end_mark_in_the_middle_of_a_fax_is_damage() -> None:
    """libtiff stops there without a word, and the rest of the page is white, or what was there."""
    data = tiff("1", compression="group4", tiffinfo={278: 10_000})
    with PIL.Image.open(io.BytesIO(data)) as image:
        start = image.tag_v2[273][0]
    length = len(data)
    end_mark = bytes.fromhex("00100100100100")
    at = start + (length - start) // 2
    with pytest.raises(InputError, match="TIFF page"):
        decode_page(data[:at] + end_mark + data[at + len(end_mark) :])


def test_a_strip_with_more_rows_than_the_frame_states_is_damage() -> None:
    data = bytearray(tiff("1", compression="tiff_lzw", tiffinfo={278: 10_000}))
    first = int.from_bytes(data[4:8], "little")
    height = data.index(b"\x01\x01\x03\x00", first) + 8
    data[height : height + 2] = (drawn_page().shape[0] - 9).to_bytes(2, "little")
    with pytest.raises(InputError, match="more pixels than it states"):
        decode_page(bytes(data))


def test_the_frames_beside_a_damaged_one_are_read(tmp_path: Path) -> None:
    frames = [PIL.Image.fromarray(drawn_page()).convert("1") for _ in range(3)]
    stream = io.BytesIO()
    frames[0].save(stream, "TIFF", save_all=True, append_images=frames[1:], compression="group4")
    data = bytearray(stream.getvalue())
    with PIL.Image.open(io.BytesIO(data)) as image:
        image.seek(1)
        start, length = image.tag_v2[273][0], image.tag_v2[279][0]
    data[start + length // 3 : start + length // 2] = bytes(length // 2 - length // 3)
    path = tmp_path / "document"
    path.write_bytes(data)
    pages = list(open_document(path, DocumentLimits()))
    assert [page.error is None for page in pages] == [True, False, True]
