"""What is in a PDF, by its own tables: its pages, counted in the page tree, and attached files.

PDFium believes the number of pages that a PDF states (`/Count`, or `/N` of a linearized one), and
shows no page beyond it. So the tree is walked here, by qpdf, and a PDF that states too few is
copied with the true number.
Structure: ISO 32000-1, 7.7.3 (page tree), 7.11.4 (embedded files), 7.11.6 (portfolios).
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import pikepdf

_IN_MEMORY = 8 << 20
_MAX_DEPTH = 1000  # of the page tree; PDFium goes no deeper than 1,024
_MAX_NODES = 10_000  # of a name tree
_MAX_ATTACHMENTS = 10_000
_LONGEST_NAME = 200
# What qpdf raises for PDFs whose objects are not what they should be.
_ERRORS = (
    pikepdf.PdfError, pikepdf.PasswordError, ValueError, TypeError, KeyError, IndexError,
    AttributeError, RuntimeError, OverflowError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PdfContents:
    pages: int  # in the page tree, at most one more than was asked for
    lost: int  # entries of the page tree that lead to no page
    attachments: tuple[str, ...]  # their names
    is_portfolio: bool  # its attachments are the documents, and its page only a cover


def read_contents(stream: BinaryIO, max_pages: int) -> PdfContents | None:
    """Return what is in a PDF, or None if qpdf cannot open it or finds no page in its tree."""
    try:
        with _open(stream) as pdf:
            leaves = list(_leaves(pdf, max_pages + 1))
            pages = [leaf for leaf in leaves if leaf is not None]
            if not pages:
                return None
            return PdfContents(
                pages=len(pages),
                lost=len(leaves) - len(pages),
                attachments=tuple(_attachments(pdf, pages)),
                is_portfolio="/Collection" in pdf.Root,
            )
    except _ERRORS:
        return None


def with_true_count(stream: BinaryIO, contents: PdfContents) -> BinaryIO | None:
    """Return a copy of a PDF that states its true number of pages; None if it cannot be copied.

    It is not encrypted, and without those entries of the page tree that lead to no page.
    """
    copy = cast(BinaryIO, tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115  # PDFium's
    try:
        with _open(stream) as pdf:
            pdf.Root["/Pages"].Count = contents.pages + contents.lost  # qpdf checks it
            pdf.save(copy)
    except _ERRORS:
        copy.close()
        return None
    copy.seek(0)
    return copy


def _open(stream: BinaryIO) -> pikepdf.Pdf:
    """Open a PDF with its page tree as it is: qpdf would take what is no page out of it."""
    logging.getLogger("pikepdf").setLevel(logging.CRITICAL)
    stream.seek(0)
    return pikepdf.open(stream, inherit_page_attributes=False)


def _leaves(pdf: pikepdf.Pdf, most: int) -> Iterator[Any]:
    """Yield at most `most` leaves of the page tree in order, as PDFium numbers them.

    An entry that leads to no page is yielded as None.
    """
    root = pdf.Root.get("/Pages")
    if not isinstance(root, pikepdf.Dictionary):
        return
    found = 0
    path = [(root.objgen, iter(_kids(root)))]
    while path and found < most:
        kid = next(path[-1][1], _END)
        if kid is _END:
            path.pop()
        elif not isinstance(kid, pikepdf.Dictionary):
            found += 1
            yield None
        elif "/Kids" not in kid:
            found += 1
            yield kid
        elif kid.objgen not in (above for above, _ in path) and len(path) < _MAX_DEPTH:
            path.append((kid.objgen, iter(_kids(kid))))


_END = object()


def _kids(node: Any) -> list[Any]:
    kids = node.get("/Kids")
    return list(kids) if isinstance(kids, pikepdf.Array) else []


def _attachments(pdf: pikepdf.Pdf, pages: list[Any]) -> Iterator[str]:
    """Yield the name of every file that is attached to the PDF or to a place on a page, once."""
    seen: set[tuple[int, int]] = set()
    for key, spec in _file_specifications(pdf, pages):
        if not isinstance(spec, pikepdf.Dictionary) or "/EF" not in spec:
            continue
        if spec.is_indirect:
            if spec.objgen in seen:
                continue
            seen.add(spec.objgen)
        yield _shown(spec.get("/UF") or spec.get("/F") or key)
        if len(seen) > _MAX_ATTACHMENTS:
            return


def _file_specifications(pdf: pikepdf.Pdf, pages: list[Any]) -> Iterator[tuple[Any, Any]]:
    names = pdf.Root.get("/Names")
    if isinstance(names, pikepdf.Dictionary):
        yield from _name_tree(names.get("/EmbeddedFiles"), _MAX_NODES)
    for holder in (pdf.Root, *pages):
        if not isinstance(holder, pikepdf.Dictionary):
            continue
        associated, annotations = holder.get("/AF"), holder.get("/Annots")
        if isinstance(associated, pikepdf.Array):
            yield from (("", spec) for spec in associated)
        if isinstance(annotations, pikepdf.Array):
            for note in annotations:
                if isinstance(note, pikepdf.Dictionary) and "/FS" in note:
                    yield "", note.FS


def _name_tree(node: Any, most: int) -> Iterator[tuple[Any, Any]]:
    """Yield key and value of each entry of a name tree of at most `most` nodes."""
    waiting = [node]
    while waiting and most > 0:
        most -= 1
        node = waiting.pop()
        if not isinstance(node, pikepdf.Dictionary):
            continue
        names = node.get("/Names")
        if isinstance(names, pikepdf.Array):
            entries = list(names)
            yield from zip(entries[::2], entries[1::2], strict=False)
        waiting += reversed(_kids(node))


def _shown(name: Any) -> str:
    """Return the name of an attachment as text of one line, for showing only."""
    text = "".join(sign if sign.isprintable() else "\ufffd" for sign in str(name))
    return text[:_LONGEST_NAME] or "?"
