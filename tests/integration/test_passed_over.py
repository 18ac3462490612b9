"""Whatever is in a file is a page, a page with an error, or named as passed over."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pikepdf
import PIL.Image
import pytest

from benchmarks.composed_boxes import avif_of
from benchmarks.composed_tiff import TiffPage, tiff_of
from core.errors import InputError
from pipeline.files.documents import (
    DocumentLimits,
    DocumentPage,
    Position,
    only_pages,
    open_document,
)
from pipeline.files.page import decode_page
from pipeline.files.passed_over import PassedOver
from tests import hostile
from tests.samples import zipped
from tests.unit.test_documents import JPEG, PNG, codes, opened, pdf, saved, scan, tiff


def named(found: list[Any]) -> list[tuple[str, str]]:
    return [(item.name, item.code) for item in found if isinstance(item, PassedOver)]


def in_a_zip(data: bytes) -> bytes:
    return zipped({"front/scan": data, "last.png": PNG})


# --- JPEG and PNG ---


def test_a_second_jpeg_behind_the_first_is_named(tmp_path: Path) -> None:
    found = opened(tmp_path, JPEG + bytes(7) + JPEG + JPEG)
    assert codes(list(only_pages(found))) == ["ok"]
    assert named(found) == [("image 2", "second-image"), ("image 3", "second-image")]
    assert all("A JPEG image follows" in item.reason for item in found[1:])
    found = opened(tmp_path, in_a_zip(JPEG + JPEG))
    assert named(found) == [("front/scan, image 2", "second-image")]
    assert [page.label for page in only_pages(found)] == ["front/scan", "last.png"]


def test_the_second_image_of_a_camera_is_named(tmp_path: Path) -> None:
    both = saved(scan(), "MPO", save_all=True, append_images=[scan(1)])
    assert named(opened(tmp_path, both)) == [("image 2", "second-image")]


def test_frames_of_an_animated_png_are_named(tmp_path: Path) -> None:
    both = saved(scan(), "PNG", save_all=True, append_images=[scan(1), scan(2)])
    assert named(opened(tmp_path, both)) == [
        ("frame 2", "animation-frame"),
        ("frame 3", "animation-frame"),
    ]


GIF, BMP, PNM = (saved(scan(), kind) for kind in ("GIF", "BMP", "PPM"))
WEBP, AVIF = (saved(scan().convert("RGB"), kind) for kind in ("WEBP", "AVIF"))
JUNK = bytes(range(1, 60))
EVERY = {
    "jpeg": JPEG, "png": PNG, "tiff": tiff([scan()]), "gif": GIF, "bmp": BMP, "pnm": PNM,
    "webp": WEBP, "avif": AVIF,
}  # fmt: skip


@pytest.mark.parametrize("first", EVERY.values(), ids=EVERY.keys())
@pytest.mark.parametrize(
    ("behind", "said"),
    [
        (PNG, "PNG image"),
        (tiff([scan()]), "TIFF image"),
        (JPEG, "JPEG image"),
        (pdf(), "PDF file"),
        (zipped({"a.jpg": JPEG}), "ZIP file"),
        (GIF, "GIF image"),
        (bytes(9) + BMP, "BMP image"),
        (JUNK + PNM, "PNM image"),
        (JUNK + WEBP, "WebP image"),
        (bytes(9) + AVIF, "AVIF image"),
        (b"", None),
        (bytes(5000), None),
        (b"\r\nscanned by a scanner\r\n", None),
        (b"some \xff\xd8\xff\xe0 no image " * 20, None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_whatever_follows_an_image(
    tmp_path: Path, first: bytes, behind: bytes, said: str | None
) -> None:
    found = opened(tmp_path, first + behind)
    assert codes(list(only_pages(found))) == ["ok"]
    assert [code for _, code in named(found)] == ([] if said is None else ["second-image"])
    assert all(said is not None and said in item.reason for item in found[1:])


def test_all_files_behind_an_image_are_named(tmp_path: Path) -> None:
    found = opened(tmp_path, JPEG + PNG + JUNK + AVIF + GIF + WEBP + BMP + PNM + PNM)
    assert named(found) == [(f"image {n}", "second-image") for n in range(2, 9)]


@pytest.mark.parametrize("default", [True, False])
def test_the_first_image_of_an_animated_png_need_not_be_a_frame(
    tmp_path: Path, default: bool
) -> None:
    images = saved(
        scan(), "PNG", save_all=True, append_images=[scan(1), scan(2)], default_image=default
    )
    assert [name for name, _ in named(opened(tmp_path, images))] == ["frame 2", "frame 3"]


def test_the_rest_of_very_many_frames_has_one_name(tmp_path: Path) -> None:
    images = saved(scan(), "GIF", save_all=True, append_images=[scan(n) for n in range(1, 130)])
    names = [name for name, _ in named(opened(tmp_path, images))]
    assert (names[0], names[-2:]) == ("frame 2", ["frame 101", "frames 102 to 130"])


def test_several_images_of_a_phone_are_named_and_their_thumbnails_are_not(tmp_path: Path) -> None:
    others = [saved(scan(n).convert("RGB"), "AVIF") for n in (1, 2)]
    found = opened(tmp_path, avif_of([others[0], AVIF], [others[1]], main=1))
    assert named(found) == [("frame 2", "animation-frame")]


# --- TIFF ---


def with_thumbnails(pages: int, mark: int = 1) -> bytes:
    """Return a TIFF of pages, each with a small frame behind it that `mark` marks."""
    stream = io.BytesIO()
    with PIL.TiffImagePlugin.AppendingTiffWriter(stream) as writer:
        for page in range(pages):
            scan(page).save(writer, "TIFF")
            writer.newFrame()
            scan(page, size=(12, 8)).save(writer, "TIFF", tiffinfo={254: mark})
            writer.newFrame()
    return stream.getvalue()


def test_thumbnails_are_no_pages(tmp_path: Path) -> None:
    found = opened(tmp_path, with_thumbnails(3))
    assert codes(list(only_pages(found))) == ["ok"] * 3
    assert named(found) == [(f"frame {n}", "thumbnail") for n in (2, 4, 6)]
    assert "12 × 8 pixels" in found[1].reason
    found = opened(tmp_path, in_a_zip(with_thumbnails(2)))
    assert named(found) == [(f"front/scan, frame {n}", "thumbnail") for n in (2, 4)]
    labels = [page.label for page in only_pages(found)]
    assert labels == ["front/scan#1", "front/scan#2", "last.png"]


def test_a_mask_is_no_page(tmp_path: Path) -> None:
    assert named(opened(tmp_path, with_thumbnails(1, mark=4))) == [("frame 2", "mask")]


def test_where_every_frame_is_marked_as_reduced_every_frame_is_a_page(tmp_path: Path) -> None:
    found = opened(tmp_path, tiff([scan(0), scan(1)], tiffinfo={254: 1}))
    assert codes(found) == ["ok", "ok"]


def test_a_frame_marked_as_reduced_that_is_as_large_as_a_page_is_one(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with PIL.TiffImagePlugin.AppendingTiffWriter(stream) as writer:
        for mark in (0, 1):
            scan(mark).save(writer, "TIFF", tiffinfo={254: mark})
            writer.newFrame()
    assert codes(opened(tmp_path, stream.getvalue())) == ["ok", "ok"]


def test_images_below_a_frame_are_named(tmp_path: Path) -> None:
    data = bytearray(saved(scan(), "TIFF", tiffinfo={0x14A: 8}))
    found = opened(tmp_path, bytes(data))
    assert named(found) == [("frame 1, image 1 below it", "sub-image")]


@pytest.mark.parametrize("in_chain", [True, False])
@pytest.mark.parametrize("big", [True, False])
def test_every_image_below_a_frame_and_what_follows_them(
    tmp_path: Path, in_chain: bool, big: bool
) -> None:
    deepest = TiffPage(scan(3))
    below = [TiffPage(scan(1), below=[deepest]), TiffPage(scan(2))]
    pages = [TiffPage(scan(), below=below, chain=in_chain), TiffPage(scan(4))]
    found = opened(tmp_path, tiff_of(pages, order="<", big=big) + JPEG)
    assert codes(list(only_pages(found))) == ["ok", "ok"]
    assert named(found) == [
        *((f"frame 1, image {n} below it", "sub-image") for n in (1, 2, 3)),
        ("image 2", "second-image"),
    ]


def test_a_big_tiff_of_the_other_byte_order_is_said_to_be_rare(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="big-endian") as error:
        opened(tmp_path, tiff_of([TiffPage(scan())], order=">", big=True))
    assert error.value.code == "unsupported-variety"


# --- PDF ---


def miscounted(pages: int, count: int, *, nested: bool = False, lost: int = 0) -> bytes:
    """Return a PDF of `pages` pages, each with its number of strokes, that states `count`.

    `lost` is the number of pages that its tree names as well, and that do not exist.
    """
    first = 3 if nested else 2
    bodies = [b"<</Type/Catalog/Pages 2 0 R>>"]
    kids = [b"%d 0 R" % (first + 2 * number) for number in range(1, pages + 1)]
    kids += [b"%d 0 R" % (900 + number) for number in range(lost)]
    if nested:
        bodies.append(b"<</Type/Pages/Count %d/Kids[%s 3 0 R]>>" % (count, kids[0]))
        bodies.append(b"<</Type/Pages/Parent 2 0 R/Count 1/Kids[%s]>>" % b" ".join(kids[1:]))
    else:
        bodies.append(b"<</Type/Pages/Count %d/Kids[%s]>>" % (count, b" ".join(kids)))
    for number in range(pages):
        strokes = b"".join(b"%d 2 3 30 re f\n" % (6 * n + 4) for n in range(number + 1))
        bodies.append(b"<</Length %d>>stream\n%s\nendstream" % (len(strokes), strokes))
        parent = 3 if nested and number else 2
        bodies.append(
            b"<</Type/Page/Parent %d 0 R/MediaBox[0 0 72 36]/Contents %d 0 R>>"
            % (parent, len(bodies))
        )
    return hostile.pdf(*bodies)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_pages_are_counted_in_the_page_tree(tmp_path: Path, count: int, nested: bool) -> None:
    found = opened(tmp_path, miscounted(4, count, nested=nested))
    assert codes(found) == ["ok"] * 4
    darkness = [(decode_page(page.data).grey < 128).sum() for page in found]
    assert darkness == sorted(set(darkness)), "each page once, in its order"


def test_pages_that_a_pdf_states_and_does_not_have_are_named(tmp_path: Path) -> None:
    found = opened(tmp_path, miscounted(2, 5))
    assert codes(list(only_pages(found))) == ["ok", "ok"]
    assert named(found) == [("missing pages", "pages-missing")]


@pytest.mark.parametrize("count", [3, 5])
def test_a_page_that_the_tree_names_and_that_does_not_exist(tmp_path: Path, count: int) -> None:
    found = opened(tmp_path, miscounted(3, count, lost=2))
    assert codes(list(only_pages(found))) == ["ok"] * 3
    assert named(found) == [("missing pages", "pages-missing")]
    assert "names 5 pages, but only 3" in found[-1].reason


def with_attachments(*, portfolio: bool = False, blank: bool = False) -> bytes:
    stream = io.BytesIO()
    with pikepdf.open(io.BytesIO(pdf([(72, 36)]))) as document:
        if blank:
            document.pages[0].Contents = document.make_stream(b"")
        for name in ("scan1.jpg", "scan2.jpg"):
            document.attachments[name] = pikepdf.AttachedFileSpec(document, JPEG, filename=name)
        pinned = pikepdf.AttachedFileSpec(document, b"note", filename="pinned\n.txt")
        note = pikepdf.Dictionary(
            Type=pikepdf.Name.Annot,
            Subtype=pikepdf.Name.FileAttachment,
            Rect=[0, 0, 9, 9],
            FS=pinned.obj,
        )
        document.pages[0].Annots = pikepdf.Array([document.make_indirect(note)])
        if portfolio:
            document.Root.Collection = pikepdf.Dictionary(Type=pikepdf.Name.Collection)
        document.save(stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("portfolio", "code"), [(False, "attachment"), (True, "portfolio-file")], ids=["pdf", "folio"]
)
def test_attached_files_are_named(tmp_path: Path, portfolio: bool, code: str) -> None:
    found = opened(tmp_path, with_attachments(portfolio=portfolio))
    assert codes(list(only_pages(found))) == ["ok"]
    assert named(found) == [
        ("scan1.jpg", code),
        ("scan2.jpg", code),
        ("pinned\ufffd.txt", code),
    ]
    assert ("portfolio" in found[1].reason) == portfolio


def test_the_empty_cover_of_a_portfolio_is_no_reading(tmp_path: Path) -> None:
    found = opened(tmp_path, with_attachments(portfolio=True, blank=True)[:])
    (page,) = only_pages(found)
    assert page.error is None or page.error.code == "nothing-drawn"
    assert len(named(found)) == 3


@pytest.mark.parametrize(
    ("drawing", "code"),
    [
        (b"", "nothing-drawn"),
        (b"1 g 0 0 50 50 re f", "nothing-drawn"),  # white on white
        (b"BT /F0 9 Tf 3 Tr (seen by nobody) Tj ET", "nothing-drawn"),
        (b"0 0 10 10 re f", "ok"),
    ],
)
def test_a_page_on_which_nothing_is_drawn_is_named(
    tmp_path: Path, drawing: bytes, code: str
) -> None:
    stream = io.BytesIO()
    with pikepdf.open(io.BytesIO(pdf([(72, 36)] * 2))) as document:
        document.pages[0].Contents = document.make_stream(drawing)
        document.save(stream)
    assert codes(opened(tmp_path, stream.getvalue())) == [code, "ok"]


def test_a_blank_scan_is_a_page_like_others(tmp_path: Path) -> None:
    blank = saved(PIL.Image.new("L", (60, 40), 255), "PDF")
    assert codes(opened(tmp_path, blank)) == ["ok"]


def form(*, drawn: bool) -> bytes:
    """Return a form in whose field "42" was typed, with or without a drawing of it."""
    stream = io.BytesIO()
    with pikepdf.open(io.BytesIO(pdf([(72, 36)]))) as document:
        font = pikepdf.Dictionary(
            Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica
        )
        field = document.make_indirect(
            pikepdf.Dictionary(
                Type=pikepdf.Name.Annot,
                Subtype=pikepdf.Name.Widget,
                FT=pikepdf.Name.Tx,
                T=pikepdf.String("nets"),
                V=pikepdf.String("42"),
                DA=pikepdf.String("/F0 20 Tf 0 g"),
                Rect=[30, 4, 70, 32],
                F=4,
            )
        )
        if drawn:
            look = document.make_stream(b"/Tx BMC 0 0 20 20 re f EMC")
            look.Type, look.Subtype, look.BBox = (
                pikepdf.Name.XObject,
                pikepdf.Name.Form,
                [0, 0, 40, 28],
            )
            field.AP = pikepdf.Dictionary(N=look)
        document.pages[0].Annots = pikepdf.Array([field])
        document.Root.AcroForm = document.make_indirect(
            pikepdf.Dictionary(
                Fields=[field],
                NeedAppearances=not drawn,
                DR=pikepdf.Dictionary(Font=pikepdf.Dictionary(F0=font)),
                DA=pikepdf.String("/F0 20 Tf 0 g"),
            )
        )
        document.save(stream)
    return stream.getvalue()


@pytest.mark.parametrize("drawn", [True, False])
def test_what_was_typed_into_a_form_is_drawn(tmp_path: Path, drawn: bool) -> None:
    (page,) = opened(tmp_path, form(drawn=drawn))
    assert page.data is not None
    grey = decode_page(page.data).grey
    assert grey[:, 90:].min() < 100, "the field, at the right"
    assert (grey[:20, :80] == 255).all(), "no other colour over the page"


def test_two_pdfs_in_one_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two PDFs") as error:
        opened(tmp_path, pdf() + b"\n" + pdf())
    assert error.value.code == "several-documents"


# --- ZIP ---


def test_files_that_the_directory_of_a_zip_does_not_list_are_named(tmp_path: Path) -> None:
    found = opened(tmp_path, zipped({"a.jpg": JPEG, "b.jpg": JPEG}) + zipped({"c.jpg": JPEG}))
    assert [page.label for page in only_pages(found)] == ["c.jpg"]
    assert named(found) == [("a.jpg", "unlisted-file"), ("b.jpg", "unlisted-file")]


def without_last(data: bytes) -> bytes:
    """Return a ZIP whose directory does not list its last file any more."""
    stream = io.BytesIO(data)
    with zipfile.ZipFile(stream, "a") as archive:
        del archive.filelist[-1]
        archive.comment = b"changed"
    return stream.getvalue()


def test_the_last_file_of_a_zip_was_deleted(tmp_path: Path) -> None:
    found = opened(tmp_path, without_last(zipped({"a.jpg": JPEG, "b.jpg": JPEG})))
    assert [page.label for page in only_pages(found)] == ["a.jpg"]
    assert named(found) == [("b.jpg", "unlisted-file")]
    with pytest.raises(InputError, match="directory does not list them"):
        opened(tmp_path, without_last(zipped({"a.jpg": JPEG})))


def test_a_file_behind_a_zip_is_named(tmp_path: Path) -> None:
    found = opened(tmp_path, zipped({"a.jpg": JPEG}) + PNG)
    assert [page.label for page in only_pages(found)] == ["a.jpg"]
    assert named(found) == [("image 2", "second-image")]
    assert "behind the ZIP" in found[-1].reason


def test_a_zip_in_a_zip_says_how_many_files_are_in_it(tmp_path: Path) -> None:
    inner = zipped({"a.jpg": JPEG, "b/": b"", "b/c.jpg": JPEG})
    (page,) = opened(tmp_path, zipped({"inner.zip": inner}))
    assert page.error is not None
    assert "with 2 files in it" in page.error.message


def test_a_zip_written_to_a_pipe_lists_all(tmp_path: Path) -> None:
    """Its members have their lengths behind them."""

    class Pipe(io.RawIOBase):
        data = b""

        def writable(self) -> bool:
            return True

        def write(self, piece: Any) -> int:
            self.data += bytes(piece)
            return len(piece)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[arg-type]
        for name in ("a.jpg", "b.jpg"):
            archive.writestr(name, JPEG)
    assert codes(opened(tmp_path, pipe.data)) == ["ok", "ok"]


def test_an_office_file_says_how_many_images_are_in_it(tmp_path: Path) -> None:
    letter = zipped(
        {"[Content_Types].xml": b"<Types/>", "word/document.xml": b"", "word/media/1.png": PNG}
    )
    with pytest.raises(InputError, match=r"office program, with 1 image in it.*as PDF") as error:
        opened(tmp_path, letter)
    assert error.value.code == "office-file"
    assert codes(opened(tmp_path, zipped({"letter.docx": letter, "1.png": PNG}))) == [
        "office-file",
        "ok",
    ]


def test_a_zip_of_hidden_files_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="only hidden files"):
        opened(tmp_path, zipped({"__MACOSX/._a.jpg": JPEG}))


# --- opening goes on ---


def test_opening_goes_on_behind_what_was_passed_over(tmp_path: Path) -> None:
    folio = with_attachments()
    data = zipped({"a.jpg": JPEG + JPEG, ".b": b"x", "c.tif": with_thumbnails(2), "d.pdf": folio})
    every, places = opened(tmp_path, data), _places_of_items(tmp_path, data)
    assert places == sorted(set(places)), "each thing has a place of its own"
    for number, here in enumerate(places):
        assert opened(tmp_path, data, start=here) == every[number:]
        behind = (
            Position(here.member + 1) if here.frame < 0 else Position(here.member, here.frame + 1)
        )
        assert opened(tmp_path, data, start=behind) == every[number + 1 :]


def _places_of_items(tmp_path: Path, data: bytes) -> list[Position]:
    """Return the place of each item of a document."""
    last = [Position()]
    places = []
    path = tmp_path / "document"
    path.write_bytes(data)
    for _ in open_document(
        path, DocumentLimits(), watch=lambda place, *_: last.__setitem__(0, place)
    ):
        places.append(last[0])
    return places


def test_more_than_the_limit_is_refused_not_cut_off(tmp_path: Path) -> None:
    limits = DocumentLimits(max_pages=3)
    assert len(opened(tmp_path, with_thumbnails(3), limits)) == 6
    for data in (with_thumbnails(4), zipped({"a.jpg": JPEG} | {f".{n}": b"x" for n in range(4)})):
        with pytest.raises(InputError, match="more than 3 pages"):
            opened(tmp_path, data, limits)


def test_pages_are_told_from_the_rest() -> None:
    page, item = DocumentPage("", "image/png"), PassedOver("frame 2", "thumbnail", "Small.")
    assert list(only_pages([page, item, page])) == [page, page]
    assert item.within("a.tif").name == "a.tif, frame 2"
    assert item.within("") == item
