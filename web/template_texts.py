"""What the pages of templates share: templates by name, their words, and what a form carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.context import services
from api.problems import ProblemError
from core.errors import ConflictError, CounterfoilError, NotFoundError, TemplateError
from db import saved_templates
from db.saved_templates import SavedTemplate
from pipeline.grammar.parse import parse_grammar
from pipeline.placing.edit import FieldEdit, TemplateEdit, edit_template
from pipeline.placing.register import is_checked
from pipeline.placing.template import NAME, NAME_RULE, Template, bundled_names, bundled_template
from pipeline.placing.template_set import named_templates, parse_templates
from pipeline.types import Box
from storage.site_templates import SUFFIXES, SiteTemplates
from web.signing_in import person

_TAKEN = frozenset({"new", "import", "check", "grammar", "pictures"})  # addresses of this site
MAX_FORM_BYTES = 8 << 20  # of a form that carries a text and what was drawn

# What a field may hold, as people choose it. The grammar is an example to start from.
GRAMMARS = (
    ("digits", "Digits, however many"),
    ("digits(6)", "Digits, always as many"),
    ("digits(1,8)", "Digits, from so many to so many"),
    ("amount", "Money, in any currency"),
    ("amount(USD)", "Money, in one currency"),
    ("date(DDMMYYYY)", "A date, the day first"),
    ("date(MMDDYYYY)", "A date, the month first"),
    ("date(DDMMYYYY,2000-2035)", "A date in some years"),
    ("range(1,500)", "A whole number from … to …"),
    ("one_of(10,20,50)", "One of a list"),
    ("checksum(luhn,16)", "A card number"),
    ("checksum(aba)", "A US routing number"),
    ("checksum(mod97,16)", "Digits with two check digits (mod 97)"),
    ("checksum(mod11,10)", "Digits with a check digit (mod 11)"),
)


class _Field(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    was: str | None = None
    name: str = Field(max_length=200)
    box: tuple[float, float, float, float] | None = None
    grammar: str = Field(max_length=20_000)
    required: bool = True


class Edits(BaseModel):
    """What was drawn on the page: all fields of template number `part` of the text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    part: int = Field(0, ge=0, le=1000)
    title: str | None = Field(None, max_length=1000)
    fields: list[_Field] = Field(max_length=1000)


@dataclass(frozen=True, slots=True)
class Known:
    """A template as its page shows it: bundled, a file on the server, or saved in the browser."""

    name: str
    text: str
    kind: str  # "bundled", "file", "saved"
    versions: tuple[SavedTemplate, ...] = ()

    @property
    def current(self) -> SavedTemplate | None:
        return self.versions[0] if self.versions else None


def find_template(name: str) -> Known:
    """Return the template of a name. Raises NotFoundError, and TemplateError for a bad file."""
    with services().db.reading() as session:
        versions = saved_templates.versions_of(session, person().tenant_id, name)
    if versions:
        return Known(name, versions[0].text, "saved", tuple(versions))
    if name in bundled_names():
        return Known(name, bundled_template(name).text, "bundled")
    files = SiteTemplates(services().settings.home)
    if name not in files.names():
        raise NotFoundError("There is no such template.", code="template-not-found")
    return Known(name, named_templates(name, files).text, "file")


def check_free_name(name: str) -> None:
    """Raise an error if a template cannot be saved under a name that is not in use yet."""
    if not NAME.fullmatch(name) or name.lower().endswith(SUFFIXES):
        raise TemplateError(f"A template cannot be named '{name}'.", hint=NAME_RULE)
    if name in _TAKEN:
        raise ConflictError(f"A template cannot be named '{name}'.", hint="Choose another name.")
    if name.lower() in bundled_names():
        raise ConflictError(f"'{name}' came with Counterfoil.", hint="Choose another name.")
    if name in SiteTemplates(services().settings.home).names():
        raise ConflictError(
            f"'{name}' is a file on the server.", hint="Choose another name for your own."
        )
    with services().db.reading() as session:
        if saved_templates.versions_of(session, person().tenant_id, name):
            raise ConflictError(f"There is already a template '{name}'.")


def asked_text() -> str:
    """Return the text of the form, with what was drawn worked into it. Raises TemplateError."""
    text = request.form.get("text", "").replace("\r\n", "\n")
    drawn = request.form.get("edits", "")
    if not drawn:
        parse_templates(text)
        return text
    try:
        edits = Edits.model_validate_json(drawn)
    except ValidationError as exc:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", "These are no boxes of a template."
        ) from exc
    fields = tuple(
        FieldEdit(
            one.was,
            one.name.strip(),
            None if one.box is None else Box(*(round(side, 5) for side in one.box)),
            one.grammar.strip(),
            one.required,
        )
        for one in edits.fields
    )
    return edit_template(text, edits.part, TemplateEdit(fields, title=edits.title))


def plain(error: CounterfoilError) -> str:
    """Return an error as sentences; those of templates are written to follow the name of a file."""
    message = error.message[:1].upper() + error.message[1:]
    return f"{message} {error.hint}".strip()


def templates_of(text: str) -> tuple[Template, ...]:
    """Return the templates that a text states; none where it is wrong."""
    try:
        return parse_templates(text).templates
    except TemplateError:
        return ()


def described(text: str) -> list[dict[str, Any]]:
    """Return each template of a text as its drawing needs it. Raises TemplateError."""
    return [_described(template) for template in parse_templates(text).templates]


def _described(template: Template) -> dict[str, Any]:
    return {
        "name": template.name,
        "title": template.title,
        "page": [template.width, template.height],
        "checked": is_checked(template),
        "ignored": template.ignored,
        "frames": [_numbers(mark.box) for mark in template.marks]
        or [_numbers(box) for box in template.frames],
        "fields": [
            {
                "was": field.name,
                "name": field.name,
                "box": _numbers(field.box),
                "grammar": field.grammar.name,
                "takes": takes(field.grammar.name),
                "required": field.required,
                "within": field.within,
                "fixed": field.micr is not None,
            }
            for field in template.fields
        ],
    }


def takes(grammar: str) -> str:
    """Return in words, with an example, what a grammar allows. Raises TemplateError."""
    form = parse_grammar(grammar).form
    return "" if form is None else form.takes()


def grammar_choices() -> Sequence[tuple[str, str, str]]:
    """Return the grammars to choose from: the text, its name, and what it takes."""
    return [(grammar, name, takes(grammar)) for grammar, name in GRAMMARS]


def _numbers(box: Box) -> list[float]:
    return [box.x, box.y, box.w, box.h]
