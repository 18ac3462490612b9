"""open_document: every page of every kind of file, or word of why not."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InputError
from pipeline.files.documents import (
    DocumentLimits,
    DocumentPage,
    Position,
    only_pages,
    open_document,
)
from pipeline.files.media import sniff
from pipeline.files.page import decode_page
from pipeline.files.passed_over import PassedOver

LIMITS = DocumentLimits()


def scan(seed: int = 0, mode: str = "L", size: tuple[int, int] = (60, 40)) -> PIL.Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0]), dtype=np.uint8)
    return PIL.Image.fromarray(values).convert(mode)


def saved(image: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def tiff(frames: Iterable[PIL.Image.Image], **options: Any) -> bytes:
    first, *others = frames
    return saved(first, "TIFF", save_all=True, append_images=others, **options)


def pdf(pages: Iterable[tuple[float, float]] = ((72, 36),), extra: bytes = b"") -> bytes:
    """A PDF of pages with a black square at the bottom left; sizes in points."""
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b""]
    kids = []
    for width, height in pages:
        drawing = b"0 0 10 10 re f"
        objects.append(b"<</Length %d>>stream\n%s\nendstream" % (len(drawing), drawing))
        box = f"[0 0 {width} {height}]".encode()
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox%s/Contents %d 0 R>>" % (box, len(objects))
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<</Type/Pages/Count %d/Kids[%s]>>" % (len(kids), b" ".join(kids))
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj%s endobj\n" % (number, body)
    start = len(data)
    data += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    data += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    data += b"trailer<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        extra,
        start,
    )
    return data


def encrypted_pdf() -> bytes:
    secret = b"<" + b"5a" * 32 + b">"
    encrypt = b"/Encrypt<</Filter/Standard/V 1/R 2/P -4/O%s/U%s>>" % (secret, secret)
    return pdf(extra=encrypt + b"/ID[<00><00>]")


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def opened(folder: Path, data: bytes, limits: DocumentLimits = LIMITS, **options: Any) -> list[Any]:
    path = folder / "document"
    path.write_bytes(data)
    return list(open_document(path, limits, **options))


def codes(pages: list[DocumentPage]) -> list[str]:
    return [page.error.code if page.error else "ok" for page in pages]


def pixels(page: DocumentPage) -> Any:
    assert page.data is not None
    return decode_page(page.data).grey


JPEG, PNG = saved(scan(), "JPEG"), saved(scan(), "PNG")


@pytest.mark.parametrize(("data", "kind"), [(JPEG, "image/jpeg"), (PNG, "image/png")])
def test_an_image_is_its_own_page(tmp_path: Path, data: bytes, kind: str) -> None:
    assert opened(tmp_path, data) == [DocumentPage("", kind)]


@pytest.mark.parametrize("compression", ["group4", "tiff_lzw", "packbits", None])
def test_every_bilevel_frame_comes_out_exactly_in_one_bit(
    tmp_path: Path, compression: str | None
) -> None:
    frames = [scan(seed, "1") for seed in range(5)]
    pages = opened(tmp_path, tiff(frames, compression=compression))
    assert codes(pages) == ["ok"] * 5
    for page, frame in zip(pages, frames, strict=True):
        assert page.media_type == "image/png"
        assert page.data is not None
        assert PIL.Image.open(io.BytesIO(page.data)).mode == "1"
        assert np.array_equal(pixels(page), np.asarray(frame.convert("L")))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "RGBA", "P"])
def test_frames_of_other_modes_come_out_grey(tmp_path: Path, mode: str) -> None:
    pages = opened(tmp_path, tiff([scan(1, mode), scan(2, mode)], compression="tiff_lzw"))
    for page, seed in zip(pages, (1, 2), strict=True):
        difference = pixels(page).astype(int) - np.asarray(scan(seed)).astype(int)
        assert np.abs(difference).max() <= 2


def test_fax_of_oblong_pixels_gets_its_shape_back(tmp_path: Path) -> None:
    (page,) = opened(tmp_path, tiff([scan(0, "1", (204, 98))], dpi=(204, 98)))
    assert pixels(page).shape == (204, 204)


def test_turned_frame_comes_out_upright(tmp_path: Path) -> None:
    (page,) = opened(tmp_path, saved(scan(), "TIFF", tiffinfo={274: 6}))
    assert np.array_equal(pixels(page), np.rot90(np.asarray(scan()), -1))


@settings(max_examples=120, deadline=None)
@given(cut=st.floats(0, 1, exclude_max=True), group4=st.booleans())
def test_tiff_cut_anywhere_loses_no_frame_in_silence(
    tmp_path_factory: pytest.TempPathFactory, cut: float, group4: bool
) -> None:
    frames = [scan(seed, "1" if group4 else "L") for seed in range(4)]
    data = tiff(frames, compression="group4" if group4 else "raw")
    folder = tmp_path_factory.getbasetemp()
    try:
        pages = opened(folder, data[: int(cut * len(data))])
    except InputError:
        return
    good = [page for page in pages if page.error is None]
    assert len(good) < len(frames) or codes(pages) == ["ok"] * 4
    assert len(good) == 4 or pages[-1].error is not None
    for page, frame in zip(good, frames, strict=False):
        assert np.array_equal(pixels(page), np.asarray(frame.convert("L")))


def test_good_frames_of_a_cut_tiff_are_delivered(tmp_path: Path) -> None:
    data = tiff([scan(seed) for seed in range(4)])
    pages = opened(tmp_path, data[: len(data) * 5 // 8])
    assert codes(pages)[:2] == ["ok", "ok"]
    assert pages[-1].error is not None
    assert "cut off" in str(pages[-1].error)


def test_tiff_whose_frames_run_in_a_circle_ends(tmp_path: Path) -> None:
    data = bytearray(tiff([scan(0), scan(1)]))
    first = struct.unpack_from("<I", data, 4)[0]
    entries = struct.unpack_from("<H", data, first)[0]
    second = struct.unpack_from("<I", data, first + 2 + 12 * entries)[0]
    entries = struct.unpack_from("<H", data, second)[0]
    struct.pack_into("<I", data, second + 2 + 12 * entries, first)
    assert codes(opened(tmp_path, bytes(data))) == ["ok", "ok", "damaged"]


def test_pdf_pages_are_drawn_at_200_dpi(tmp_path: Path) -> None:
    pages = opened(tmp_path, pdf([(72, 36), (36, 72)]))
    assert codes(pages) == ["ok", "ok"]
    grey = pixels(pages[0])
    assert grey.shape == (100, 200)
    assert grey[95, 5] == 0
    assert grey[5, 195] == 255
    assert pixels(pages[1]).shape == (200, 100)


def test_large_pdf_page_is_drawn_coarser_and_a_huge_one_refused(tmp_path: Path) -> None:
    limits = DocumentLimits(max_page_pixels=1_000_000)
    pages = opened(tmp_path, pdf([(72 * 8, 72 * 10), (14400, 14400)]), limits)
    assert codes(pages) == ["ok", "too-many-pixels"]
    assert pixels(pages[0]).size <= 1_000_000
    assert pixels(pages[0]).shape == (1117, 894)


def test_encrypted_pdf_asks_for_a_copy_without_password(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"encrypted.*without a password") as error:
        opened(tmp_path, encrypted_pdf())
    assert error.value.code == "encrypted"


def test_pdf_encrypted_by_a_handler_that_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"encrypted in a way.*without protection") as error:
        opened(tmp_path, encrypted_pdf().replace(b"/Filter/Standard", b"/Filter/Unknown_"))
    assert error.value.code == "encrypted"


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_cut_pdf_is_not_mended_in_silence(tmp_path: Path, part: float) -> None:
    data = pdf([(72, 72)] * 10)
    with pytest.raises(InputError) as error:
        opened(tmp_path, data[: int(part * len(data))])
    assert error.value.code == "truncated"


def test_broken_pdf(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="PDF is damaged"):
        opened(tmp_path, b"%PDF-1.4\nnothing of use\n%%EOF\n")


def test_zip_opens_every_member_in_its_place(tmp_path: Path) -> None:
    frames = [scan(1, "1"), scan(2, "1")]
    data = zipped(
        {
            "front/1.jpg": JPEG,
            "front/": b"",
            "__MACOSX/front/._1.jpg": b"\0\5\x16\7",
            "front/.DS_Store": b"x",
            "scan.tif": tiff(frames, compression="group4"),
            "one.tif": tiff(frames[:1]),
            "doc.pdf": pdf([(72, 36), (72, 36)]),
            "2.png": PNG,
            "notes.txt": b"these are the cheques of May",
            "empty.jpg": b"",
            "more.zip": zipped({"a.jpg": JPEG}),
            "locked.pdf": encrypted_pdf(),
            "last.jpg": JPEG,
        }
    )
    found = opened(tmp_path, data)
    pages = list(only_pages(found))
    assert [(item.name, item.code) for item in found if isinstance(item, PassedOver)] == [
        ("__MACOSX/front/._1.jpg", "hidden-file"),
        ("front/.DS_Store", "hidden-file"),
    ]
    assert [(page.label, page.error.code if page.error else "ok") for page in pages] == [
        ("front/1.jpg", "ok"),
        ("scan.tif#1", "ok"),
        ("scan.tif#2", "ok"),
        ("one.tif", "ok"),
        ("doc.pdf#1", "ok"),
        ("doc.pdf#2", "ok"),
        ("2.png", "ok"),
        ("notes.txt", "wrong-type"),
        ("empty.jpg", "empty-file"),
        ("more.zip", "archive-in-archive"),
        ("locked.pdf", "encrypted"),
        ("last.jpg", "ok"),
    ]
    assert pages[0].data == JPEG
    assert pages[6].data == PNG


@pytest.mark.parametrize("name", ["../../x.jpg", "/etc/passwd.jpg", "C:\\x.jpg", "a/../b.jpg"])
def test_a_name_is_a_label_and_writes_nothing(tmp_path: Path, name: str) -> None:
    (page,) = opened(tmp_path, zipped({name: JPEG}))
    assert page.data == JPEG
    assert page.label == name
    assert [path.name for path in tmp_path.rglob("*")] == ["document"]


def test_names_in_any_writing_are_shown(tmp_path: Path) -> None:
    data = zipped({"Überweisung 支票.jpg": JPEG, "nr\x1b[31m\u202e.jpg": JPEG})
    assert [page.label for page in opened(tmp_path, data)] == [
        "Überweisung 支票.jpg",
        "nr\ufffd[31m\ufffd.jpg",
    ]


def test_name_in_utf8_without_the_flag_for_it(tmp_path: Path) -> None:
    data = zipped({"Scheck-ü.jpg": JPEG}).replace(b"\x00\x08\x08\x00", b"\x00\x00\x08\x00")
    for at in (data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8):
        data = data[:at] + b"\0\0" + data[at + 2 :]
    assert [page.label for page in opened(tmp_path, data)] == ["Scheck-ü.jpg"]


def test_encrypted_member_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.jpg": JPEG, "b.jpg": JPEG}, zipfile.ZIP_STORED))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert codes(opened(tmp_path, bytes(data))) == ["encrypted", "ok"]


def test_damaged_member_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.jpg": JPEG, "b.jpg": JPEG}, zipfile.ZIP_STORED))
    data[data.index(JPEG) + 300] ^= 1
    assert codes(opened(tmp_path, bytes(data))) == ["damaged", "ok"]


def test_zip_bomb_by_size_is_refused_by_what_it_says(tmp_path: Path) -> None:
    data = zipped({"a.tif": bytes(20 << 20)})
    with pytest.raises(InputError) as error:
        opened(tmp_path, data, DocumentLimits(max_unpacked_bytes=10 << 20))
    assert error.value.code == "too-large-unpacked"


def test_zip_bomb_that_lies_about_its_size_is_stopped(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.tif": bytes(20 << 20)}))
    for at in (data.index(b"PK\x03\x04") + 22, data.index(b"PK\x01\x02") + 24):
        struct.pack_into("<I", data, at, 1000)
    # zipfile reads no further than the size that is given; the checksum then tells.
    pages = opened(tmp_path, bytes(data), DocumentLimits(max_unpacked_bytes=10 << 20))
    assert codes(pages) == ["damaged"]


def test_zip_of_shared_bytes_is_refused(tmp_path: Path) -> None:
    data = zipped({"a.jpg": JPEG, "b.jpg": JPEG}, zipfile.ZIP_STORED)
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    bomb = data[: second + 42] + struct.pack("<I", 0) + data[second + 46 :]
    with pytest.raises(InputError) as error:
        opened(tmp_path, bomb)
    assert error.value.code == "zip-bomb"


def test_zip_that_promises_a_thousandfold_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.tif": bytes(1 << 20)}))
    for at in (data.index(b"PK\x03\x04") + 22, data.index(b"PK\x01\x02") + 24):
        struct.pack_into("<I", data, at, 300 << 20)
    with pytest.raises(InputError) as error:
        opened(tmp_path, bytes(data))
    assert error.value.code == "zip-bomb"


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.98])
def test_cut_zip(tmp_path: Path, keep: float) -> None:
    data = zipped({"a.jpg": JPEG, "b.jpg": JPEG})
    with pytest.raises(InputError, match="cut off or damaged"):
        opened(tmp_path, data[: int(len(data) * keep)])


def test_empty_zip(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        opened(tmp_path, zipped({}))
    assert error.value.code == "empty-archive"


@pytest.mark.parametrize(
    "data",
    [
        tiff([scan(n, "1") for n in range(4)]),
        pdf([(72, 72)] * 4),
        zipped({f"{n}.jpg": JPEG for n in range(4)}),
        zipped({"a.tif": tiff([scan(0)] * 2), "b.pdf": pdf([(72, 72)] * 2)}),
    ],
    ids=["tiff", "pdf", "zip", "nested"],
)
def test_too_many_pages(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InputError, match="more than 3 pages") as error:
        opened(tmp_path, data, DocumentLimits(max_pages=3))
    assert error.value.code == "too-many-pages"
    assert len(opened(tmp_path, data, DocumentLimits(max_pages=4))) == 4


def test_empty_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"empty.*JPEG, PNG, TIFF, PDF, .* or a ZIP"):
        opened(tmp_path, b"")
    with pytest.raises(InputError, match=r"JPEG 2000.*JPEG, PNG, TIFF, PDF, .* or a ZIP"):
        opened(tmp_path, saved(scan(), "JPEG2000"))


def test_opening_goes_on_behind_a_position(tmp_path: Path) -> None:
    frames = tiff([scan(n, "1") for n in range(3)])
    data = zipped({"a.jpg": JPEG, "b.tif": frames, "c.pdf": pdf([(72, 72)] * 2)})
    visited: list[Position] = []
    every = opened(tmp_path, data, watch=lambda position, *_: visited.append(position))
    assert visited == sorted(visited)
    assert opened(tmp_path, data, start=Position(1)) == every[1:]
    assert opened(tmp_path, data, start=Position(1, 2)) == every[3:]
    assert opened(tmp_path, data, start=Position(2, 1)) == every[5:]


@given(st.binary(max_size=64))
def test_sniffing_any_bytes_gives_a_media_type(head: bytes) -> None:
    assert "/" in sniff(head)
