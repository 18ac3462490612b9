"""A picture of a page with the values that were read, for `counterfoil read --draw`."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cli.output import percent
from core.errors import InputError
from core.policy import Decision
from pipeline.files.page import decode_page
from pipeline.geometry import turn_box
from pipeline.types import Box, EncodedPage

_ACCEPTED, _REVIEW = (0, 122, 78), (200, 80, 0)  # colour-blind people can tell them apart

_Corners = tuple[float, float, float, float]  # left, top, right, bottom
_LABEL_SHARE = 1 / 52  # of the longer side of the page: readable when the page fills a screen


def draw_readings(image: EncodedPage, page: dict[str, Any], turn: int = 0) -> Image.Image:
    """Return the upright scan with the box, the value and the confidence of each field.

    `page` is one object of `counterfoil read --json`, `turn` the quarter turns clockwise that
    bring the scan upright. Accepted fields are green, fields for review orange.
    """
    grey = decode_page(image.data, image.media_type).grey
    boxes = [turn_box(Box(*field["box"]), turn, grey.shape[::-1]) for field in page["fields"]]
    picture = Image.fromarray(np.rot90(grey, -turn)).convert("RGB")
    draw = ImageDraw.Draw(picture, "RGBA")
    heights = [box.h for box in boxes] or [0]
    size = max(11, round(min(max(picture.size) * _LABEL_SHARE, median(heights) / 2)))
    font, width, gap = ImageFont.load_default(size), max(2, size // 9), size // 4
    taken = [(box.x, box.y, box.x + box.w, box.y + box.h) for box in boxes]
    for field, box in zip(page["fields"], tuple(taken), strict=True):
        colour = _ACCEPTED if field["decision"] == Decision.ACCEPTED else _REVIEW
        draw.rectangle(box, outline=colour, width=width)
        value = "?" if field["value"] is None else field["value"] or "(empty)"
        text = f"{value}  {percent(field['confidence'])}"
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        label = _place(box, right - left + 2 * gap, bottom - top + 2 * gap, picture.size, taken)
        taken.append(label)
        draw.rectangle(label, fill=(*colour, 225))
        draw.text((label[0] + gap - left, label[1] + gap - top), text, font=font, fill="white")
    return picture


def _place(
    box: _Corners, wide: float, high: float, page: tuple[int, int], taken: list[_Corners]
) -> _Corners:
    """Return the place of a label beside its box, on the page, if possible over no other box."""
    left, top, right, bottom = box
    spots = ((left, top - high), (left - wide, top), (right, top), (left, bottom))
    labels = []
    for x, y in spots:
        x, y = min(max(0.0, x), page[0] - wide), min(max(0.0, y), page[1] - high)
        labels.append((x, y, x + wide, y + high))
    return next(
        (label for label in labels if not any(_overlap(label, t) for t in taken)), labels[0]
    )


def _overlap(a: _Corners, b: _Corners) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def save_picture(picture: Image.Image, folder: Path, file: str, number: int) -> Path:
    """Write a picture as PNG into `folder`, named after the file and its page, and return where.

    The folders of the file are part of the name, so that `a/1.jpg` and `b/1.jpg` stay apart.
    """
    name = "_".join(part for part in Path(file).parts if part not in ("/", "..", "."))
    path = folder / f"{name}-{number}.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(path)
    except OSError as exc:
        raise InputError(f"{path} cannot be written ({exc.strerror}).") from exc
    return path
