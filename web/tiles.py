"""The picture of one character of a field, cut so that no ink of the field is on no picture.

A picture reaches to the middle between its character and the next ones; those of the first and the
last reach to the ends of the field, less what is blank paper. So a digit that the machine has not
seen is on the picture of the one beside it, where it looks odd.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from api.page_images import crop_upright
from db.views import FieldView
from pipeline.geometry import turn_box
from pipeline.types import Box, Image

TILE_WIDTH: Final = 72  # pixels
TILE_HEIGHT: Final = 84
_ABOVE: Final = 0.3  # of the characters' height, shown above and below them
_BESIDE: Final = 0.25  # of their height, kept beside the first and the last
_INK: Final = 0.35  # of the darkest ink's contrast: paler columns are blank
_PALER: Final = 0.35  # of the contrast, which what is beside the character has less
_PALE: Final = 24  # of 255: paler ink is paper


def cut_tile(page: Image, field: FieldView, place: int, turn: int) -> Image:
    """Return the picture of a character, (TILE_HEIGHT, TILE_WIDTH), on a page as scanned.

    `turn` is the number of quarter turns clockwise that bring the page upright.
    """
    size = (page.shape[1], page.shape[0])
    upright = [turn_box(Box(*one["box"]), turn, size) for one in field.characters or ()]
    whole = turn_box(Box(*field.box or (0, 0, *size)), turn, size)
    own = upright[place]
    height = max(box.h for box in upright)
    top = min(box.y for box in upright) - _ABOVE * height
    bottom = max(box.y + box.h for box in upright) + _ABOVE * height
    left, right = whole.x, whole.x + whole.w
    if place > 0:
        left = _middle(upright[place - 1], own)
    if place + 1 < len(upright):
        right = _middle(own, upright[place + 1])
    left, right = min(left, own.x), max(right, own.x + own.w)
    area = Box(left, top, right - left, bottom - top)
    cut = crop_upright(page, turn_box(area, -turn, size[::-1] if turn % 2 else size), turn)
    start, end = own.x - left, own.x - left + own.w
    room = _BESIDE * height
    cut = _paled(cut, start, end)
    ends = {"first": place == 0, "last": place + 1 == len(upright)}
    return _fitted(_trimmed(cut, start - room, end + room, **ends))


def sprite(tiles: Sequence[Image]) -> Image:
    """Return pictures side by side."""
    return np.hstack(tiles)


def _middle(left: Box, right: Box) -> float:
    return (left.x + left.w + right.x) / 2


def _paled(cut: Image, start: float, end: float) -> Image:
    """Return a picture with what is beside the columns from start to end a little paler."""
    paper = float(np.median(cut))
    paled = cut.astype(np.float32)
    for beside in (paled[:, : max(0, int(start))], paled[:, max(0, int(end) + 1) :]):
        beside += _PALER * (paper - beside)
    return np.asarray(paled, np.uint8)


def _trimmed(cut: Image, start: float, end: float, *, first: bool, last: bool) -> Image:
    """Return a picture without the blank paper at the ends of its field, but with start to end."""
    paper = float(np.median(cut))
    contrast = np.abs(cut.astype(np.float32) - paper)
    written = (contrast > max(_PALE, _INK * float(contrast.max()))).any(axis=0)
    inked = np.flatnonzero(written)
    from_column, to_column = 0, cut.shape[1]
    if first:
        seen = int(inked[0]) if len(inked) else to_column
        from_column = max(0, min(seen - 2, int(start)))
    if last:
        seen = int(inked[-1]) + 1 if len(inked) else 0
        to_column = min(cut.shape[1], max(seen + 2, int(end) + 1))
    return cut[:, from_column : max(from_column + 1, to_column)]


def _fitted(cut: Image) -> Image:
    """Return a picture at the size of a tile, its sides in proportion, on its own paper."""
    scale = min(TILE_HEIGHT / cut.shape[0], TILE_WIDTH / cut.shape[1])
    size = (max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(cut, size, interpolation=way)
    tile = np.full((TILE_HEIGHT, TILE_WIDTH), int(np.median(small)), np.uint8)
    top, left = (TILE_HEIGHT - size[1]) // 2, (TILE_WIDTH - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = small
    return tile
