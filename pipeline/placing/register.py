"""Place a template on a page, and cut its fields out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import cv2
import numpy as np

from core.errors import TemplateError
from pipeline.geometry import (
    Matrix,
    bounding_box,
    corners,
    expand,
    rotation,
    scaling,
    transform_points,
    translation,
    within,
)
from pipeline.placing.border import find_border
from pipeline.placing.frames import find_rules, match_frames, turn_rules
from pipeline.placing.marks import match_marks
from pipeline.placing.sheet import find_sheet, flatten
from pipeline.placing.template import Anchors, FieldSpec, Template
from pipeline.types import Box, Page, Strip

MIN_SCORE: Final = 0.6  # of frame edges found, or of the two aspect ratios' likeness
MIN_SCORE_FEW: Final = 0.7  # where few frames are expected: two of three fit by chance sooner
FEW_FRAMES: Final = 8
SURE: Final = 0.9  # of the frames; below, the page may be a photograph, in perspective
MIN_SCORE_LOOSE: Final = 0.45  # of the lines of marks whose place and size are not known
# A page that fits less well than this may lie another way round; one that lies the right way is
# preferred by so much.
TRIED: Final = {Anchors.FRAMES: 0.9, Anchors.LOOSE: 0.65}
UPRIGHT: Final = 0.05
# Seven more ways to lie are seven more chances for another page to fit, and a mirror image is
# rarer than another page.
OTHER_WAY: Final = {Anchors.FRAMES: 0.8, Anchors.LOOSE: 0.5}
MIRRORED: Final = 0.6
_MISSING: Final = {
    Anchors.PAGE: "likeness of shape",
    Anchors.BORDER: "likeness of its border",
    Anchors.FRAMES: "of its printed frames",
    Anchors.LOOSE: "of its printed frames",
}
MARGIN: Final = 0.1  # of a box's height, around it: digits overflow, and scans are not exact
MAX_STRIP_HEIGHT: Final = 256  # pixels; a reader wants about 30 for a digit


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a template lies on a page.

    `turn` is how many quarter turns clockwise bring the page upright. `matrix` is (3, 3) float64,
    from fractions of the template's page to pixels of the page so turned, of which the first
    covers 0 to 1: affine on a scan, a homography on a photograph. `boxes` are those of fields that
    were found elsewhere than stated, in fractions.
    """

    matrix: Matrix
    score: float  # 0 to 1: the share of the template's marks that were found
    turn: int = 0
    boxes: Mapping[str, Box] = field(default_factory=dict)

    def box(self, spec: FieldSpec) -> Box:
        """Return where a field is, in fractions of the template's page."""
        return self.boxes.get(spec.name, spec.box)


def register(page: Page, template: Template) -> Placement:
    """Find where `template` lies on `page`: turned up to 6 degrees, shifted, of any resolution.

    A template with frames is also found on a page that lies on its side or upside down. Raises
    TemplateError where the page is not of this kind (code "template-mismatch") or a mirror image
    of one ("mirrored-page").
    """
    placement = _place(page, template)
    mirrored = False
    if template.anchors is Anchors.FRAMES and placement.score < SURE:
        placement = _frames_on_sheet(page, template, placement)
    if placement.score < TRIED.get(template.anchors, 0.0):
        placement, mirrored = _best_way_round(page, template, placement)
    needed = _needed(template)
    if placement.turn or mirrored:
        needed = max(needed, OTHER_WAY[template.anchors], MIRRORED if mirrored else 0.0)
    if placement.score < needed:
        missing = _MISSING[template.anchors]
        raise mismatch(template, f"{placement.score:.0%} {missing} found, {needed:.0%} needed")
    if mirrored:
        raise TemplateError(
            f"this page is a mirror image of a '{template.name}'.",
            hint="Turn mirroring off in the scanner, and scan the printed side.",
            code="mirrored-page",
        )
    return placement


def mismatch(template: Template, why: str) -> TemplateError:
    """Return the error for a page that is not of the template's kind; `why` is in plain words."""
    return TemplateError(
        f"this page does not look like a '{template.name}': {why}.",
        hint="Check that the right template was chosen and that the whole page was scanned.",
        code="template-mismatch",
    )


def righted(page: Page, turn: int) -> Page:
    """Return the page after so many quarter turns clockwise."""
    if turn == 0:
        return page
    return Page(np.ascontiguousarray(np.rot90(page.grey, -turn)))


def _best_way_round(page: Page, template: Template, upright: Placement) -> tuple[Placement, bool]:
    """Return the best placement of the page turned or mirrored, and whether it was mirrored."""
    best, mirrored = replace(upright, score=upright.score + UPRIGHT), False
    size = (template.width, template.height)
    rules = find_rules(page.grey) if template.anchors is Anchors.FRAMES else None
    for mirror in (False, True):
        shown = Page(np.ascontiguousarray(page.grey[:, ::-1])) if mirror else page
        for turn in (0, 2, 1, 3):
            if turn == 0 and not mirror:
                continue
            if rules is None:
                other = _place(righted(shown, turn), template)
            else:
                turned = turn_rules(rules, page.grey.shape, turn, mirrored=mirror)
                other = Placement(*match_frames(turned, template.frames, size))
            if other.score > best.score:
                best, mirrored = replace(other, turn=turn), mirror
    return (upright, False) if best.turn == 0 and not mirrored else (best, mirrored)


