"""Files that break decoders: bundled samples that were cut and changed, and decompression bombs.

Everything is made in memory from fixed seeds: the same bytes each time.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image as PillowImage

from tests.samples import DEMO, zipped

CUTS = (0.0, 0.001, 0.02, 0.1, 0.3, 0.5, 0.8, 0.95, 0.999)  # shares of a file that are kept
CHANGES = (1, 1, 3, 10, 30, 100, 300, 1000)  # bytes that are changed
TIFF_COMPRESSIONS = ("raw", "group3", "group4", "tiff_lzw", "tiff_adobe_deflate", "packbits")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

# What each colour type of PNG may be: channels, and bits of each.
PNG_VARIETIES = {
    0: (1, (1, 2, 4, 8, 16)),
    2: (3, (8, 16)),
    3: (1, (1, 2, 4, 8)),
    4: (2, (8, 16)),
    6: (4, (8, 16)),
}

NAUGHTY_NAMES = (
    "undefined", "null", "None", "NaN", "-1", "1e1000", "0x0", "true", "\\", "/", "//", "...",
    "<script>alert(1)</script>", "' OR 1=1 --", "'; DROP TABLE page; --", "${7*7}", "{{7*7}}",
    "%s%n%x", "$(touch /tmp/x)", "`id`", "|ls", "&&ls", ";ls", "../../../../etc/passwd%00",
    "=cmd|' /C calc'!A0", "@SUM(1)", "+1", "con", "aux.png", "nul", "Ω≈ç√∫˜µ", "田中さん", "🐵🙈🙉",
    "مُنَاقَشَةُ", "‮test‭", "​", "\ufeff", "­", "Z̮̞̠͙͔ͅḀ̗̞͈̻", "a\tb", "a\u2028b", "\x1b[31m",
    "\x7f", "\x01", "́", "ﬀ", "İ", "ß", " leading", "trailing ", "  ", "a" * 255, "ü" * 300,
)  # fmt: skip
"""File names that break what is careless with quotes, paths, formulas, encodings or terminals."""


def hostile_files() -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file, some 300, none twice."""
    for name, data in _good_files():
        yield name, data
        stem, _, ending = name.rpartition(".")
        for share in CUTS:
            yield f"{stem}-cut-{share:g}.{ending}", data[: int(share * len(data))]
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        for number, count in enumerate(CHANGES):
            yield f"{stem}-changed-{number}.{ending}", _changed(data, count, rng)
        yield f"{stem}-twice.{ending}", data + data
        yield f"{stem}-with-a-tail.{ending}", data + bytes(5000)
        yield f"{stem}-behind-zeros.{ending}", bytes(600) + data
    yield from _other_kinds()
    yield from _bombs()
    yield from _bad_archives()
    yield from _bad_pdfs()


