"""`counterfoil template check`: check templates and draw where its fields fall on a scan."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from cli.arguments import load_templates
from cli.one_page import load_page
from core.errors import ConfigError, InputError, TemplateError
from pipeline.geometry import corners, transform_points
from pipeline.placing.choose import choose_template, resembling
from pipeline.placing.register import is_checked, turn_page
from pipeline.placing.template import Template
from pipeline.placing.template_set import TemplateSet
from pipeline.types import Box

UNCHECKED = (
    "With 'anchors: page', nothing printed confirms where the fields lie, so no field is released"
    " without a person. List printed boxes under 'frames' to change that."
)


def check_templates(arguments: list[str], image: Path | None, out: Path) -> str:
    """Return a summary of correct templates. With `image`, also write a picture to `out`.

    It names the templates of which pages may be taken for one another. Raises TemplateError, with
    the line and the field, for a mistake in a template; TemplateError if the scan fits none;
    InputError if a file cannot be read or written.
    """
    templates = load_templates(arguments)
    if templates is None:
        raise ConfigError("Name a template.")
    lines = [line for template in templates.templates for line in _summary(template)]
    for one, other in resembling(templates.templates):
        lines.append(
            f"Warning: '{other.name}' also fits an empty page of '{one.name}'. A page that may be"
            " of either is set apart; print another frame on one of them."
        )
    if image is not None:
        name, score = draw_fields(templates, image, out)
        named = f"{name} fits" if len(templates.templates) > 1 else "It fits"
        lines.append(f"{named} {image} with a score of {score:.2f}. The fields are drawn in {out}.")
    return "\n".join(lines)


def _summary(template: Template) -> list[str]:
    if template.ignored:
        return [f"{template.name}: {template.title}, pages that are passed over, no mistakes."]
    width = max(len(f.name) for f in template.fields)
    return [
        f"{template.name}: {template.title}, {len(template.fields)} fields, no mistakes.",
        *(
            f"  {f.name:<{width}}  {f.grammar.name}{'' if f.required else '  (may be empty)'}"
            for f in template.fields
        ),
        *(f"  check: {check.name} ({', '.join(check.fields)})" for check in template.checks),
        *([] if is_checked(template) else [UNCHECKED]),
    ]


def draw_fields(templates: TemplateSet, image: Path, out: Path) -> tuple[str, float]:
    """Draw the fields of the template that fits `image` into `out`; return its name and score.

    Raises TemplateError if none fits, InputError if a file cannot be read or written.
    """
    page = load_page(image)
    template, placement = choose_template(page, templates.templates)
    if placement is None:
        raise TemplateError(f"{image} is a page that '{template.name}' says to pass over.")
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
    return template.name, placement.score
