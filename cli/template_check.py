"""`counterfoil template check`: check a template and draw where its fields fall on a scan."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from cli.arguments import load_template
from core.errors import InputError
from pipeline.files.page import decode_page
from pipeline.geometry import corners, transform_points
from pipeline.placing.register import register, turn_page
from pipeline.placing.template import Template
from pipeline.types import Box


def check_template(argument: str, image: Path | None, out: Path) -> str:
    """Return a summary of a correct template. With `image`, also write a picture to `out`.

    Raises TemplateError, with the line and the field, for a mistake in the template; TemplateError
    if the scan does not fit it; InputError if a file cannot be read or written.
    """
    template = load_template(argument)
    lines = [f"{template.name}: {template.title}, {len(template.fields)} fields, no mistakes."]
    width = max(len(f.name) for f in template.fields)
    lines += [
        f"  {f.name:<{width}}  {f.grammar.name}{'' if f.required else '  (may be empty)'}"
        for f in template.fields
    ]
    if image is not None:
        score = draw_fields(template, image, out)
        lines.append(f"It fits {image} with a score of {score:.2f}. The fields are drawn in {out}.")
    return "\n".join(lines)


def draw_fields(template: Template, image: Path, out: Path) -> float:
    """Draw the fields on `image`, write it to `out`, and return the placement's score.

    Raises TemplateError if the scan does not fit, InputError if a file cannot be read or written.
    """
    try:
        page = decode_page(image.read_bytes())
    except OSError as exc:
        raise InputError(f"{image} cannot be read ({exc.strerror}).") from exc
    placement = register(page, template)
    picture = cv2.cvtColor(turn_page(page, placement.turn).grey, cv2.COLOR_GRAY2BGR)
    size = max(1, round(max(page.grey.shape) / 1200))
    names: dict[Box, list[str]] = {}  # the parts of an E-13B line share one box
    for field in template.fields:
        names.setdefault(placement.box(field), []).append(field.name)
    for box, name in names.items():
        quad = np.rint(transform_points(placement.matrix, corners(box)) - 0.5)
        cv2.polylines(picture, [quad.astype(np.int32)], True, (40, 40, 220), size)
        at = (int(quad[0, 0]), int(quad[0, 1]) - 3 * size)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(picture, ", ".join(name), at, font, 0.45 * size, (200, 80, 0), size)
    try:
        out.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    except OSError as exc:
        raise InputError(f"{out} cannot be written ({exc.strerror}).") from exc
    return placement.score
