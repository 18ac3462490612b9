"""Templates: the bundled ones, and the one that a request names or brings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from flask import Blueprint, Response

from api import serializers
from api.openapi import operation
from api.schemas import TemplateField, TemplateList, TemplateObject, TemplateOptions
from core.errors import TemplateError
from pipeline.placing.template import bundled_names, bundled_text, parse_template

blueprint = Blueprint("templates", __name__)


@dataclass(frozen=True, slots=True)
class RequestedTemplate:
    name: str
    text: str  # YAML


@blueprint.get("/templates")
@operation("batches", {200: TemplateList})
def list_templates() -> Response:
    """List the bundled templates with their fields and their text."""
    return serializers.answer(_bundled())


def requested_template(choice: TemplateOptions) -> RequestedTemplate | None:
    """Return the template that a request names or brings; None: it does neither.

    Raises TemplateError.
    """
    name, text = choice.template, choice.template_text
    if name and text:
        raise TemplateError(
            "A template comes either by name or as a file.", hint="Leave one of them out."
        )
    if text:
        return RequestedTemplate(parse_template(text).name, text)
    if not name:
        return None
    names = bundled_names()
    if name not in names:
        raise TemplateError(
            f"There is no template '{name}'.",
            hint=f"There are: {', '.join(names)}. Or send your own as 'template_file'.",
            code="unknown-template",
        )
    return RequestedTemplate(name, bundled_text(name))


@cache
def _bundled() -> TemplateList:
    items = []
    for name in bundled_names():
        text = bundled_text(name)
        fields = [
            TemplateField(name=field.name, grammar=field.grammar.name, required=field.required)
            for field in parse_template(text).fields
        ]
        items.append(TemplateObject(name=name, fields=fields, text=text))
    return TemplateList(items=items)