def picture(height: int = 48, width: int = 80) -> np.ndarray:
    """Return a small grey page, (height, width) uint8, with two strokes and some noise."""
    page = np.random.default_rng(1).normal(220, 6, (height, width)).clip(0, 255).astype(np.uint8)
    cv2.line(page, (8, 8), (width - 9, height - 9), 40, 3)
    cv2.circle(page, (width // 2, height // 2), 12, 60, 2)
    return page


def png(width: int, height: int, rows: bytes, *, colour: int = 0, depth: int = 8) -> bytes:
    """Return a PNG with `rows` as its pixels; every header field is taken as it is given."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(range(256)) * 3) if colour == 3 and depth == 8 else b""
    if colour == 3 and depth < 8:
        palette = chunk(b"PLTE", bytes(range(0, 3 << depth)))
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return PNG_SIGNATURE + chunk(b"IHDR", head) + palette + pixels + chunk(b"IEND", b"")


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return one chunk of a PNG: length, kind, content, CRC."""
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def good_pngs() -> Iterator[tuple[str, bytes]]:
    """Yield a whole PNG of each colour type and depth."""
    rng = np.random.default_rng(2)
    for colour, (channels, depths) in PNG_VARIETIES.items():
        for depth in depths:
            columns = -(-13 * channels * depth // 8)
            rows = rng.integers(0, 256, (11, columns + 1)).astype(np.uint8)
            rows[:, 0] = np.arange(11) % 5  # all five filters
            yield (
                f"colour-{colour}-{depth}",
                png(13, 11, rows.tobytes(), colour=colour, depth=depth),
            )


def bad_pngs() -> Iterator[tuple[str, bytes]]:
    """Yield PNGs that must be refused."""
    rows = bytes(11 * 14)
    good = png(13, 11, rows)
    yield "signature-of-unix", good.replace(b"\r\n", b"\n", 1)
    yield "no-width", png(0, 11, rows)
    yield "no-height", png(13, 0, rows)
    yield "depth-3", png(13, 11, rows, depth=3)
    yield "colour-1", png(13, 11, rows, colour=1)
    yield "too-few-rows", png(13, 11, rows[:40])
    yield "no-pixels", good.replace(b"IDAT", b"iDAT", 1)
    yield "filter-9", png(13, 11, b"\x09" + rows[1:])
    yield "checksum", good.replace(good[29:33], b"\0\0\0\0", 1)
    yield "cut", good[:-20]


def turned_jpegs() -> Iterator[tuple[int, bytes]]:
    """Yield EXIF orientation (1 to 8) and a JPEG that is the same page when it is upright."""
    upright = PillowImage.fromarray(cv2.resize(picture(), (400, 240)))
    # How the upright page is stored in each orientation (TIFF 6.0, page 36).
    stored_as = {
        1: None,
        2: PillowImage.Transpose.FLIP_LEFT_RIGHT,
        3: PillowImage.Transpose.ROTATE_180,
        4: PillowImage.Transpose.FLIP_TOP_BOTTOM,
        5: PillowImage.Transpose.TRANSPOSE,
        6: PillowImage.Transpose.ROTATE_90,
        7: PillowImage.Transpose.TRANSVERSE,
        8: PillowImage.Transpose.ROTATE_270,
    }
    for orientation, method in stored_as.items():
        exif = PillowImage.Exif()
        exif[0x0112] = orientation
        stored = upright if method is None else upright.transpose(method)
        stream = io.BytesIO()
        stored.save(stream, "JPEG", quality=95, exif=exif)
        yield orientation, stream.getvalue()


def _good_files() -> Iterator[tuple[str, bytes]]:
    for name in ("cheque-1.jpg", "clinic-forms.tif", "clinic-forms.pdf", "nist-form.png"):
        yield name, (DEMO / name).read_bytes()
    grey = PillowImage.fromarray(picture())
    for form, options in (("progressive", {"progressive": True}), ("cmyk", {})):
        stream = io.BytesIO()
        (grey.convert("CMYK") if form == "cmyk" else grey).save(stream, "JPEG", **options)
        yield f"{form}.jpg", stream.getvalue()
    for compression in TIFF_COMPRESSIONS:
        stream = io.BytesIO()
        frame = grey.convert("1") if compression.startswith("group") else grey
        frame.save(stream, "TIFF", save_all=True, append_images=[frame], compression=compression)
        yield f"{compression}.tif", stream.getvalue()
    small = cv2.imencode(".png", picture())[1].tobytes()
    yield "small.png", small
    yield "small.zip", zipped({"a/1.png": small, "2.png": small + b"\0"})


def _changed(data: bytes, count: int, rng: np.random.Generator) -> bytes:
    values = np.frombuffer(data, np.uint8).copy()
    # Half of the changes hit the first kilobyte, where headers and directories are.
    places = np.where(
        rng.random(count) < 0.5,
        rng.integers(0, min(1024, len(values)), count),
        rng.integers(0, len(values), count),
    )
    values[places] = rng.integers(0, 256, count)
    return values.tobytes()


def _other_kinds() -> Iterator[tuple[str, bytes]]:
    yield "empty.pdf", b""
    yield "one-byte.jpg", b"\xff"
    yield "zeros.tif", bytes(100_000)
    yield "page.html", b"<!doctype html><title>Scan</title>" + b"<p>no scan</p>" * 50
    yield "program.png", b"\x7fELF" + bytes(range(256)) * 20
    yield "noise.jpg", np.random.default_rng(3).bytes(50_000)
    yield "jpeg-magic.jpg", b"\xff\xd8\xff\xe0" + np.random.default_rng(4).bytes(5_000)
    yield "png-magic.png", PNG_SIGNATURE + np.random.default_rng(5).bytes(5_000)
    for order, name in ((b"II*\0", "little"), (b"MM\0*", "big")):
        yield f"tiff-magic-{name}.tif", order + np.random.default_rng(6).bytes(5_000)
    yield "pdf-magic.pdf", b"%PDF-1.7\n" + np.random.default_rng(7).bytes(5_000)
    yield "a-png.jpg", png(13, 11, bytes(11 * 14))
    yield "animation.gif", b"GIF89a" + bytes(300)
    for name, data in (*good_pngs(), *bad_pngs()):
        yield f"{name}.png", data


def _bombs() -> Iterator[tuple[str, bytes]]:
    yield "bomb.png", png(60_000, 60_000, bytes(1_000_000))
    yield "bomb-of-one-row.png", png(2**31 - 1, 1, bytes(1_000_000))
    yield "bomb-negative.png", png(2**32 - 1, 2**32 - 1, bytes(100))
    jpeg = cv2.imencode(".jpg", picture())[1].tobytes()
    at = jpeg.index(b"\xff\xc0") + 5
    yield "bomb.jpg", jpeg[:at] + b"\xff\xdc\xff\xdc" + jpeg[at + 4 :]
    yield "bomb.tif", _tiff(width=100_000, height=100_000, next_directory=0)
    yield "in-a-circle.tif", _tiff(width=8, height=8, next_directory=8)
    yield "next-beyond-the-end.tif", _tiff(width=8, height=8, next_directory=2**31)
    yield "no-width.tif", _tiff(width=0, height=8, next_directory=0)
    yield "bomb.zip", _deflated({"zeros.png": bytes(100_000_000)})
    nested = zipped({"small.png": cv2.imencode(".png", picture())[1].tobytes()})
    for _ in range(12):
        nested = zipped({"more.zip": nested})
    yield "nested.zip", nested


def _tiff(*, width: int, height: int, next_directory: int) -> bytes:
    """Return a TIFF with one frame of 64 grey bytes, whatever size it says it has."""
    tags = ((256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 200), (278, height))
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in (*tags, (279, 64))]
    directory = struct.pack("<H", len(entries)) + b"".join(entries)
    head = b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", next_directory)
    return head.ljust(200, b"\0") + bytes(range(64))


def _deflated(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def _bad_archives() -> Iterator[tuple[str, bytes]]:
    small = cv2.imencode(".png", picture())[1].tobytes()
    yield "of-nothing.zip", zipped({})
    yield "of-folders.zip", zipped({"a/": b"", "a/b/": b""})
    yield "of-text.zip", zipped({"read.me": b"no scan"})
    yield "outside.zip", zipped({"../../outside.png": small, "/etc/outside.png": small})
    yield "strange-names.zip", zipped({f"{n}-{name}": small for n, name in enumerate('\\:*?"<>|')})
    yield "of-empty-files.zip", zipped({"a.png": b"", "b.jpg": b"", "c.png": small})
    whole = zipped({"a.png": small})
    local = struct.unpack("<I", whole[14:18])[0]
    yield "wrong-checksum.zip", whole.replace(struct.pack("<I", local), b"\1\2\3\4")
    # General purpose bit 0 says that a member is encrypted.
    central = whole.index(b"PK\1\2")
    locked = bytearray(whole)
    locked[6] |= 1
    locked[central + 8] |= 1
    yield "locked.zip", bytes(locked)
    unknown = bytearray(whole)
    unknown[8] = unknown[central + 10] = 97
    yield "unknown-compression.zip", bytes(unknown)
    sized = bytearray(whole)
    sized[central + 24 : central + 28] = b"\xff\xff\xff\x7f"
    yield "size-that-is-a-lie.zip", bytes(sized)
    yield "no-directory.zip", whole[:central]


def _bad_pdfs() -> Iterator[tuple[str, bytes]]:
    catalog = b"<</Type/Catalog/Pages 2 0 R>>"
    blank = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %s]>>"
    yield "of-no-pages.pdf", pdf(catalog, b"<</Type/Pages/Kids[]/Count 0>>")
    yield "pages-in-a-circle.pdf", pdf(catalog, b"<</Type/Pages/Kids[2 0 R]/Count 1>>")
    yield "pages-that-are-missing.pdf", pdf(catalog, b"<</Type/Pages/Kids[9 0 R 8 0 R]/Count 2>>")
    one = b"<</Type/Pages/Kids[3 0 R]/Count 1>>"
    yield "count-that-is-a-lie.pdf", pdf(catalog, one[:-3] + b"99999>>", blank % b"200 200")
    for name, size in (("nothing", b"0 0"), ("enormous", b"9e9 9e9"), ("hair", b"1 14400")):
        yield f"page-of-{name}.pdf", pdf(catalog, one, blank % size)
    yield "locked.pdf", locked_pdf()


def pdf(*objects: bytes, trailer: bytes = b"") -> bytes:
    """Return a PDF of these objects, numbered from 1; the first is the catalogue."""
    out, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    count = len(objects) + 1
    out_of = b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<</Size %d/Root 1 0 R%s>>\n"
    return out + out_of % (count, table, count, trailer) + b"startxref\n%d\n%%%%EOF\n" % len(out)


def locked_pdf() -> bytes:
    """Return a PDF of one page that asks for a password: no password fits its random key."""
    key = np.random.default_rng(8).bytes(32).hex().encode()
    lock = b"<</Filter/Standard/V 1/R 2/O<%s>/U<%s>/P -4>>" % (key, key[::-1])
    return pdf(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>",
        lock,
        trailer=b"/Encrypt 4 0 R/ID[<00112233><00112233>]",
    )
