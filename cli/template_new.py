"""`counterfoil template new`: start a template from the boxes that are printed on a page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cli.one_page import load_page
from cli.template_check import UNCHECKED
from core.errors import InputError, TemplateError
from pipeline.geometry import corners, intersection, transform_box, transform_points
from pipeline.placing.propose import Kind, Proposal, Proposals, propose_fields
from pipeline.placing.register import is_checked, register
from pipeline.placing.template import NAME, NAME_RULE, Template, parse_template
from pipeline.types import Box, Page

_COLOURS = {Kind.BOX: (200, 40, 40), Kind.COMB: (0, 122, 78), Kind.BLANK: (0, 80, 200)}
_WIDE_AS_HIGH = 0.6  # width of a handwritten digit, as a share of the height of its box
_MOST_DIGITS = 20


def new_template(
    image: Path,
    out: Path | None,
    picture: Path | None,
    name: str | None,
    *,
    as_json: bool,
    number: int = 1,
) -> str:
    """Write the template that page `number` of `image` suggests, and a numbered picture.

    Returns a summary.

    Raises InputError if the image cannot be read or shows no fields, or if a file exists already
    or cannot be written; TemplateError if `name` cannot be the name of a template.
    """
    chosen = _name_of(image) if name is None else name
    if not NAME.fullmatch(chosen):
        raise TemplateError(
            f"A template cannot be named '{chosen}'.",
            hint=NAME_RULE,
        )
    out = out or Path(f"{chosen}.yaml")
    picture = picture or out.with_suffix(".png")
    for path in (out, picture):
        if path.exists():
            raise InputError(
                f"There is already a file {path}.", hint="Choose another with --out or --picture."
            )
    page = load_page(image, number)
    proposals = propose_fields(page)
    if not proposals.found:
        raise InputError(
            f"No boxes, combs or underlined blanks were found on {image}.",
            hint="Scan an empty page at 200 dpi or more, or measure the boxes by hand"
            " (docs/templates.md).",
        )
    text, template, score = _fitting(page, proposals, chosen)
    drawn = _picture(page, proposals)
    try:
        out.write_text(text, encoding="utf-8")
        drawn.save(picture, "PNG")
    except OSError as exc:
        raise InputError(f"{exc.filename or out} cannot be written ({exc.strerror}).") from exc
    if as_json:
        return json.dumps(_report(proposals, template, score, out, picture), ensure_ascii=False)
    counts = ", ".join(
        f"{count} {kind if count == 1 else kind + ('es' if kind is Kind.BOX else 's')}"
        for kind in Kind
        if (count := sum(found.kind is kind for found in proposals.found))
    )
    return (
        f"{out} has {len(proposals.found)} fields ({counts}); {picture} shows them, numbered.\n"
        f"The template fits this page with a score of {score:.2f} (anchors: {template.anchors}).\n"
        + ("" if is_checked(template) else f"{UNCHECKED}\n")
        + "Next, look at the picture. In the template, delete the fields that you do not need, name"
        " the others and state what each may hold. Then:\n"
        f"  counterfoil template check {out} --image {image}\n"
        f"  counterfoil read --template {out} {image}"
    )


def _name_of(image: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", image.stem).strip("-_.")[:64]
    return name or "new-template"


def _fitting(page: Page, proposals: Proposals, name: str) -> tuple[str, Template, float]:
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
        "# Written by `counterfoil template new`: each number in the picture is a field here.",
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


def _picture(page: Page, proposals: Proposals) -> Image.Image:
    """Return the page with every proposal drawn on it and numbered."""
    picture = Image.fromarray(page.grey).convert("RGB")
    draw = ImageDraw.Draw(picture, "RGBA")
    size = max(12, round(max(picture.size) / 70))
    font, thick, pad = ImageFont.load_default(size), max(2, size // 8), size // 5
    boxes = [transform_box(proposals.to_page, found.box) for found in proposals.found]
    for number, found in enumerate(proposals.found, 1):
        quad = [tuple(p) for p in transform_points(proposals.to_page, corners(found.box)).tolist()]
        colour = _COLOURS[found.kind]
        draw.polygon(quad, fill=(*colour, 28))
        draw.line([*quad, quad[0]], fill=colour, width=thick, joint="curve")
        text = f"{number}" if found.cells == 1 else f"{number}: {found.cells} cells"
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        wide, high = right - left + 2 * pad, bottom - top + 2 * pad
        x, y = quad[0]
        left_of_it = Box(x - wide, y, wide, high)
        # Beside the box if that is free, else above it, where it may cover a caption.
        if x >= wide and not any(intersection(left_of_it, box) for box in boxes):
            x -= wide
        elif y >= high:
            y -= high
        x = min(max(0.0, x), picture.width - wide)
        draw.rectangle((x, y, x + wide, y + high), fill=(*colour, 200))
        draw.text((x + pad - left, y + pad - top), text, font=font, fill="white")
    return picture


def _report(
    proposals: Proposals, template: Template, score: float, out: Path, picture: Path
) -> dict[str, object]:
    return {
        "template": str(out),
        "picture": str(picture),
        "name": template.name,
        "anchors": str(template.anchors),
        "score": round(score, 4),
        "fields": [
            {
                "name": field.name,
                "kind": str(found.kind),
                "cells": found.cells,
                "grammar": field.grammar.name,
                "box": [
                    round(side, 5) for side in (found.box.x, found.box.y, found.box.w, found.box.h)
                ],
            }
            for field, found in zip(template.fields, proposals.found, strict=True)
        ],
    }
