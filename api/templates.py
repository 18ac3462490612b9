"""Templates: the bundled ones, and those that a request names or contains."""

from __future__ import annotations

from flask import Blueprint, Response

from api import serializers
from api.openapi import operation
from api.schemas import TemplateField, TemplateList, TemplateObject, TemplateOptions
from core.errors import TemplateError
from pipeline.placing.template import Template, bundled_names, bundled_template
from pipeline.placing.template_set import TemplateSet, combine, parse_templates

blueprint = Blueprint("templates", __name__)


@blueprint.get("/templates")
@operation("batches", {200: TemplateList})
def list_templates() -> Response:
    """List the bundled templates with their fields and their text."""
    templates = [bundled_template(name) for name in bundled_names()]
    return serializers.json_response(
        TemplateList(items=[_template_object(one) for one in templates])
    )


def requested_templates(options: TemplateOptions) -> TemplateSet | None:
    """Return the templates that a request names and contains, or None. Raises TemplateError."""
    sets: list[TemplateSet] = []
    try:
        for name in _several(options.template):
            one = bundled_template(name)
            sets.append(TemplateSet((one,), one.text))
        sets += [parse_templates(text) for text in _several(options.template_text)]
        return combine(sets) if sets else None
    except TemplateError as exc:
        # The parser's messages are written to follow the name of a file and a colon.
        message = exc.message[:1].upper() + exc.message[1:]
        named = exc.code == "unknown-template"
        hint = f"{exc.hint} Or send your own as 'template_file'." if named else exc.hint
        raise TemplateError(message, hint=hint, code=exc.code) from exc


def _several(value: str | list[str] | None) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if one]


def _template_object(template: Template) -> TemplateObject:
    return TemplateObject(
        name=template.name,
        fields=[
            TemplateField(name=field.name, grammar=field.grammar.name, required=field.required)
            for field in template.fields
        ],
        text=template.text,
    )
