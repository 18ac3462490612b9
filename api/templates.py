"""Templates: the bundled and the stored ones, and those that a request names or contains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from errno import ENOENT

from flask import Blueprint, Response

from api import serializers
from api.answers import TemplateField, TemplateList, TemplateObject
from api.context import caller, services
from api.openapi import operation
from api.requests import TemplateOptions
from core.errors import CounterfoilError, TemplateError
from db import saved_templates
from pipeline.placing.template import Template, bundled_names
from pipeline.placing.template_set import TemplateSet, combine, named_templates, parse_templates
from storage.site_templates import SiteTemplates

blueprint = Blueprint("templates", __name__)

EVERY = "*"  # in place of names: all templates of which pages can be told apart


@blueprint.get("/templates")
@operation("batches", {200: TemplateList})
def list_templates() -> Response:
    """List the bundled and the stored templates with their fields and their text.

    Stored ones are files on the server, and those that people of this tenant saved in the browser.
    """
    return serializers.json_response(TemplateList(items=known_templates()))


@dataclass(frozen=True, slots=True)
class StoredHere:
    """What names mean to the caller: files of the site, and what was saved in the browser."""

    files: SiteTemplates
    saved: Mapping[str, str]  # the text of each name

    def names(self) -> list[str]:
        return sorted({*self.files.names(), *self.saved})

    def texts(self, name: str) -> Mapping[str, bytes]:
        """Return the files under a name. Raises TemplateError if it means two things."""
        if name not in self.saved:
            return self.files.texts(name)
        if name in self.files.names():
            raise TemplateError(
                f"'{name}' was saved in the browser, and there is a file of that name on the"
                " server.",
                hint="Rename one: no page may be read with another template than is meant.",
                code="ambiguous-template",
            )
        return {f"{name}.yaml": self.saved[name].encode("utf-8", "replace")}

    def read_list(self, name: str, file: str) -> bytes:
        """Return a file beside the files under a name; what was saved has its lists in its text."""
        if name in self.saved:
            raise FileNotFoundError(ENOENT, "No such file", file)
        return self.files.read_list(name, file)


def stored_templates() -> StoredHere:
    """Return the templates of the site and of the caller's tenant."""
    with services().db.reading() as session:
        saved = saved_templates.current_texts(session, caller().tenant_id)
    return StoredHere(SiteTemplates(services().settings.home), saved)


def known_templates() -> list[TemplateObject]:
    """Return the bundled and the stored templates, those of a set one after the other."""
    stored = stored_templates()
    items = [item for name in bundled_names() for item in _listed(name, stored, is_stored=False)]
    return items + [
        item for name in stored.names() for item in _listed(name, stored, is_stored=True)
    ]


def requested_templates(options: TemplateOptions) -> TemplateSet | None:
    """Return the templates that a request names and contains, or None. Raises TemplateError."""
    names, texts = asked_templates(options)
    stored = stored_templates()
    try:
        sets = [named_templates(name, stored) for name in names if name != EVERY]
        sets += [parse_templates(text) for text in texts]
        if EVERY in names and not sets:
            return _every(stored)
        return combine(sets) if sets else None
    except TemplateError as exc:
        # The parser's messages are written to follow the name of a file and a colon.
        message = exc.message[:1].upper() + exc.message[1:]
        named = exc.code == "unknown-template"
        hint = f"{exc.hint} Or send your own as 'template_file'." if named else exc.hint
        raise TemplateError(message, hint=hint, code=exc.code) from exc


def _every(stored: StoredHere) -> TemplateSet | None:
    """Return all templates of which pages can be told apart, the site's own first."""
    found: list[TemplateSet] = []
    own = [name for name in stored.names() if name not in bundled_names()]
    for name in [*own, *bundled_names()]:
        try:
            more = named_templates(name, stored)
            if not all(template.has_marks or template.ignored for template in more.templates):
                continue
            combine([*found, more])
        except CounterfoilError:
            continue  # it cannot be used, or not beside the others
        found.append(more)
    return combine(found) if found else None


def asked_templates(options: TemplateOptions) -> tuple[list[str], list[str]]:
    """Return the names and the texts of templates in a request."""
    return _several(options.template), _several(options.template_text)


def _several(value: str | list[str] | None) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if one]


def _listed(name: str, stored: StoredHere, *, is_stored: bool) -> list[TemplateObject]:
    """Return the templates that a name stands for; of what cannot be used, the reason."""
    try:
        found = named_templates(name, stored)
    except CounterfoilError as exc:
        if not is_stored:
            return []  # a stored one has its name, and says so
        wrong = TemplateObject(
            name=name, set=name, stored=True, fields=[], text="", error=exc.message
        )
        return [wrong]
    return [_template_object(one, name, is_stored=is_stored) for one in found.templates]


def _template_object(template: Template, named: str, *, is_stored: bool) -> TemplateObject:
    return TemplateObject(
        name=template.name,
        set=named,
        stored=is_stored,
        fields=[
            TemplateField(name=field.name, grammar=field.grammar.name, required=field.required)
            for field in template.fields
        ],
        text=template.text,
        error=None,
    )
