"""Print on a page: type, ruled lines and boxes."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.types import Box
from training.synthesis.paper import Colour, Picture


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)  # Aileron, which comes with Pillow


def print_text(
    picture: Picture,
    text: str,
    x: float,
    y: float,
    size: int,
    colour: Colour,
    *,
    anchor: str = "lt",
    bold: bool = False,
    spacing: float = 0.0,
) -> None:
    """Set a line of type, in place.

    `anchor` is Pillow's. `spacing`, in pixels, widens the letters of a line that starts at x.
    """
    page = Image.fromarray(picture)
    draw = ImageDraw.Draw(page)
    weight = size / 45 if bold else 0.0
    if spacing:
        y = draw.textbbox((x, y), "H", _font(size), anchor)[3]  # letter by letter on one baseline
        for letter in text:
            draw.text((x, y), letter, colour, _font(size), anchor="ls", stroke_width=weight)
            x += draw.textlength(letter, _font(size)) + spacing
    else:
        draw.text((x, y), text, colour, _font(size), anchor=anchor, stroke_width=weight)
    picture[:] = np.asarray(page)


def rule(picture: Picture, x0: float, y: float, x1: float, colour: Colour, width: int = 2) -> None:
    """Draw a horizontal ruled line in place."""
    cv2.line(picture, (round(x0), round(y)), (round(x1), round(y)), colour, width)


def frame(
    picture: Picture,
    box: Box,
    colour: Colour,
    *,
    width: int = 2,
    cells: int = 1,
    fill: Colour | None = None,
) -> None:
    """Draw a box in place, divided into equal `cells` from left to right."""
    x0, y0 = round(box.x), round(box.y)
    x1, y1 = round(box.x + box.w), round(box.y + box.h)
    if fill is not None:
        part = picture[y0:y1, x0:x1].astype(np.float32)
        part[:] = part * 0.25 + np.array(fill, np.float32) * 0.75  # the pattern shines through
        picture[y0:y1, x0:x1] = part.astype(np.uint8)
    cv2.rectangle(picture, (x0, y0), (x1, y1), colour, width)
    for i in range(1, cells):
        x = round(box.x + i * box.w / cells)
        cv2.line(picture, (x, y0), (x, y1), colour, max(1, width - 1))
