"""Templates: the bundled ones, and the one that a request names or contains."""

from __future__ import annotations

from flask import Blueprint, Response

from api import serializers
from api.openapi import operation
from api.schemas import TemplateField, TemplateList, TemplateObject, TemplateOptions
from core.errors import TemplateError
from pipeline.placing.template import Template, bundled_names, bundled_template, parse_template

blueprint = Blueprint("templates", __name__)


@blueprint.get("/templates")
@operation("batches", {200: TemplateList})
def list_templates() -> Response:
    """List the bundled templates with their fields and their text."""
    templates = [bundled_template(name) for name in bundled_names()]
    return serializers.json_response(
        TemplateList(items=[_template_object(one) for one in templates])
    )


def requested_template(options: TemplateOptions) -> Template | None:
    """Return the template that a request names or contains, or None. Raises TemplateError."""
    name, text = options.template, options.template_text
    if name and text:
        raise TemplateError(
            "A request gives a template either by name or as a file.",
            hint="Leave one of them out.",
        )
    try:
        if text:
            return parse_template(text)
        return bundled_template(name) if name else None
    except TemplateError as exc:
        # The parser's messages are written to follow the name of a file and a colon.
        message = exc.message[:1].upper() + exc.message[1:]
        hint = f"{exc.hint} Or send your own as 'template_file'." if name else exc.hint
        raise TemplateError(message, hint=hint, code=exc.code) from exc


def _template_object(template: Template) -> TemplateObject:
    return TemplateObject(
        name=template.name,
        fields=[
            TemplateField(name=field.name, grammar=field.grammar.name, required=field.required)
            for field in template.fields
        ],
        text=template.text,
    )
