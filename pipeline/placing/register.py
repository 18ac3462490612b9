"""Find where a template lies on a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from core.errors import TemplateError
from pipeline.geometry import Matrix, from_fractions, rotation, scaling, to_fractions, translation
from pipeline.placing.border import find_border
from pipeline.placing.confirmed import unsure_fields
from pipeline.placing.frames import match_frames
from pipeline.placing.marks import match_marks
from pipeline.placing.outline import rectify
from pipeline.placing.page_rules import PageRules, find_page_rules, turn_page_rules
from pipeline.placing.sheet import find_sheet
from pipeline.placing.template import Anchors, FieldSpec, Template
from pipeline.types import Box, Image, Page

MIN_SCORE: Final = 0.6  # of frame edges found, or of the similarity of two aspect ratios
MIN_SCORE_FEW: Final = 0.7  # where few frames are expected: two of three fit by chance sooner
FEW_FRAMES: Final = 8
# Of one loose frame, or its field's place is not sure. On 64 real cheques the worst comb has 0.28,
# and 10 of 12 that were cut off have 0.15 or less.
MIN_FIT_OF_MARK: Final = 0.25
MIN_SCORE_LOOSE: Final = 0.45  # of the lines of marks whose place and size are not known
# A page that fits less well than this may be a photograph, in perspective.
SHEET_BELOW: Final = 0.9
# A page that fits less well than this may lie another way round. An upright page has an advantage
# over the other ways.
OTHER_WAYS_BELOW: Final = {Anchors.FRAMES: 0.9, Anchors.LOOSE: 0.65}
UPRIGHT_ADVANTAGE: Final = 0.05
# Seven more ways to lie are seven more chances for another page to fit, and a mirror image is
# rarer than another page.
MIN_SCORE_TURNED: Final = {Anchors.FRAMES: 0.8, Anchors.LOOSE: 0.5}
MIN_SCORE_MIRRORED: Final = 0.6
# A border that fits less well may be another line, or its missing side was completed by its shape.
SURE_BORDER: Final = 0.9
_SCORED: Final = {
    Anchors.PAGE: "likeness of shape",
    Anchors.BORDER: "likeness of its border",
    Anchors.FRAMES: "of its printed frames",
    Anchors.LOOSE: "of its printed frames",
}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a template lies on a page.

    `turn` is the number of quarter turns clockwise that bring the page upright. `matrix` is
    (3, 3) float64, from fractions of the template's page to pixels of the page so turned, of which
    the first covers 0 to 1: affine on a scan, a homography on a photograph. `boxes` are those of
    fields that were found elsewhere than stated, in fractions. `unsure` are the fields whose own
    place nothing confirms; `framed` says whether printed frames confirm that of the others. `doubt`
    says in words why the whole placement may be wrong, if it may, and `cut` at which sides the page
    seems to be cut off.
    """

    matrix: Matrix
    score: float  # 0 to 1: the share of the template's marks that were found
    turn: int = 0
    boxes: Mapping[str, Box] = field(default_factory=dict)
    unsure: frozenset[str] = frozenset()
    doubt: str | None = None
    cut: tuple[str, ...] = ()
    framed: bool = True

    def box(self, spec: FieldSpec) -> Box:
        """Return where a field is, in fractions of the template's page."""
        return self.boxes.get(spec.name, spec.box)


def register(page: Page, template: Template, *, rules: PageRules | None = None) -> Placement:
    """Find where `template` lies on `page`: turned up to 6 degrees, shifted, of any resolution.

    `rules` are the ruled lines of the page, if they were found already.

    With frames, fixed or loose, a page that lies on its side or upside down is found too. Raises
    TemplateError where the page is not of this kind (code "template-mismatch"), a mirror image
    of one ("mirrored-page"), or fits about as well elsewhere ("ambiguous-placement").
    """
    mirrored = False
    match template.anchors:
        case Anchors.FRAMES:
            placement, mirrored = _register_frames(page, template, rules)
        case Anchors.LOOSE:
            placement, mirrored = _register_marks(page, template)
        case Anchors.BORDER:
            placement = _register_border(page, template)
        case Anchors.PAGE:
            placement = _register_page(page, template)
    needed = _min_score(template)
    if placement.turn or mirrored:
        mirror = MIN_SCORE_MIRRORED if mirrored else 0.0
        needed = max(needed, MIN_SCORE_TURNED[template.anchors], mirror)
    if placement.score < needed:
        scored = _SCORED[template.anchors]
        why = f"{placement.score:.0%} {scored} found, {needed:.0%} needed"
        if placement.cut:
            why += f"; it seems to be cut off at the {' and '.join(placement.cut)}"
        raise mismatch_error(template, why, score=placement.score)
    if mirrored:
        raise TemplateError(
            f"the printed frames of this page lie as in a mirror image of a '{template.name}'.",
            hint="If its writing is mirrored too, turn mirroring off in the scanner. If it is not,"
            " this is another form, such as a cheque that is laid out from right to left: it needs"
            " a template of its own.",
            code="mirrored-page",
        )
    if placement.doubt is not None:
        raise ambiguous_error(template, placement)
    if not is_checked(template) or (
        template.anchors is Anchors.BORDER and placement.score < SURE_BORDER
    ):
        return replace(placement, unsure=frozenset(spec.name for spec in template.fields))
    return placement


