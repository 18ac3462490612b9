"""PDF written object by object: any page tree, any count, attached files and annotations."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pikepdf

from benchmarks.numbered import HEIGHT, WIDTH

DPI = 200
_BOX = [0, 0, 72 * WIDTH / DPI, 72 * HEIGHT / DPI]


def pdf_of_pages(
    jpegs: Sequence[bytes],
    files: Sequence[bytes],
    rng: np.random.Generator,
    *,
    lie: str | None = None,
    stamped: bool = False,
) -> bytes:
    """Return a PDF of one page for each JPEG, with attached files.

    `lie` says which nodes of the page tree state a wrong number of pages: the root, those below it,
    or all. With `stamped`, the image of a page may be that of an annotation on an empty page.
    """
    pdf = pikepdf.new()
    pages = [_page(pdf, jpeg, stamped and rng.random() < 0.5) for jpeg in jpegs]
    pdf.Root.Pages = _tree(pdf, pages, rng, lie, top=True)
    _attach(pdf, pages, files, rng)
    stream = io.BytesIO()
    pdf.save(stream, compress_streams=False, stream_decode_level=pikepdf.StreamDecodeLevel.none)
    return stream.getvalue()


def _page(pdf: pikepdf.Pdf, jpeg: bytes, stamped: bool) -> Any:
    image = pdf.make_stream(
        jpeg, Type=pikepdf.Name.XObject, Subtype=pikepdf.Name.Image, Width=WIDTH, Height=HEIGHT,
        ColorSpace=pikepdf.Name.DeviceGray, BitsPerComponent=8, Filter=pikepdf.Name.DCTDecode,
    )  # fmt: skip
    resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(Im0=image))
    drawing = f"q {_BOX[2]:.3f} 0 0 {_BOX[3]:.3f} 0 0 cm /Im0 Do Q".encode()
    page = pdf.make_indirect(pikepdf.Dictionary(Type=pikepdf.Name.Page, MediaBox=_BOX))
    if not stamped:
        page.Resources, page.Contents = resources, pdf.make_stream(drawing)
        return page
    look = pdf.make_stream(
        drawing, Type=pikepdf.Name.XObject, Subtype=pikepdf.Name.Form, BBox=_BOX,
        Resources=resources,
    )  # fmt: skip
    stamp = pikepdf.Dictionary(
        Type=pikepdf.Name.Annot, Subtype=pikepdf.Name.Stamp, Rect=_BOX, F=4,
        AP=pikepdf.Dictionary(N=look),
    )  # fmt: skip
    page.Annots = pikepdf.Array([pdf.make_indirect(stamp)])
    return page


def _tree(
    pdf: pikepdf.Pdf, pages: list[Any], rng: np.random.Generator, lie: str | None, *, top: bool
) -> Any:
    """Return a node of the page tree over `pages`, in any number of nodes below it."""
    kids = []
    left = pages
    while left:
        take = int(rng.integers(1, len(left) + 1))
        part, left = left[:take], left[take:]
        if len(part) > 1 and len(part) < len(pages):
            kids.append(_tree(pdf, part, rng, lie, top=False))
        else:
            kids += part
    count = len(pages)
    if lie == "all" or lie == ("root" if top else "nodes"):
        count = int(rng.integers(0, count + 1))
    node = pdf.make_indirect(
        pikepdf.Dictionary(Type=pikepdf.Name.Pages, Count=count, Kids=pikepdf.Array(kids))
    )
    for kid in kids:
        kid.Parent = node
    return node


def _attach(
    pdf: pikepdf.Pdf, pages: Sequence[Any], files: Sequence[bytes], rng: np.random.Generator
) -> None:
    """Attach files to the PDF, in a name tree, and to places on its pages."""
    named = []
    for number, data in enumerate(files):
        name = f"file-{number}.jpg"
        spec = pikepdf.AttachedFileSpec(pdf, data, filename=name).obj
        place = rng.integers(0, 3)
        page = pages[int(rng.integers(0, len(pages)))]
        if place == 0:
            note = pikepdf.Dictionary(
                Type=pikepdf.Name.Annot, Subtype=pikepdf.Name.FileAttachment, FS=spec,
                Rect=[0, 0, 9, 9], F=2,
            )  # fmt: skip
            page.Annots = pikepdf.Array([*page.get("/Annots", []), pdf.make_indirect(note)])
        elif place == 1:
            page.AF = pikepdf.Array([*page.get("/AF", []), spec])
        else:
            named += [pikepdf.String(name), spec]
    if named:
        leaf = pdf.make_indirect(pikepdf.Dictionary(Names=pikepdf.Array(named)))
        tree = pikepdf.Dictionary(Kids=pikepdf.Array([leaf]))
        pdf.Root.Names = pikepdf.Dictionary(EmbeddedFiles=tree)
        if rng.random() < 0.4:
            pdf.Root.Collection = pikepdf.Dictionary(Type=pikepdf.Name.Collection)
