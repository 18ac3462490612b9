"""The templates that documents may name."""

from __future__ import annotations

from flask import Blueprint, Response

from api import serializers
from api.openapi import operation
from api.schemas import TemplateField, TemplateList, TemplateObject
from pipeline.placing.template import bundled_names, bundled_template, bundled_text

blueprint = Blueprint("templates", __name__)


@blueprint.get("/templates")
@operation("batches", {200: TemplateList})
def list_templates() -> Response:
    """List the bundled templates with their fields and their text."""
    items = []
    for name in bundled_names():
        fields = [
            TemplateField(name=field.name, grammar=field.grammar.name, required=field.required)
            for field in bundled_template(name).fields
        ]
        items.append(TemplateObject(name=name, fields=fields, text=bundled_text(name)))
    return serializers.answer(TemplateList(items=items))
