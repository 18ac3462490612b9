"""Strips of fields, drawn: combs in grey, and the shades of ink that cleaning works on."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pipeline.types import Image

PAPER, INK = 215.0, 45.0


def draw_comb(
    text: str,
    *,
    pitch: int = 42,
    high: int = 46,
    line: float = 90.0,
    dotted: bool = False,
    gap: int = 0,
    shift: int = 0,
    seed: int = 1,
) -> tuple[Image, Image]:
    """Return the grey image of `text`, a digit in each cell, and the same without the comb.

    The first cell begins at (20, 14). Its lines have the tone `line`; a gap of `gap` pixels parts
    the cells, and the digits stand `shift` pixels to the right of their place.
    """
    width = pitch * len(text) + 40
    written = np.full((high + 34, width), PAPER, np.uint8)
    for cell, char in enumerate(text):
        if char != " ":
            at = (20 + cell * pitch + 11 + shift, 14 + high - 12)
            cv2.putText(written, char, at, cv2.FONT_HERSHEY_SIMPLEX, 1.0, INK, 3, cv2.LINE_AA)
    printed = np.full_like(written, PAPER)
    for cell in range(len(text)):
        left, right = 20 + cell * pitch, 20 + (cell + 1) * pitch - gap
        cv2.rectangle(printed, (left, 14), (right, 14 + high), line, 1)
        if dotted:
            printed[16 : 13 + high : 3, [left, right]] = PAPER
    if dotted:
        cv2.rectangle(printed, (20, 14), (20 + len(text) * pitch, 14 + high), INK, 1)
    noise = np.random.default_rng(seed).normal(0, 2, written.shape)
    blur = [
        cv2.GaussianBlur(image.astype(np.float32), (0, 0), 0.6) + noise
        for image in (np.minimum(written, printed), written)
    ]
    both, plain = (np.clip(image, 0, 255).astype(np.uint8) for image in blur)
    return both, plain


def comb_shades(
    columns: Sequence[float],
    *,
    width: int,
    top: int = 12,
    bottom: int = 52,
    border: int = 255,
    separator: int = 255,
    lean: float = 0.0,
) -> Image:
    """Return the shades of a comb's lines, (bottom + 13, width), ink 255 on 0.

    The separators cross the middle of the comb at `columns` and lean by `lean` columns a row. The
    borders run from the first to the last.
    """
    shades = np.zeros((bottom + 13, width), np.uint8)
    shades[[top, bottom], round(columns[0]) : round(columns[-1]) + 1] = border
    rows = np.arange(top, bottom + 1)
    for column in columns:
        x = np.rint(column + lean * (rows - (top + bottom) / 2)).astype(int)
        inside = (x >= 0) & (x < width)
        np.maximum.at(shades, (rows[inside], x[inside]), np.uint8(separator))
    return shades
