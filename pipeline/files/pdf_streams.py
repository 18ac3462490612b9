"""The streams that a PDF page is drawn from, each proven whole.

PDFium draws white where an image cannot be decoded, and goes on where a stream breaks off. So
before a page is drawn, qpdf opens the file without repairing anything, and every stream that the
page uses is unpacked strictly: what it draws, the forms and images in it, their masks, its fonts.
Structure: ISO 32000-1, 7.3.8 (streams), 7.4 (filters), 8.9 (images).
"""

from __future__ import annotations

import base64
import io
import mmap
import os
import re
import tempfile
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import pikepdf

from core.errors import InputError
from pipeline.files.jbig2 import check_jbig2
from pipeline.files.jpeg import decode_jpeg
from pipeline.files.jpeg2000 import check_jpeg2000
from pipeline.files.libtiff import GROUP3, GROUP4, RLE, check_lzw, unpack_fax
from pipeline.files.media import check_size, damaged, truncated, unsupported
from pipeline.files.unpack import inflate, run_length

_ERRORS = (
    pikepdf.PdfError, ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError,
    OverflowError,
)  # fmt: skip
# What qpdf remarks on and is no damage.
_HARMLESS = (
    "reported number of objects", "Resources is missing", "a common error", "duplicated key",
)  # fmt: skip
# Zeros outside of streams: a block of the disk that was lost. Encrypted PDFs have 16 in a string.
_BLOCK = bytes(64)
_END = b"%%EOF"
_TAIL_BYTES = 900  # qpdf looks for the end in the last 1,054 bytes
_DRAWN_NAME = re.compile(rb"/([^\s/<>\[\](){}%]+)\s+Do\b")
_INLINE_IMAGE = re.compile(rb"\bBI\b.{0,2000}?\bID\b", re.DOTALL)
_MAX_STREAM = 512 << 20  # unpacked bytes: more than an image of 50 million pixels in colour
_MAX_DEPTH = 40
# Of a page, an annotation or a form: what leads away from what is drawn.
_NOT_DRAWN = {
    "/Parent", "/Metadata", "/PieceInfo", "/Thumb", "/StructParent", "/StructParents", "/P",
    "/Dest", "/A", "/AA", "/B", "/Popup", "/IRT", "/OPI", "/FS", "/Sound", "/Movie", "/AF",
    "/StructTreeRoot", "/Group", "/OC", "/Alternates", "/ToUnicode",
}  # fmt: skip
_SHORT = {
    "/AHx": "/ASCIIHexDecode", "/A85": "/ASCII85Decode", "/LZW": "/LZWDecode",
    "/Fl": "/FlateDecode", "/RL": "/RunLengthDecode", "/CCF": "/CCITTFaxDecode",
    "/DCT": "/DCTDecode",
}  # fmt: skip
_CHANNELS = {
    "/DeviceGray": 1, "/G": 1, "/CalGray": 1, "/Indexed": 1, "/I": 1, "/Separation": 1,
    "/DeviceRGB": 3, "/RGB": 3, "/CalRGB": 3, "/Lab": 3, "/DeviceCMYK": 4, "/CMYK": 4,
}  # fmt: skip


