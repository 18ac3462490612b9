"""Pages that tests draw, and what a scanner or a camera makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from pipeline.geometry import Matrix, corners, rotation, scaling
from pipeline.types import Box, Image

TALLY_SIZE: Final = (1654, 2339)  # A4 at 200 dpi
TALLY_BOXES: Final = {
    "clinic": Box(330, 470, 480, 84),
    "week": Box(990, 470, 560, 84),
    **{f"row-{i}": Box(1190, 860 + 132 * i, 360, 92) for i in range(8)},
}
TALLY_COMBS: Final = {"clinic": 6, "week": 8}

_LABELS = (
    "Patients seen, all ages",
    "of these, under five years",
    "Doses of vaccine given",
    "Blood tests done",
    "of these, positive",
    "Referred to the hospital",
    "Births",
    "Bed nets handed out",
)


def draw_tally() -> Image:
    """Draw a filled-in form with two combs, eight boxes and faint rules between its rows.

    The boxes are TALLY_BOXES, in pixels; digits stand in every one of them.
    """
    picture = Pictures.new("L", TALLY_SIZE, 247)
    draw = ImageDraw.Draw(picture)

    def print_text(x: float, y: float, text: str, size: int, tone: int) -> None:
        draw.text((x, y), text, tone, ImageFont.load_default(size))

    draw.rectangle((100, 110, 1553, 249), 80)
    print_text(140, 150, "WEEKLY CLINIC TALLY", 60, 250)
    print_text(100, 282, "District of Port Linden  ·  Public Health Office", 34, 98)
    print_text(100, 340, "Write whole numbers, one digit in each cell.", 30, 98)
    print_text(100, 496, "Clinic", 32, 30)
    print_text(990, 426, "Week ending", 32, 30)
    draw.line((100, 680, 1554, 680), 70, 5)
    print_text(100, 712, "Counted this week", 40, 70)
    print_text(1190, 716, "Number", 34, 70)
    draw.line((100, 790, 1554, 790), 70, 2)
    for row, label in enumerate(_LABELS):
        y = TALLY_BOXES[f"row-{row}"].y
        print_text(100, y + 30, f"{row + 1}", 34, 98)
        print_text(230 if label.startswith("of these") else 170, y + 28, label, 36, 30)
        draw.line((100, y + 112, 1120, y + 112), 174, 1)
    draw.line((100, 1976, 1554, 1976), 70, 5)
    print_text(100, 2006, "Send to the district office by Monday noon. Keep the copy.", 30, 98)
    print_text(100, 2220, "Drawn by a test; there is no such clinic and no patient.", 26, 98)
    for name, box in TALLY_BOXES.items():
        right, bottom = box.x + box.w, box.y + box.h
        cells = TALLY_COMBS.get(name, 1)
        draw.rectangle((box.x, box.y, right, bottom), 252, 32, 3)
        pitch = box.w / cells if cells > 1 else 0.6 * box.h
        for number in range(1, cells):
            x = box.x + number * pitch
            draw.line((x, box.y, x, bottom), 32, 3)
        for number in range(cells if cells > 1 else 4):
            middle = (box.x + (number + 0.55) * pitch, box.y + 0.5 * box.h)
            font = ImageFont.load_default(0.75 * box.h)
            draw.text(middle, f"{number + 1}", 60, font, anchor="mm", stroke_width=2)
    return np.asarray(picture, np.uint8)


SHEET_SIZE: Final = (1000, 640)
SHEET_FIELDS: Final = {
    "amount": Box(700, 250, 240, 70),
    "number": Box(80, 470, 300, 60),
    "date": Box(640, 60, 300, 60),
    "account": Box(560, 500, 360, 70),
}
SHEET_BORDER: Final = Box(20, 20, 960, 600)  # along the middle of its band


def draw_sheet(*, border: bool = False) -> Image:
    """Draw a sheet of SHEET_SIZE with print, a box for each field and, if so, a border around."""
    width, height = SHEET_SIZE
    page = np.full((height, width), 235, np.uint8)
    for line in range(5):
        cv2.putText(page, "to the order of", (60, 120 + 90 * line), 0, 1.1, 60, 2)
    for box in SHEET_FIELDS.values():
        x, y, w, h = (round(side) for side in (box.x, box.y, box.w, box.h))
        cv2.rectangle(page, (x, y), (x + w, y + h), 40, 2)
    if border:
        cv2.rectangle(page, (20, 20), (width - 21, height - 21), 50, 9)
    return page


def quad_in(size: tuple[int, int], moves: Sequence[float] = (0.0,) * 8) -> NDArray[np.float64]:
    """Return four corners in a picture of `size` (width, height), clockwise from the top left.

    Each corner is moved by its two `moves`, in shares of the width and the height.
    """
    middle = np.array([[0.1, 0.17], [0.9, 0.17], [0.9, 0.83], [0.1, 0.83]])
    return np.asarray((middle + np.reshape(moves, (4, 2))) * size)


def scan(page: Image, turn: float, scale: float, shade: float) -> tuple[Image, Matrix]:
    """Scan a page turned by so many degrees about its middle, at `scale` times its resolution.

    The light falls off to `shade` at the left. Returns the scan and the transform to its pixels.
    """
    size = (round(page.shape[1] * scale), round(page.shape[0] * scale))
    matrix = rotation(turn, (size[0] / 2, size[1] / 2)) @ scaling(scale)
    grey = cv2.warpAffine(page, matrix[:2], size, flags=cv2.INTER_AREA, borderValue=245)
    return (grey * np.linspace(shade, 1, size[0])).astype(np.uint8), matrix


def photograph(
    page: Image, quad: NDArray[np.float64], size: tuple[int, int], table: int, light: float
) -> tuple[Image, Matrix]:
    """Photograph a page with its corners at `quad`, clockwise from the top left.

    It lies on a table of the grey level `table`, and the light falls off to `light` at the right.
    Returns the photograph, of `size` (width, height), and the homography to its pixels.
    """
    height, width = page.shape
    shape = corners(Box(0, 0, width, height)).astype(np.float32)
    matrix = np.asarray(cv2.getPerspectiveTransform(shape, quad.astype(np.float32)))
    tone = cv2.warpPerspective(page.astype(np.float32), matrix, size)
    mask = cv2.warpPerspective(np.ones(page.shape, np.float32), matrix, size)
    photo = tone * mask + table * (1 - mask)
    photo *= np.linspace(1, light, size[0])
    photo += np.random.default_rng(4).normal(0, 4, photo.shape)
    return np.clip(photo, 0, 255).astype(np.uint8), matrix
