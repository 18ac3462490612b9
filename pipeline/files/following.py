"""What stands in a file behind its image: other files, which the decoder never looks at.

Cameras put a second image there (CIPA DC-007, "Multi-Picture Format"; the gain map of an HDR
photo), and programs that join files put whole scans there. None of these is read as a page. They
are found here, so that they can be named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

from pipeline.files.ends import end_of_image
from pipeline.files.media import (
    AVIF,
    BMP,
    GIF,
    HEAD_BYTES,
    HEIC,
    JPEG,
    PDF,
    PNG,
    PNM,
    TIFF,
    WEBP,
    ZIP,
    name_of,
    sniff,
)
from pipeline.files.passed_over import PassedOver

_PADDING = re.compile(rb"(?:[\0 \t\r\n]|\xff(?!\xd8))*")
_IMAGES = (JPEG, PNG, TIFF, HEIC, AVIF, WEBP, BMP, GIF, PNM)
_WITHIN = (TIFF, PDF, ZIP)  # where one of them ends is not known
_KINDS = {*_IMAGES, *_WITHIN}
# What a file of each kind has at its beginning, and how many bytes behind it.
_SIGNATURES = (
    (b"\xff\xd8\xff", 0), (b"\x89PNG\r\n\x1a\n", 0), (b"II*\0", 0), (b"MM\0*", 0),
    (b"II+\0\x08\0", 0), (b"MM\0+\0\x08", 0), (b"%PDF-", 0), (b"PK\x03\x04", 0), (b"GIF8", 0),
    (b"WEBP", 8), (b"ftyp", 4), (b"BM", 0),
    *((b"P%d" % form, 0) for form in range(1, 7)),
)  # fmt: skip
# A JPEG starts with a table, a frame, a comment or an application's segment (ITU-T T.81, B.2.1).
_JPEG_START = re.compile(rb"\xff\xd8\xff[\xc0-\xcf\xdb\xdd\xe0-\xef\xfe]")
_MAX_NAMED = 100  # of one kind in one file; the rest is named as one
_MAX_MISSES = 8  # each may cost a walk through all that follows


@dataclass(frozen=True, slots=True)
class Following:
    """A file of `kind` that begins at byte `start` behind an image."""

    kind: str
    start: int


def behind_image(data: bytes, kind: str) -> list[PassedOver]:
    """Return what stands behind the first image in a file of `kind`; nothing is decoded.

    If the image does not end, or its kind does not tell where, nothing is found.
    """
    frames = later_frames(_images_of_png(data)) if kind == PNG else []
    end = end_of_image(data, kind)
    return frames if end is None else [*frames, *following(data, end)]


def following(data: bytes, end: int, what: str = "the first image") -> list[PassedOver]:
    """Return the files in `data` behind byte `end`, where `what` ends."""
    found = islice(_following(data, end), _MAX_NAMED + 1)
    return [
        PassedOver(
            _name(item, number) + (" and what follows it" if number > _MAX_NAMED else ""),
            "second-image",
            f"{_capital(name_of(item.kind))} follows behind {what} in this file"
            f"{', perhaps with others behind it' if item.kind in _WITHIN else ''}. "
            "Only the first is read. If the other is a page, save it as a file of its own.",
        )
        for number, item in enumerate(found, 2)
    ]


def _name(found: Following, number: int) -> str:
    return f"image {number}" if found.kind in _IMAGES else f"part {number}"


def _following(data: bytes, end: int) -> Iterator[Following]:
    searched = _Search(data)
    while (found := searched.next_file(end)) is not None:
        yield found
        after = end_of_image(data, found.kind, found.start)
        if after is None:
            return  # it is one file, whatever else is in it
        end = after


class _Search:
    """Finds the files within some bytes, one behind the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._places = {signature: -1 for signature, _ in _SIGNATURES}  # where each stands next
        self._misses = 0

    def next_file(self, end: int) -> Following | None:
        """Return the first file that begins at byte `end` or behind it."""
        data = self._data
        padding = _PADDING.match(data, end)
        next_to_it = end if padding is None else padding.end()
        if next_to_it >= len(data):
            return None
        # The first bytes of a HEIC are zeros, as of padding.
        for place in chain([next_to_it], self._places_from(end)):
            kind = sniff(data[place : place + HEAD_BYTES])
            if kind not in _KINDS or not self._may_begin(kind, place):
                continue
            # Next to the other, where a file is to be expected, it need not be whole.
            if place <= next_to_it or kind in _WITHIN or end_of_image(data, kind, place):
                return Following(kind, place)
            self._misses += 1
            if self._misses > _MAX_MISSES:
                return None
        return None

    def _places_from(self, start: int) -> Iterator[int]:
        """Yield each place, at `start` or behind it, where a file may begin."""
        while (place := self._next_signature(start)) is not None:
            yield place
            start = place + 1

    def _next_signature(self, start: int) -> int | None:
        """Return the first place, at `start` or behind it, where a file may begin."""
        for signature, offset in _SIGNATURES:
            if self._places[signature] < start:
                found = self._data.find(signature, start + offset)
                self._places[signature] = len(self._data) if found < 0 else found - offset
        first = min(self._places.values())
        return None if first >= len(self._data) else first

    def _may_begin(self, kind: str, start: int) -> bool:
        """Say whether more than the signature looks like the beginning of a file."""
        head = self._data[start : start + HEAD_BYTES]
        if kind == JPEG:
            return _JPEG_START.match(head) is not None
        if kind == TIFF:
            wide = 8 if b"+" in head[2:4] else 4
            first = int.from_bytes(head[wide : 2 * wide], "little" if head[:2] == b"II" else "big")
            return 8 <= first < len(self._data) - start
        # The signature of a PNM is as short as a word.
        return kind != PNM or end_of_image(self._data, kind, start) is not None


def later_frames(images: int) -> list[PassedOver]:
    """Return the images of a file of `images` images, as an animation is, without the first."""
    reason = (
        "This is a further image in the file, as of an animation or a burst. Only the first is "
        "read. If it is a page, save it as a file of its own."
    )
    return [PassedOver(name, "animation-frame", reason) for name in numbered("frame", 2, images)]


def numbered(what: str, first: int, last: int) -> list[str]:
    """Return the names of things numbered from `first` to `last`: "frame 2", "frame 3" and so on.

    If there are many, the rest has one name, such as "frames 102 to 130".
    """
    single = range(first, min(last, first + _MAX_NAMED - 1) + 1)
    names = [f"{what} {number}" for number in single]
    if last == single.stop:
        names.append(f"{what} {last}")
    elif last > single.stop:
        names.append(f"{what}s {single.stop} to {last}")
    return names


def _images_of_png(data: bytes) -> int:
    """Return the number of images in a PNG: 1, or those of an animated one.

    Its first image need not be a frame of the animation (PNG, third edition, 4.9).
    """
    at, frames, before = 8, 0, False
    while at + 12 <= len(data):
        kind = data[at + 4 : at + 8]
        frames += kind == b"fcTL"
        before = before or (kind == b"IDAT" and not frames)
        at += 12 + int.from_bytes(data[at : at + 4])
        if kind == b"IEND":
            break
    return max(1, frames + before)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
