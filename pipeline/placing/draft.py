"""The text of a new template, from the places to write that were found on a page."""

from __future__ import annotations

import json
from typing import Final

import numpy as np

from core.errors import TemplateError
from pipeline.geometry import transform_points
from pipeline.placing.propose import Kind, Proposal, Proposals
from pipeline.placing.register import register
from pipeline.placing.template import Template, parse_template
from pipeline.types import Page

_WIDE_AS_HIGH: Final = 0.6  # width of a handwritten digit, as a share of the height of its box
_MOST_DIGITS: Final = 20


def draft_template(page: Page, proposals: Proposals, name: str) -> tuple[str, Template, float]:
    """Return the template's text, the template and its score on its own page.

    It is placed by the printed frames if these are enough, else by the edges of the page.
    """
    frames = sum(found.kind is not Kind.BLANK for found in proposals.found)
    for anchors in ("frames", "page") if frames >= 2 else ("page",):
        text = template_text(proposals, name, anchors)
        template = parse_template(text)
        try:
            placement = register(page, template)
        except TemplateError:
            if anchors == "page":
                raise
            continue
        ends = transform_points(placement.matrix, [[0, 0], [1, 0], [1, 1], [0, 1]])
        wanted = transform_points(proposals.to_page, [[0, 0], [1, 0], [1, 1], [0, 1]])
        # Where rows of boxes are alike, the template may fit one row too high or too low.
        if anchors == "page" or np.abs(ends - wanted).max() <= 0.02 * max(page.grey.shape):
            break
    return text, template, placement.score


def template_text(proposals: Proposals, name: str, anchors: str) -> str:
    """Return the YAML of a template, with comments that say what to do next."""
    lines = [
        "# Started from the boxes printed on a page: each number in its picture is a field here.",
        "# 1. Delete the fields that hold no handwritten number.",
        "# 2. Name the others: the names become the columns of exports.",
        "# 3. State what each may hold: digits, amount, date, checksum, one_of or range (see",
        "#    docs/templates.md). The narrower this is, the better the field is read.",
        "# 4. Add `required: false` to fields that may be empty.",
        f"name: {json.dumps(name, ensure_ascii=False)}",
        f"page: [{round(proposals.width)}, {round(proposals.height)}]"
        "   # size of the image in pixels; only the ratio matters",
    ]
    printed = [found for found in proposals.found if found.kind is not Kind.BLANK]
    if anchors == "page":
        lines.append(
            "anchors: page   # the whole image is the page: too few printed boxes to place it by"
        )
        lines.append("# Nothing printed confirms where the fields lie: a person sees every field.")
    else:
        lines.append(
            "anchors: frames   # the page is placed by its printed boxes, wherever they lie"
        )
        # Listed separately, so that the page is still placed when fields are deleted below.
        lines.append(
            "frames:   # keep all of these, also those of deleted fields: they place the page"
        )
        lines += [
            f"  - {{name: frame-{number}, box: {_numbers(found)}}}"
            for number, found in enumerate(printed, 1)
        ]
    lines.append("fields:")
    for number, found in enumerate(proposals.found, 1):
        grammar, why = _grammar(found, proposals)
        lines += [
            f"  - name: field-{number}   # {why}",
            f"    box: {_numbers(found)}",
            f"    grammar: {grammar}",
        ]
    return "\n".join(lines) + "\n"


def _numbers(found: Proposal) -> str:
    box = found.box
    return "[" + ", ".join(f"{side:.5f}" for side in (box.x, box.y, box.w, box.h)) + "]"


def _grammar(found: Proposal, proposals: Proposals) -> tuple[str, str]:
    """Return a guess of the grammar, and the reason for it."""
    if found.kind is Kind.COMB:
        why = f"a comb of {found.cells} cells"
        if found.cells in (6, 8):
            date = "DDMMYY" if found.cells == 6 else "DDMMYYYY"
            why += f"; for a date, for example: date({date})"
        return f"digits({min(found.cells, 64)})", why
    if found.kind is Kind.BLANK:
        return (
            f"digits(1,{_MOST_DIGITS})",
            "an underlined blank; delete it if words are written here",
        )
    ratio = found.box.w * proposals.width / (found.box.h * proposals.height)
    most = min(max(1, round(ratio / _WIDE_AS_HIGH)), _MOST_DIGITS)
    return f"digits(1,{most})", "a box; for money, for example: amount(USD)"