def is_checked(template: Template) -> bool:
    """Say whether something printed confirms a placement; the edges of a page alone do not.

    A page that was cut to the same shape, or another form on the same paper, has such edges too.
    """
    return template.anchors is not Anchors.PAGE


def ambiguous_error(template: Template, placement: Placement) -> TemplateError:
    """Return the error for a page that fits its template in two places about as well."""
    cut = f", and the page seems to be cut off at the {' and '.join(placement.cut)}"
    return TemplateError(
        f"it is not certain where the fields of '{template.name}' lie on this page: "
        f"{placement.doubt}{cut if placement.cut else ''}.",
        hint="Scan the whole page. If it was whole, add more of what is printed on it to the "
        "template's 'frames', so that no row or column can be taken for another.",
        code="ambiguous-placement",
    )


class MismatchError(TemplateError):
    """The page is not of the template's kind.

    `why` says so in plain words; `score` is that of the best placement, 0 to 1.
    """

    why: str = ""
    score: float = 0.0


def mismatch_error(template: Template, why: str, *, score: float = 0.0) -> MismatchError:
    """Return the error for a page that is not of the template's kind; `why` is in plain words."""
    error = MismatchError(
        f"this page does not look like a '{template.name}': {why}.",
        hint="Check that the right template was chosen and that the whole page was scanned.",
        code="template-mismatch",
    )
    error.why, error.score = why, score
    return error


def turn_page(page: Page, turns: int) -> Page:
    """Return the page after a number of quarter turns clockwise."""
    return page if turns == 0 else Page(np.ascontiguousarray(np.rot90(page.grey, -turns)))


def _min_score(template: Template) -> float:
    if template.anchors is Anchors.LOOSE:
        return MIN_SCORE_LOOSE
    return MIN_SCORE_FEW if 0 < len(template.frames) < FEW_FRAMES else MIN_SCORE


def _register_frames(
    page: Page, template: Template, rules: PageRules | None
) -> tuple[Placement, bool]:
    """Return the best placement by the printed frames, and whether the page is mirrored."""
    rules = find_page_rules(page.grey) if rules is None else rules
    placement = _match_frames(rules, template)
    if placement.score < SHEET_BELOW:
        placement = _frames_on_sheet(page, template, placement)

    def match_turned(turns: int, mirrored: bool) -> Placement:
        turned = turn_page_rules(rules, page.grey.shape, turns, mirrored=mirrored)
        return _match_frames(turned, template)

    return _best_way_round(placement, template, match_turned)


def _match_frames(rules: PageRules, template: Template) -> Placement:
    found = match_frames(rules, template.frames, (template.width, template.height))
    if found is None:
        return Placement(np.eye(3), 0.0)
    unsure = unsure_fields(template, found)
    return Placement(found.matrix, found.score, unsure=unsure, doubt=found.doubt, cut=found.cut)


def _frames_on_sheet(page: Page, template: Template, scanned: Placement) -> Placement:
    """Look for the frames on the sheet of a photograph; return the better of both placements."""
    sheet = find_sheet(page.grey)
    if sheet is None:
        return scanned
    flat, to_page = rectify(page.grey, sheet)
    found = _match_frames(find_page_rules(flat), template)
    if found.score < scanned.score:
        return scanned
    matrix = to_page @ found.matrix
    return replace(found, matrix=np.asarray(matrix / matrix[2, 2], np.float64))