def _needed(template: Template) -> float:
    if template.anchors is Anchors.LOOSE:
        return MIN_SCORE_LOOSE
    return MIN_SCORE_FEW if 0 < len(template.frames) < FEW_FRAMES else MIN_SCORE


def _place(page: Page, template: Template) -> Placement:
    """Return the best placement of a template on a page that is taken to be upright."""
    size = (template.width, template.height)
    if template.anchors is Anchors.LOOSE:
        matrix, found, score = match_marks(page.grey, template.marks, size)
        return Placement(matrix, score, 0, _moved(template, found))
    if template.anchors is Anchors.FRAMES:
        return Placement(*match_frames(find_rules(page.grey), template.frames, size))
    if template.anchors is Anchors.BORDER:
        return Placement(*_border(page, template))
    return Placement(*_whole_page(page, template))


def _moved(template: Template, found: Sequence[Box]) -> dict[str, Box]:
    """Return the boxes of fields by where the marks were found that they lie within."""
    marks = {mark.name: (mark.box, box) for mark, box in zip(template.marks, found, strict=True)}
    moved = {}
    for spec in template.fields:
        if spec.within is not None:
            stated, box = marks[spec.within]
            part = Box(
                (spec.box.x - stated.x) / stated.w,
                (spec.box.y - stated.y) / stated.h,
                spec.box.w / stated.w,
                spec.box.h / stated.h,
            )
            moved[spec.name] = within(part, box)
    return moved


def _frames_on_sheet(page: Page, template: Template, scanned: Placement) -> Placement:
    """Look for the frames on the flattened sheet of a photograph; keep the better placement."""
    sheet = find_sheet(page.grey)
    if sheet is None:
        return scanned
    flat, to_page = flatten(page.grey, sheet)
    size = (template.width, template.height)
    placed, found = match_frames(find_rules(flat), template.frames, size)
    return (
        replace(scanned, matrix=_unit(to_page @ placed), score=found)
        if found >= scanned.score
        else scanned
    )


def _border(page: Page, template: Template) -> tuple[Matrix, float]:
    """Lay the template on the border printed around the page."""
    border = find_border(page.grey, template.width / template.height)
    if border is None:
        return np.eye(3), 0.0
    # Squared: a sheet is cut to no exact shape, its print is of one.
    return border.matrix(), min(border.score, _likeness(border.size(), template) ** 2)


def _whole_page(page: Page, template: Template) -> tuple[Matrix, float]:
    """Lay the template on the sheet of a photograph, or over the whole scan, turned as its lines.

    A sheet of another shape than the template is something else, such as a tinted part of a form.
    """
    sheet = find_sheet(page.grey)
    if sheet is not None:
        score = _likeness(sheet.size(), template)
        if score >= MIN_SCORE:
            return sheet.matrix(), min(score, sheet.score)
    skew = find_rules(page.grey).skew
    height, width = page.grey.shape
    sine, cosine = np.sin(np.radians(abs(skew))), np.cos(np.radians(skew))
    # A scan that was turned either kept its size, or grew to hold the corners.
    grown = np.linalg.solve([[cosine, sine], [sine, cosine]], [width, height])
    sizes = [(float(width), float(height)), (float(grown[0]), float(grown[1]))]
    w, h = max(sizes, key=lambda size: _likeness(size, template))
    turn = rotation(skew, (width / 2, height / 2))
    matrix = turn @ translation((width - w) / 2, (height - h) / 2) @ scaling(w, h)
    return matrix, _likeness((w, h), template)


def _likeness(size: tuple[float, float], template: Template) -> float:
    """Return 1 for the shape of the template's page, less for others, 0.6 for one 1.29 times."""
    ratio = max(size[0] / max(size[1], 1e-6), 1e-6) * template.height / template.width
    return float(np.exp(-2 * abs(np.log(ratio))))


def _unit(matrix: Matrix) -> Matrix:
    return np.asarray(matrix / matrix[2, 2], np.float64)


def cut_strips(page: Page, template: Template, placement: Placement) -> list[Strip]:
    """Cut every field out of the page, upright, with a margin of a tenth of its height.

    `page` is that on which the template was placed, righted. Fields of the E-13B line are none.

    A strip has the resolution of the scan, up to 256 pixels of height. What lies outside the
    page is filled with the tone of the paper. Printed borders are still there.
    """
    sample = page.grey[::8, ::8].ravel()
    paper = float(np.partition(sample, sample.size // 2)[sample.size // 2])
    return [
        _cut(page, placement.matrix, spec.name, placement.box(spec), paper)
        for spec in template.fields
        if spec.micr is None
    ]


def _cut(page: Page, matrix: Matrix, name: str, box: Box, paper: float) -> Strip:
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
