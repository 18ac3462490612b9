"""Cut the fields of a template out of the page that it was placed on."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from pipeline.geometry import (
    Matrix,
    bounding_box,
    corners,
    expand,
    scaling,
    transform_points,
    translation,
)
from pipeline.imageops import median_high
from pipeline.placing.register import Placement
from pipeline.placing.template import Template
from pipeline.types import Box, Page, Strip

MARGIN: Final = 0.1  # of a box's height, around it: digits overflow, and scans are not exact
MAX_STRIP_HEIGHT: Final = 256  # pixels; a reader wants about 30 for a digit


def cut_strips(page: Page, template: Template, placement: Placement) -> list[Strip]:
    """Cut every field out of an upright page, with a margin of a tenth of the field's height.

    `page` is turned as `placement.turn` says. Fields that are read from the E-13B line have no
    strip. A strip has the resolution of the scan, but is at most 256 pixels high. What lies outside
    the page is filled with the tone of the paper. Printed borders are still there.
    """
    paper = median_high(page.grey[::8, ::8].ravel())
    return [
        _cut_strip(page, placement.matrix, spec.name, placement.box(spec), paper)
        for spec in template.fields
        if spec.micr is None
    ]


def _cut_strip(page: Page, matrix: Matrix, name: str, box: Box, paper: float) -> Strip:
    quad = transform_points(matrix, corners(box))
    width = float(np.hypot(*(quad[1] - quad[0])) + np.hypot(*(quad[2] - quad[3]))) / 2
    height = float(np.hypot(*(quad[3] - quad[0])) + np.hypot(*(quad[2] - quad[1]))) / 2
    margin = MARGIN * height
    wide = expand(box, margin * box.w / max(width, 1e-6), margin * box.h / max(height, 1e-6))
    zoom = min(1.0, MAX_STRIP_HEIGHT / (height + 2 * margin))
    size = (
        max(1, round((width + 2 * margin) * zoom)),
        max(1, round((height + 2 * margin) * zoom)),
    )
    # OpenCV counts from the middle of the first pixel, a placement from its corner.
    to_page = (
        translation(-0.5, -0.5)
        @ matrix
        @ translation(wide.x, wide.y)
        @ scaling(wide.w / size[0], wide.h / size[1])
        @ translation(0.5, 0.5)
    )
    on_page = bounding_box(transform_points(matrix, corners(wide)))
    left, top = max(0, int(on_page.x) - 2), max(0, int(on_page.y) - 2)
    right, bottom = int(on_page.x + on_page.w) + 3, int(on_page.y + on_page.h) + 3
    part = page.grey[top : max(bottom, 0), left : max(right, 0)]
    if part.size == 0:
        return Strip(name, on_page, np.full(size[::-1], paper, np.uint8))
    to_part = translation(-left, -top) @ to_page
    # Most pages are flat, and that is cheaper.
    flat = bool(np.abs(to_part[2, :2] / to_part[2, 2]).max() <= 1e-12)
    strip = (cv2.warpAffine if flat else cv2.warpPerspective)(
        part,
        to_part[:2] / to_part[2, 2] if flat else to_part,
        size,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=paper,
    )
    return Strip(name, on_page, np.asarray(strip, np.uint8))