def _register_marks(page: Page, template: Template) -> tuple[Placement, bool]:
    """Return the best placement by the loose frames, and whether the page is mirrored."""

    def match_turned(turns: int, mirrored: bool) -> Placement:
        shown = Page(np.ascontiguousarray(page.grey[:, ::-1])) if mirrored else page
        return _match_marks(turn_page(shown, turns).grey, template)

    return _best_way_round(_match_marks(page.grey, template), template, match_turned)


def _match_marks(grey: Image, template: Template) -> Placement:
    size = (template.width, template.height)
    found = match_marks(grey, template.marks, size)
    lost = {
        mark.name
        for mark, fit in zip(template.marks, found.fits, strict=True)
        if fit < MIN_FIT_OF_MARK
    }
    return Placement(
        found.matrix,
        found.score,
        boxes=_boxes_in_marks(template, found.boxes),
        unsure=frozenset(spec.name for spec in template.fields if spec.within in lost),
    )


def _boxes_in_marks(template: Template, found: Sequence[Box]) -> dict[str, Box]:
    """Return the boxes of the fields that lie within marks, moved to where these were found."""
    marks = {mark.name: (mark.box, box) for mark, box in zip(template.marks, found, strict=True)}
    moved = {}
    for spec in template.fields:
        if spec.within is not None:
            stated, box = marks[spec.within]
            moved[spec.name] = from_fractions(to_fractions(spec.box, stated), box)
    return moved


def _best_way_round(
    upright: Placement, template: Template, match_turned: Callable[[int, bool], Placement]
) -> tuple[Placement, bool]:
    """Return the best placement on the page, turned or mirrored, and whether it was mirrored.

    `match_turned` places the template on the page after so many quarter turns clockwise, and
    mirrored left to right before that or not. It is not asked where `upright` fits well.
    """
    if upright.score >= OTHER_WAYS_BELOW[template.anchors]:
        return upright, False
    best, mirrored = upright, False
    best_score = upright.score + UPRIGHT_ADVANTAGE
    for mirror in (False, True):
        for turns in (0, 2, 1, 3):
            if turns == 0 and not mirror:
                continue
            other = match_turned(turns, mirror)
            if other.score > best_score:
                best, mirrored = replace(other, turn=turns), mirror
                best_score = other.score
    return best, mirrored


def _register_border(page: Page, template: Template) -> Placement:
    """Lay the template on the border printed around the page."""
    border = find_border(page.grey, template.width / template.height)
    if border is None:
        return Placement(np.eye(3), 0.0)
    # Squared: a sheet is cut to no exact shape, its print is of one.
    score = min(border.score, _aspect_similarity(border.size(), template) ** 2)
    return Placement(border.matrix(), score, framed=False)


def _register_page(page: Page, template: Template) -> Placement:
    """Lay the template on the sheet of a photograph, or over the whole scan, turned as its lines.

    A sheet of another shape than the template is something else, such as a tinted part of a form.
    """
    sheet = find_sheet(page.grey)
    if sheet is not None:
        score = _aspect_similarity(sheet.size(), template)
        if score >= MIN_SCORE:
            return Placement(sheet.matrix(), min(score, sheet.score))
    skew = find_page_rules(page.grey).skew
    height, width = page.grey.shape
    sine, cosine = np.sin(np.radians(abs(skew))), np.cos(np.radians(skew))
    # A scan that was turned either kept its size, or grew to hold the corners.
    grown = np.linalg.solve([[cosine, sine], [sine, cosine]], [width, height])
    sizes = [(float(width), float(height)), (float(grown[0]), float(grown[1]))]
    w, h = max(sizes, key=lambda size: _aspect_similarity(size, template))
    turn = rotation(skew, (width / 2, height / 2))
    matrix = turn @ translation((width - w) / 2, (height - h) / 2) @ scaling(w, h)
    return Placement(matrix, _aspect_similarity((w, h), template))


def _aspect_similarity(size: tuple[float, float], template: Template) -> float:
    """Compare (width, height) with the template's page: 1 for the same aspect ratio.

    0.6 for a ratio that is 1.29 times as large or as small.
    """
    ratio = max(size[0] / max(size[1], 1e-6), 1e-6) * template.height / template.width
    return float(np.exp(-2 * abs(np.log(ratio))))
