"""`counterfoil template new`: start a template from the boxes that are printed on a page."""

from __future__ import annotations

import json
import re
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from cli.one_page import load_page
from cli.template_check import UNCHECKED
from core.errors import InputError, TemplateError
from pipeline.geometry import corners, intersection, transform_box, transform_points
from pipeline.placing.draft import draft_template
from pipeline.placing.propose import Kind, Proposals, propose_fields
from pipeline.placing.register import is_checked
from pipeline.placing.template import NAME, NAME_RULE, Template
from pipeline.types import Box, Page

_COLOURS = {Kind.BOX: (200, 40, 40), Kind.COMB: (0, 122, 78), Kind.BLANK: (0, 80, 200)}


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
    text, template, score = draft_template(page, proposals, chosen)
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
