"""What each frame of a TIFF is for: a page, or a thumbnail or mask of one.

Some scanners write a thumbnail after each page, in the chain of frames. Only its directory tells
it from a page: NewSubfileType (TIFF 6.0, page 36).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pipeline.files.following import numbered
from pipeline.files.passed_over import PassedOver

_REDUCED, _MASK = 1, 4  # bits of NewSubfileType


@dataclass(frozen=True, slots=True)
class FrameRole:
    """What the directory of a frame says about its use."""

    size: tuple[int, int]  # width, height in pixels; 0, 0 if it does not state them
    kind: int  # its NewSubfileType
    sub_images: int  # images in directories below its own (SubIFDs, Adobe's TIFF Technical Note 1)
    is_page: bool = True

    def passed_over(self, number: int) -> PassedOver:
        """Return why this frame, number `number` from 1, is no page."""
        if self.kind & _MASK:
            return PassedOver(
                f"frame {number}", "mask", "This frame is marked as a mask of another one."
            )
        across, down = self.size
        reason = f"This frame is marked as a thumbnail, {across} × {down} pixels, of a page."
        return PassedOver(f"frame {number}", "thumbnail", reason)

    def below(self, number: int) -> Iterator[PassedOver]:
        """Yield the images in directories below this frame."""
        for name in numbered("image", 1, self.sub_images):
            yield PassedOver(
                f"frame {number}, {name} below it",
                "sub-image",
                "This image belongs to the frame, as reduced copies of it do. It is not read.",
            )


def find_pages(roles: Sequence[FrameRole]) -> tuple[FrameRole, ...]:
    """Return the roles, with `is_page` false for those that only repeat a page.

    A thumbnail is marked as a reduced image and is smaller than a frame without the mark. Where no
    frame is larger the mark is wrong, as some programs write it on every page: then it is a page.
    """
    whole = [role.size for role in roles if not role.kind & (_REDUCED | _MASK)]
    largest = max((max(size) for size in whole), default=0)
    return tuple(replace(role, is_page=not _repeats(role, largest)) for role in roles)


def _repeats(role: FrameRole, largest: int) -> bool:
    if role.kind & _MASK:
        return largest > 0
    return bool(role.kind & _REDUCED) and max(role.size) < largest
