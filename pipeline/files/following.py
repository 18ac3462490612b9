"""What stands in a file behind its image: other images, which the decoder never looks at.

Cameras put a second image there (CIPA DC-007, "Multi-Picture Format"; the gain map of an HDR
photo), and programs that join files put whole scans there. None of these is read as a page. They
are found here, so that they can be named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.files.media import HEAD_BYTES, JPEG, PDF, PNG, TIFF, ZIP, name_of, sniff
from pipeline.files.passed_over import PassedOver

_MARKER = re.compile(rb"\xff+([^\xff])")
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # no stuffed byte, no restart
_EOI, _SOS = 0xD9, 0xDA
_WITHOUT_LENGTH = {0x01, 0xD8, *range(0xD0, 0xD8)}
# A JPEG starts with a table, a frame, a comment or an application's segment (ITU-T T.81, B.2.1).
_JPEG_START = re.compile(rb"\xff\xd8\xff[\xc0-\xcf\xdb\xdd\xe0-\xef\xfe]")
_PADDING = b"\0\xff \t\r\n"
_FOLLOWERS = (JPEG, PNG, TIFF, PDF, ZIP)
_MAX_FOLLOWERS = 100  # in one file; more are no second images but something else
_MAX_MISSES = 8  # each may cost a walk through all that follows


@dataclass(frozen=True, slots=True)
class Following:
    """A file of `kind` that begins at byte `start` behind an image."""

    kind: str
    start: int


def following_jpeg(data: bytes) -> list[PassedOver]:
    """Return what stands behind the end of a JPEG; nothing if the JPEG has no end."""
    end = _end_of_jpeg(data, 0)
    return [] if end is None else following(data, end)


def following_png(data: bytes) -> list[PassedOver]:
    """Return what stands behind the end of a PNG, and the later frames of an animated one."""
    at, frames = 8, 0
    while at + 12 <= len(data):
        kind = data[at + 4 : at + 8]
        frames += kind == b"fcTL"  # PNG, third edition, 11.3.6
        at += 12 + int.from_bytes(data[at : at + 4])
        if kind == b"IEND":
            return [*later_frames(frames), *following(data, at)]
    return []


def following(data: bytes, end: int) -> list[PassedOver]:
    """Return the files in `data` behind byte `end`, where the first image ends."""
    return [
        PassedOver(
            f"image {number}" if found.kind in (JPEG, PNG, TIFF) else f"part {number}",
            "second-image",
            f"{_capital(name_of(found.kind))} follows behind the first image in this file. "
            "Only the first is read. If the other is a page, save it as a file of its own.",
        )
        for number, found in enumerate(_following(data, end), 2)
    ]


def _following(data: bytes, end: int) -> Iterator[Following]:
    misses = 0
    for _ in range(_MAX_FOLLOWERS):
        while end < len(data) and data[end] in _PADDING and not data.startswith(b"\xff\xd8", end):
            end += 1
        kind = sniff(data[end : end + HEAD_BYTES]) if end < len(data) else ""
        if kind in _FOLLOWERS and kind != JPEG:
            yield Following(kind, end)
            return  # where it ends is not known; it is one file, whatever it holds
        found = _JPEG_START.search(data, end)
        if found is None:
            return
        after = _end_of_jpeg(data, found.start())
        if after is None and kind != JPEG:  # no JPEG, but bytes that look like its beginning
            misses += 1
            if misses > _MAX_MISSES:
                return
            end = found.start() + 2
            continue
        yield Following(JPEG, found.start())
        if after is None:
            return
        end = after


def later_frames(frames: int) -> list[PassedOver]:
    """Return the frames of an animation of `frames` frames, without the first."""
    return [
        PassedOver(
            f"frame {number}",
            "animation-frame",
            "This is a further image in the file, as of an animation or a burst. Only the first is "
            "read. If it is a page, save it as a file of its own.",
        )
        for number in range(2, min(frames, _MAX_FOLLOWERS) + 1)
    ]


def _end_of_jpeg(data: bytes, start: int) -> int | None:
    """Return where the JPEG that begins at `start` ends, or None if it does not end.

    A JPEG has an image: bytes without a scan are no JPEG.
    """
    at, scans = start + 2, 0
    while found := _MARKER.match(data, at):
        marker, at = found[1][0], found.end()
        if marker == _EOI:
            return at if scans else None
        if marker in _WITHOUT_LENGTH:
            continue
        at += int.from_bytes(data[at : at + 2])
        if marker == _SOS:
            scans += 1
            end = _END_OF_SCAN.search(data, at)
            if end is None:
                return None
            at = end.start()
    return None


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
