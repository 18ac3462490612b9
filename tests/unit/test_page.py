"""decode_page: what every scanner writes becomes one kind of page, and nothing half-read passes."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.errors import InputError
from pipeline.files.page import decode_page, orientation_of, upright


def drawn(width: int = 96, height: int = 64, *, colour: bool = False, seed: int = 0) -> Any:
    """A page that is different everywhere: a gradient with noise."""
    random = np.random.default_rng(seed)
    across = np.linspace(60, 200, width)[None, :] + np.linspace(0, 40, height)[:, None]
    grey = np.clip(across + random.normal(0, 12, (height, width)), 0, 255).astype(np.uint8)
    return np.dstack([grey, grey[:, ::-1], 255 - grey]) if colour else grey


def saved(image: Any, kind: str, **options: Any) -> bytes:
    if isinstance(image, np.ndarray):
        image = PIL.Image.fromarray(image)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def luma(data: bytes) -> NDArray[np.uint8]:
    with PIL.Image.open(io.BytesIO(data)) as image:
        if image.format == "JPEG":
            image.draft("L", None)
        return np.asarray(image.convert("L"))


JPEGS = {
    "grey": saved(drawn(), "JPEG"),
    "colour, chroma halved": saved(drawn(colour=True), "JPEG", subsampling=2),
    "colour, chroma full": saved(drawn(colour=True), "JPEG", subsampling=0, optimize=True),
    "not a multiple of eight": saved(drawn(101, 63), "JPEG", quality=95),
    "narrow": saved(drawn(20, 60), "JPEG"),
    "restart markers": saved(drawn(), "JPEG", restart_marker_blocks=3),
    "RGB without YCbCr": saved(drawn(colour=True), "JPEG", keep_rgb=True),
    "progressive": saved(drawn(), "JPEG", progressive=True),
    "progressive, colour": saved(drawn(colour=True), "JPEG", progressive=True, quality=90),
}


@pytest.mark.parametrize("name", JPEGS)
def test_whole_jpeg_has_the_pixels_that_libjpeg_gives(name: str) -> None:
    page = decode_page(JPEGS[name])
    assert page.grey.dtype == np.uint8
    assert np.array_equal(page.grey, luma(JPEGS[name]))


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("ending", [b"", b"\xff\xd9"], ids=["bare", "ended"])
def test_jpeg_cut_anywhere_is_an_error_or_the_same_pixels(name: str, ending: bytes) -> None:
    data = JPEGS[name]
    whole = decode_page(data).grey
    for end in [*range(0, len(data) - 64, 13), *range(len(data) - 64, len(data))]:
        try:
            grey = decode_page(data[:end] + ending).grey
        except InputError:
            continue
        assert np.array_equal(grey, whole), f"other pixels when cut at {end} of {len(data)}"


@settings(max_examples=150, deadline=None)
@given(
    width=st.integers(33, 120),
    height=st.integers(1, 80),
    quality=st.integers(10, 100),
    colour=st.booleans(),
    optimize=st.booleans(),
    lost=st.integers(1, 40),
    seed=st.integers(0, 1000),
)
def test_baseline_jpeg_that_lost_its_last_bytes_never_passes_with_other_pixels(
    width: int, height: int, quality: int, colour: bool, optimize: bool, lost: int, seed: int
) -> None:
    image = drawn(width, height, colour=colour, seed=seed)
    data = saved(image, "JPEG", quality=quality, optimize=optimize, subsampling=0)
    whole = decode_page(data).grey
    try:
        grey = decode_page(data[: -2 - lost] + b"\xff\xd9").grey
    except InputError:
        return
    assert np.array_equal(grey, whole)


def test_missing_piece_between_restart_markers_is_found() -> None:
    data = JPEGS["restart markers"]
    first, second = data.index(b"\xff\xd0"), data.index(b"\xff\xd1")
    with pytest.raises(InputError) as error:
        decode_page(data[:first] + data[second:])
    assert error.value.code == "truncated"


def test_progressive_jpeg_without_its_last_scans_is_found() -> None:
    data = JPEGS["progressive"]
    last_scan = data.rindex(b"\xff\xda")
    with pytest.raises(InputError) as error:
        decode_page(data[:last_scan] + b"\xff\xd9")
    assert error.value.code == "truncated"
    assert "cut off" in str(error.value)
    assert "Scan or export it again." in str(error.value)


@pytest.mark.parametrize("surplus", [b"\0" * 8, b"\xa5" * 40])
def test_more_data_than_the_image_needs_is_an_error(surplus: bytes) -> None:
    """It is also what a garbled image looks like of which the decoder has lost its place."""
    with pytest.raises(InputError, match="missing or garbled") as error:
        decode_page(JPEGS["grey"][:-2] + surplus + b"\xff\xd9")
    assert error.value.code == "truncated"


@pytest.mark.parametrize(("at", "value"), [(1, 0xC3), (1, 0xC9), (4, 12)])
def test_lossless_arithmetic_and_twelve_bit_jpegs_are_named(at: int, value: int) -> None:
    data = bytearray(JPEGS["grey"])
    data[data.index(b"\xff\xc0") + at] = value
    with pytest.raises(InputError, match="lossless, arithmetic or 12-bit") as error:
        decode_page(bytes(data))
    assert error.value.code == "unsupported-variety"


def test_jpeg_of_very_many_scans_is_refused_before_it_is_decoded() -> None:
    data = JPEGS["progressive"]
    last = data.rindex(b"\xff\xda")
    with pytest.raises(InputError, match="more than 100 scans") as error:
        decode_page(data[:last] + 100 * data[last:-2] + b"\xff\xd9")
    assert error.value.code == "unsupported-variety"


def test_thumbnail_and_trailer_are_not_taken_for_the_image() -> None:
    thumbnail = saved(drawn(16, 16), "JPEG")
    exif = PIL.Image.Exif()
    data = saved(drawn(), "JPEG", exif=exif.tobytes() + thumbnail)
    assert np.array_equal(decode_page(data + thumbnail).grey, luma(JPEGS["grey"]))
    with pytest.raises(InputError, match="cut off"):
        decode_page(data[: data.index(thumbnail) + len(thumbnail) + 200])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_png_cut_anywhere_is_an_error(mode: str) -> None:
    grey = drawn(40, 30)
    wide = PIL.Image.fromarray(grey.astype(np.uint16) * 257)
    data = saved(wide if mode == "I;16" else PIL.Image.fromarray(grey).convert(mode), "PNG")
    for end in range(len(data)):
        with pytest.raises(InputError):
            decode_page(data[:end])


@settings(max_examples=60, deadline=None)
@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_png_with_a_flipped_bit_is_an_error_or_the_same(position: float, bit: int) -> None:
    data = bytearray(saved(drawn(), "PNG"))
    whole = decode_page(bytes(data)).grey
    data[int(position * len(data))] ^= 1 << bit
    try:
        grey = decode_page(bytes(data)).grey
    except InputError:
        return
    assert np.array_equal(grey, whole)


def test_png_with_too_little_behind_sound_checksums_is_an_error() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 40, 30, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" + b"\x7f" * 40)  # one row of thirty
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels)
    with pytest.raises(InputError):
        decode_page(data + chunk(b"IEND", b""))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_every_orientation_comes_out_upright(orientation: int, kind: str) -> None:
    corner = np.full((64, 96), 255, np.uint8)
    corner[:16, :32] = 0  # top left, wider than high
    stored = PIL.Image.fromarray(corner)
    undo = {
        2: [PIL.Image.Transpose.FLIP_LEFT_RIGHT],
        3: [PIL.Image.Transpose.ROTATE_180],
        4: [PIL.Image.Transpose.FLIP_TOP_BOTTOM],
        5: [PIL.Image.Transpose.TRANSPOSE],
        6: [PIL.Image.Transpose.ROTATE_90],
        7: [PIL.Image.Transpose.TRANSVERSE],
        8: [PIL.Image.Transpose.ROTATE_270],
    }
    for step in undo.get(orientation, []):
        stored = stored.transpose(step)
    if kind == "TIFF":
        data = saved(stored, kind, tiffinfo={274: orientation})
    else:
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        data = saved(stored, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))
    page = decode_page(data)
    assert page.grey.shape == corner.shape
    assert np.abs(page.grey.astype(int) - corner).max() < 30


def near(page: NDArray[np.uint8], expected: Any, tolerance: int = 2) -> bool:
    return page.shape == expected.shape and bool(
        (np.abs(page.astype(int) - expected.astype(int)) <= tolerance).all()
    )


def test_sixteen_bits_keep_the_upper_eight() -> None:
    grey = drawn()
    wide = grey.astype(np.uint16) * 257
    assert near(decode_page(saved(PIL.Image.fromarray(wide), "PNG")).grey, grey, 0)
    assert near(decode_page(saved(PIL.Image.fromarray(wide), "TIFF")).grey, grey, 0)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_twelve_bits_in_sixteen_are_as_bright_as_the_page(bits: int, kind: str) -> None:
    grey = drawn()
    grey[0, :10] = 255
    wide = (grey.astype(np.float64) * ((1 << bits) - 1) / 255).round().astype(np.uint16)
    wide[5, 5] = 65535  # a dead pixel of the sensor
    read = decode_page(saved(PIL.Image.fromarray(wide), kind)).grey.copy()
    read[5, 5] = grey[5, 5]
    assert near(read, grey, 1)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_pixels_that_are_not_square_are_made_so(kind: str) -> None:
    data = saved(drawn(100, 48), kind, dpi=(204, 98))
    assert decode_page(data).grey.shape == (100, 100)
    assert decode_page(saved(drawn(100, 48), kind, dpi=(98, 204))).grey.shape == (48, 208)
    assert decode_page(saved(drawn(100, 48), kind, dpi=(200, 200))).grey.shape == (48, 100)


def test_resolutions_that_make_no_sense_are_ignored() -> None:
    assert decode_page(saved(drawn(100, 48), "JPEG", dpi=(1, 300))).grey.shape == (48, 100)


def test_floating_point_tiff_of_nought_to_one() -> None:
    grey = drawn()
    data = saved(PIL.Image.fromarray(grey.astype(np.float32) / 255), "TIFF")
    assert near(decode_page(data).grey, grey, 0)


def test_cmyk_is_not_inverted() -> None:
    grey = drawn()
    cmyk = PIL.Image.fromarray(np.dstack([grey] * 3)).convert("CMYK")
    assert near(decode_page(saved(cmyk, "JPEG", quality=98)).grey, grey, 8)
    assert near(decode_page(saved(cmyk, "TIFF")).grey, grey)


def test_palette_and_one_bit() -> None:
    image = PIL.Image.fromarray(drawn(colour=True)).quantize(16)
    assert near(
        decode_page(saved(image, "PNG")).grey, np.asarray(image.convert("RGB").convert("L"))
    )
    bits = PIL.Image.fromarray(drawn()).convert("1")
    assert near(decode_page(saved(bits, "PNG")).grey, np.asarray(bits.convert("L")), 0)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "L", "RGB"])
def test_what_is_transparent_is_white_paper(mode: str) -> None:
    grey = np.full((20, 30), 0, np.uint8)
    grey[:, 10:] = 90
    expected = np.where(grey == 0, 255, grey)
    if mode in ("LA", "RGBA"):
        image = PIL.Image.fromarray(grey).convert(mode)
        image.putalpha(PIL.Image.fromarray(np.where(grey == 0, 0, 255).astype(np.uint8)))
        data = saved(image, "PNG")
    elif mode == "P":
        image = PIL.Image.fromarray((grey > 0).astype(np.uint8), "P")
        image.putpalette([0, 0, 0, 90, 90, 90])
        data = saved(image, "PNG", transparency=0)
    else:
        black = 0 if mode == "L" else (0, 0, 0)
        data = saved(PIL.Image.fromarray(grey).convert(mode), "PNG", transparency=black)
    assert near(decode_page(data).grey, expected)


@given(st.binary(max_size=120), st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]))
def test_exif_of_any_bytes_is_harmless(junk: bytes, start: bytes) -> None:
    assert 1 <= orientation_of(start + junk) <= 8


@given(st.integers(1, 8))
def test_upright_keeps_every_pixel(orientation: int) -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    turned = upright(image, orientation)
    assert sorted(turned.ravel()) == sorted(image.ravel())
    assert turned.shape == ((4, 3) if orientation >= 5 else (3, 4))


def huge(kind: str) -> bytes:
    if kind == "PNG":
        header = struct.pack(">IIBBBBB", 10_000, 6_000, 8, 0, 0, 0, 0)
        body = b"IHDR" + header
        chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
        return b"\x89PNG\r\n\x1a\n" + chunk
    data = bytearray(saved(PIL.Image.new("L", (8, 8)), kind))
    if kind == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", 6_000, 10_000)
        return bytes(data)
    return saved(PIL.Image.new("1", (10_000, 6_000)), "TIFF", compression="group4")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_sixty_megapixels_are_refused_before_they_are_decoded(kind: str) -> None:
    with pytest.raises(InputError, match=r"10000 × 6000 pixels, 60.0 million") as error:
        decode_page(huge(kind))
    assert error.value.code == "too-many-pixels"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\x0a" + bytes(64), "a JPEG XL image"),
        (saved(drawn(), "JPEG2000"), "a JPEG 2000 image"),
        (b"P7\nWIDTH 4\n" + bytes(64), "a PAM image"),
    ],
    ids=["jxl", "jp2", "pam"],
)
def test_another_kind_of_image_is_named(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=f"This is {words}.*Save it as JPEG or PNG") as error:
        decode_page(data)
    assert error.value.code == "wrong-type"


def test_empty_and_unknown_files_say_what_is_accepted() -> None:
    with pytest.raises(InputError, match=r"empty.*Accepted: JPEG, PNG") as error:
        decode_page(b"")
    assert error.value.code == "empty-file"
    with pytest.raises(InputError, match=r"not an image.*Accepted: JPEG, PNG"):
        decode_page(b"Dear Sir, please find enclosed")


def test_a_media_type_that_is_known_is_not_told_from_the_bytes_again() -> None:
    for kind in ("JPEG", "PNG", "TIFF"):
        data = saved(drawn(), kind)
        known = decode_page(data, f"image/{kind.lower()}")
        assert np.array_equal(known.grey, decode_page(data).grey)
        with pytest.raises(InputError):
            decode_page(data, "image/png" if kind == "JPEG" else "image/jpeg")


def test_tiff_of_several_frames_is_not_read_as_one_page() -> None:
    frames = [PIL.Image.fromarray(drawn(seed=n)) for n in range(2)]
    with pytest.raises(InputError) as error:
        decode_page(saved(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    assert error.value.code == "several-pages"


@given(st.binary(max_size=200), st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0"]))
def test_any_bytes_give_a_page_or_an_input_error(junk: bytes, start: bytes) -> None:
    with pytest.raises(InputError):
        decode_page(start + junk)