@dataclass(slots=True)
class PdfStreams:
    """The streams of an open PDF, which are checked page by page, and each of them once."""

    pdf: pikepdf.Pdf
    max_pixels: int
    _checked: dict[tuple[int, int], InputError | None] = field(default_factory=dict)

    @classmethod
    def open(cls, stream: BinaryIO, max_pixels: int) -> PdfStreams:
        """Open a PDF, repairing nothing. Raises InputError if its tables are damaged."""
        end = _check_structure(stream)
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        source = stream
        if size - end > _TAIL_BYTES:  # zeros behind the end, which some transfers add
            source = io.BytesIO(stream.read(end))
        try:
            pdf = pikepdf.open(source, attempt_recovery=False)
        except _ERRORS as exc:
            raise damaged("PDF", "the table of its parts is wrong") from exc
        return cls(pdf, max_pixels)

    def close(self) -> None:
        self.pdf.close()

    def check_page(self, index: int) -> None:
        """Raise InputError unless every stream that page `index` is drawn from is whole."""
        try:
            page = self.pdf.pages[index].obj
            self._check_drawing(page, page)
            for holder in (page.get("/Resources"), page.get("/Annots")):
                self._check_below(holder, 0)
            harmful = [
                str(warning)
                for warning in self.pdf.get_warnings()
                if not any(words in str(warning) for words in _HARMLESS)
            ]
        except _ERRORS as exc:
            raise damaged("PDF page", "a part of it cannot be found") from exc
        if harmful:
            raise damaged("PDF page", "a part of it is garbled")

    def _check_drawing(self, page: Any, holder: Any) -> None:
        """Check a page's content: every image and form that it draws must be there."""
        contents = page.get("/Contents")
        parts = list(contents) if isinstance(contents, pikepdf.Array) else [contents]
        content = b"\n".join(
            self._content(part) for part in parts if isinstance(part, pikepdf.Stream)
        )
        images = _xobjects(holder)
        if "/Contents" not in page and images:
            raise damaged("PDF page", "what it draws is missing")
        self._check_content(content, images)

    def _check_content(self, content: bytes, drawn: set[bytes]) -> None:
        inline = _INLINE_IMAGE.search(content)
        if not inline and bytes(4) in content:
            raise damaged("PDF page", "what it draws is garbled")
        for name in _DRAWN_NAME.findall(content) if not inline else ():
            if name not in drawn and b"#" not in name:
                raise damaged("PDF page", "an image in it is missing")
        if inline:
            self._check_inline_images(content)

    def _check_inline_images(self, content: bytes) -> None:
        holder = self.pdf.make_stream(content)
        for instruction in pikepdf.parse_content_stream(holder):
            image = getattr(instruction, "iimage", None)
            if image is not None:
                data = image._data._inline_image_raw_bytes()
                self._check_image(image.obj, data)

    def _content(self, stream: Any) -> bytes:
        """Return what a content stream unpacks to. Raises InputError."""
        raw = stream.read_raw_bytes()
        if not raw:  # a page without content, whatever filter it states
            return b""
        data, rest = self._unpack(stream, raw, None)
        if rest:
            raise damaged("PDF page", f"its content is packed by {rest[0]}")
        return data

    def _check_below(self, value: Any, depth: int) -> None:
        """Check every stream that `value` leads to. Raises InputError."""
        if depth > _MAX_DEPTH:
            raise damaged("PDF page", "its parts are nested too deeply")
        if isinstance(value, pikepdf.Array):
            for item in value:
                self._check_below(item, depth + 1)
            return
        if not isinstance(value, pikepdf.Dictionary | pikepdf.Stream):
            return
        key = value.objgen
        if key != (0, 0):
            if key in self._checked:
                if error := self._checked[key]:
                    raise error
                return
            self._checked[key] = None  # it may lead back to itself
        try:
            if isinstance(value, pikepdf.Stream):
                self._check_stream(value)
            for name in map(str, value):
                if name not in _NOT_DRAWN:
                    self._check_below(value[name], depth + 1)
        except InputError as exc:
            if key != (0, 0):
                self._checked[key] = exc
            raise

    def _check_stream(self, stream: Any) -> None:
        data = stream.read_raw_bytes()
        subtype = str(stream.get("/Subtype", ""))
        if subtype == "/Image":
            self._check_image(stream, data)
        elif subtype == "/Form" or "/PatternType" in stream:
            self._check_content(self._content(stream), _xobjects(stream) | {b""})
        else:  # a font, a profile, a function
            self._unpack(stream, data, None)

    def _check_image(self, image: Any, data: bytes) -> None:
        """Raise InputError unless an image's data decode to all of its pixels."""
        try:
            width, height = int(image["/Width"]), int(image["/Height"])
        except (KeyError, TypeError, ValueError) as exc:
            raise damaged("image in the PDF", "it does not state its size") from exc
        check_size("image in the PDF", width, height, 4 * self.max_pixels)
        row_bits = _row_bits(image, width)
        data, rest = self._unpack(image, data, None if row_bits is None else (row_bits, height))
        if len(rest) > 1:
            raise unsupported("image in the PDF", "it is packed several times")
        kind = rest[0] if rest else ""
        if kind == "/DCTDecode":
            self._check_decoded(decode_jpeg(data, 4 * self.max_pixels)[0].shape, width, height)
        elif kind == "/CCITTFaxDecode":
            _check_fax(_parameters(image)[-1], data, width, height)
        elif kind == "/JBIG2Decode":
            shared = _parameters(image)[-1].get("/JBIG2Globals")
            check_jbig2(data, shared.read_bytes() if shared is not None else b"", width, height)
        elif kind == "/JPXDecode":
            self._check_decoded(check_jpeg2000(data, 4 * self.max_pixels), width, height)
        elif row_bits is not None and len(data) < height * ((row_bits + 7) // 8):
            raise truncated("image in the PDF", "a part of it is missing")

    def _check_decoded(self, shape: tuple[int, ...], width: int, height: int) -> None:
        if shape[0] < height or shape[1] < width:
            raise truncated("image in the PDF", "a part of it is missing")

    def _unpack(
        self, stream: Any, data: bytes, size: tuple[int, int] | None
    ) -> tuple[bytes, list[str]]:
        """Undo the general filters of a stream; return the data, and the filters of images left.

        `size` is that of an image: bits a row and rows. Raises InputError.
        """
        filters, parameters = _filters(stream), _parameters(stream)
        for number, name in enumerate(filters):
            more = parameters[number] if number < len(parameters) else {}
            if name == "/FlateDecode":
                data = inflate(data, _MAX_STREAM)
                if size is not None:
                    data = _predicted(data, more, size)
                elif int(more.get("/Predictor", 1)) > 1:
                    data = bytes(stream.read_bytes())
            elif name == "/LZWDecode":
                data = self._lzw(stream, data, more, size, last=number == len(filters) - 1)
            elif name == "/RunLengthDecode":
                data = run_length(data, _MAX_STREAM)
            elif name in ("/ASCII85Decode", "/ASCIIHexDecode"):
                data = _from_text(name, data)
            elif name != "/Crypt":
                return data, filters[number:]
        return data, []

    def _lzw(
        self, stream: Any, data: bytes, more: Any, size: tuple[int, int] | None, *, last: bool
    ) -> bytes:
        if not last or int(more.get("/EarlyChange", 1)) != 1:
            raise unsupported("PDF page", "LZW in a rare form")
        unpacked = bytes(stream.read_bytes())  # predictors undone
        check_lzw(data, _packed_length(len(unpacked), more, size))
        return unpacked


def _check_structure(stream: BinaryIO) -> int:
    """Return where the PDF ends. Raises InputError if a block of zeros is between its streams.

    Zeros count as blanks there, so what they took away would just not be in the PDF.
    """
    with tempfile.TemporaryFile() as copy:
        try:
            number = stream.fileno()
        except (OSError, io.UnsupportedOperation):
            stream.seek(0)
            copy.write(stream.read())
            copy.flush()
            number = copy.fileno()
        with mmap.mmap(number, 0, access=mmap.ACCESS_READ) as data:
            at, end = max(data.find(b"%PDF-"), 0), data.rfind(_END)
            while (at := data.find(_BLOCK, at, end)) >= 0:
                before = data.rfind(b"stream", 0, at)
                if before < 3 or data[before - 3 : before] == b"end":
                    raise damaged("PDF", "a block of it was lost")
                at = data.find(b"endstream", at, end)
                if at < 0:
                    break
            return end + len(_END)


def _xobjects(holder: Any) -> set[bytes]:
    """Return the names of the images and forms that a page or a form may draw."""
    resources = holder.get("/Resources")
    if not isinstance(resources, pikepdf.Dictionary):
        return set()
    found = resources.get("/XObject")
    if not isinstance(found, pikepdf.Dictionary):
        return set()
    return {name[1:].encode("latin-1", "replace") for name in map(str, found)}


def _filters(stream: Any) -> list[str]:
    value = stream.get("/Filter", stream.get("/F"))
    if value is None or isinstance(value, pikepdf.Dictionary | pikepdf.String):
        return []
    names = [str(name) for name in value] if isinstance(value, pikepdf.Array) else [str(value)]
    return [_SHORT.get(name, name) for name in names]


def _parameters(stream: Any) -> list[Any]:
    value = stream.get("/DecodeParms", stream.get("/DP"))
    items = list(value) if isinstance(value, pikepdf.Array) else [value]
    return [item if isinstance(item, pikepdf.Dictionary) else {} for item in items]


def _row_bits(image: Any, width: int) -> int | None:
    """Return the bits of a row of unpacked pixels, or None if the colours are not known here."""
    if bool(image.get("/ImageMask", False)):
        return width
    space: Any = image.get("/ColorSpace")
    bits = image.get("/BitsPerComponent")
    if isinstance(space, pikepdf.Array) and len(space):
        kind = str(space[0])
        if kind == "/ICCBased":
            channels: int | None = int(space[1].get("/N", 0))
        elif kind == "/DeviceN":
            channels = len(space[1])
        else:
            channels = _CHANNELS.get(kind)
    else:
        channels = _CHANNELS.get(str(space))
    if not channels or bits is None:
        return None
    return width * channels * int(bits)


def _predicted(data: bytes, more: Any, size: tuple[int, int]) -> bytes:
    """Check the length of data that a predictor prepared, and return them as long as without."""
    if int(more.get("/Predictor", 1)) < 10:
        return data
    columns, colours = int(more.get("/Columns", 1)), int(more.get("/Colors", 1))
    row = (columns * colours * int(more.get("/BitsPerComponent", 8)) + 7) // 8
    rows = size[1]
    if row != (size[0] + 7) // 8 or any(tag > 4 for tag in data[:: row + 1][:rows]):
        raise damaged("image in the PDF", "its rows are garbled")
    return data[: len(data) - min(rows, -(-len(data) // (row + 1)))]


def _packed_length(length: int, more: Any, size: tuple[int, int] | None) -> int:
    """Return how long data of `length` bytes are before a predictor is undone."""
    if int(more.get("/Predictor", 1)) < 10:
        return length
    row = int(more.get("/Columns", 1)) * int(more.get("/Colors", 1))
    row = (row * int(more.get("/BitsPerComponent", 8)) + 7) // 8
    return length + (size[1] if size else -(-length // row))


def _check_fax(more: Any, data: bytes, width: int, height: int) -> None:
    """Raise InputError unless a fax has `height` rows of `width` pixels."""
    k, aligned = int(more.get("/K", 0)), bool(more.get("/EncodedByteAlign", False))
    if int(more.get("/Columns", 1728)) != width:
        raise damaged("image in the PDF", "its rows are garbled")
    if aligned and k != 0:
        raise unsupported("image in the PDF", "a fax whose rows begin at whole bytes")
    if k < 0:
        unpack_fax(data, GROUP4, width, height)
    elif aligned and not bool(more.get("/EndOfLine", False)):
        unpack_fax(data, RLE, width, height)
    else:
        unpack_fax(data, GROUP3, width, height, t4_options=int(k > 0))


def _from_text(name: str, data: bytes) -> bytes:
    try:
        text = b"".join(data.split())
        if name == "/ASCIIHexDecode":
            text = text.split(b">")[0]
            return bytes.fromhex((text + b"0" * (len(text) % 2)).decode("ascii"))
        return base64.a85decode(text.removeprefix(b"<~").split(b"~>")[0])
    except ValueError as exc:
        raise damaged("PDF page", "a part of it cannot be unpacked") from exc
