"""One scan in every container that people send: the same pixels, packed in some twenty ways."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pikepdf
import PIL.Image

from pipeline.types import Image

DPI = 200
_WHITE_FROM = 160  # a tone, where a scan is brought to black and white


def _saved(image: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _grey(grey: Image) -> PIL.Image.Image:
    return PIL.Image.fromarray(grey)


def bilevel(grey: Image) -> PIL.Image.Image:
    """Return a scan in black and white, without dither."""
    return PIL.Image.fromarray(np.where(grey >= _WHITE_FROM, 255, 0).astype(np.uint8)).convert("1")


def _tiff(grey: Image, compression: str, **tags: Any) -> bytes:
    fax = compression in ("group3", "group4")
    image = bilevel(grey) if fax else _grey(grey)
    given = {"tiffinfo": {int(tag[1:]): value for tag, value in tags.items()}} if tags else {}
    return _saved(image, "TIFF", compression=compression, dpi=(DPI, DPI), **given)


def pdf_of(data: bytes, size: tuple[int, int], **entries: Any) -> bytes:
    """Return a PDF of one page that shows one image, at 200 dpi; `entries` are the image's."""
    pdf = pikepdf.new()
    width, height = (72 * pixels / DPI for pixels in size)
    image = pdf.make_stream(
        data,
        Type=pikepdf.Name.XObject,
        Subtype=pikepdf.Name.Image,
        Width=size[0],
        Height=size[1],
        **entries,
    )
    page = pdf.add_blank_page(page_size=(width, height))
    page.Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(Im0=image))
    page.Contents = pdf.make_stream(f"q {width:.3f} 0 0 {height:.3f} 0 0 cm /Im0 Do Q".encode())
    stream = io.BytesIO()
    pdf.save(stream, compress_streams=False, stream_decode_level=pikepdf.StreamDecodeLevel.none)
    return stream.getvalue()


def _pdf(grey: Image, name: str, data: bytes, **entries: Any) -> bytes:
    entries = {"ColorSpace": pikepdf.Name.DeviceGray, "BitsPerComponent": 8} | entries
    return pdf_of(data, (grey.shape[1], grey.shape[0]), Filter=pikepdf.Name(f"/{name}"), **entries)


def _strip_of(tiff: bytes) -> bytes:
    with PIL.Image.open(io.BytesIO(tiff)) as image:
        offsets, counts = image.tag_v2[273], image.tag_v2[279]  # type: ignore[attr-defined]
    return tiff[offsets[0] : offsets[0] + counts[0]]


def _pdf_fax(grey: Image) -> bytes:
    height, width = grey.shape
    strip = _strip_of(_tiff(grey, "group4", _262=0, _278=height))
    parameters = pikepdf.Dictionary(K=-1, Columns=width, Rows=height)
    return _pdf(grey, "CCITTFaxDecode", strip, BitsPerComponent=1, DecodeParms=parameters)


def _pdf_lossless(grey: Image) -> bytes:
    import zlib

    return _pdf(grey, "FlateDecode", zlib.compress(grey.tobytes(), 6))


def _pdf_jbig2(grey: Image) -> bytes:
    """Return a PDF of a JBIG2 image: a page, and one region that is packed as a fax."""
    height, width = grey.shape
    strip = _strip_of(_tiff(grey, "group4", _262=0, _278=height))
    page = np.array([width, height, 0, 0], ">u4").tobytes() + b"\0" + b"\0\0"
    region = np.array([width, height, 0, 0], ">u4").tobytes() + b"\0" + b"\1" + strip
    data = b"".join(
        number.to_bytes(4, "big") + bytes((kind, 0, 1)) + len(body).to_bytes(4, "big") + body
        for number, (kind, body) in enumerate(((48, page), (38, region)))
    )
    return _pdf(grey, "JBIG2Decode", data, BitsPerComponent=1)


CONTAINERS: Mapping[str, Callable[[Image], bytes]] = {
    "JPEG": lambda grey: _saved(_grey(grey), "JPEG", quality=85),
    "JPEG, progressive": lambda grey: _saved(_grey(grey), "JPEG", quality=85, progressive=True),
    "PNG": lambda grey: _saved(_grey(grey), "PNG"),
    "TIFF, G3": lambda grey: _tiff(grey, "group3"),
    "TIFF, G4": lambda grey: _tiff(grey, "group4"),
    "TIFF, JPEG": lambda grey: _tiff(grey, "jpeg"),
    "TIFF, deflate": lambda grey: _tiff(grey, "tiff_adobe_deflate"),
    "TIFF, LZW": lambda grey: _tiff(grey, "tiff_lzw"),
    "TIFF, PackBits": lambda grey: _tiff(grey, "packbits"),
    "PDF, JPEG": lambda grey: _pdf(grey, "DCTDecode", _saved(_grey(grey), "JPEG", quality=85)),
    "PDF, Flate": _pdf_lossless,
    "PDF, G4": _pdf_fax,
    "PDF, JBIG2": _pdf_jbig2,
    "PDF, JPEG 2000": lambda grey: _pdf(
        grey,
        "JPXDecode",
        _saved(_grey(grey), "JPEG2000", irreversible=True, quality_layers=[20]),
    ),
}
