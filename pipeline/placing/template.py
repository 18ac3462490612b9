"""Templates: where the fields are on a kind of page, and what each may hold.

A template is a small YAML file, described in `docs/templates.md` and by
`pipeline/templates/template.schema.json`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

import yaml

from core.checks import Check
from core.errors import TemplateError
from core.keying import VerifyMode
from pipeline.geometry import from_fractions
from pipeline.grammar.base import Grammar
from pipeline.grammar.parse import parse_grammar
from pipeline.placing.checks import parse_checks
from pipeline.placing.yaml_nodes import (
    compose,
    error_at,
    items,
    mapping,
    numbers_of,
    shown,
    suggestion,
    text_of,
    truth_of,
    value_of,
)
from pipeline.readers.micr_parts import MICR_PARTS
from pipeline.types import Box

MAX_FIELDS: Final = 500
MAX_CELLS: Final = 64
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)  # of templates and fields
NAME_RULE: Final = (
    "Use at most 64 letters, digits, '-', '_' and '.', and begin with a letter or digit."
)

_ROUNDING: Final = 1e-6  # by which fractions that add up to 1 may exceed it
_KEYS: Final = (
    "name",
    "title",
    "page",
    "anchors",
    "frames",
    "micr",
    "fields",
    "checks",
    "ignore",
    "numbers",
)


class Anchors(StrEnum):
    """What on a page the template is aligned with."""

    PAGE = "page"  # the page itself: boxes are fractions of the whole image
    FRAMES = "frames"  # printed rectangles, which may lie anywhere on the scan as one group
    BORDER = "border"  # the border printed around the page: boxes are fractions of it
    LOOSE = "loose"  # printed rectangles, each of which may lie a little off its stated place


@dataclass(frozen=True, slots=True)
class Mark:
    """A printed rectangle; with `cells`, a comb of that many cells, one character each."""

    name: str
    box: Box  # in fractions of the template's page
    cells: int | None = None


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One field. `box` is in fractions of the template's page, whose top left corner is (0, 0).

    `within` names the frame that the template states the box in. `micr` is one of MICR_PARTS:
    such a field is read from the E-13B line, and `box` is that of the line. `verify` is how people
    verify it.
    """

    name: str
    box: Box
    grammar: Grammar
    required: bool = True
    within: str | None = None
    micr: str | None = None
    verify: VerifyMode = VerifyMode.CONFIRM


@dataclass(frozen=True, slots=True)
class Template:
    """The fields of one kind of page.

    `width` and `height` are those of the page that the boxes were measured on, in any unit: only
    their ratio matters. `frames` are the printed rectangles to look for, in fractions of the
    page; they are given exactly when `anchors` is FRAMES, and `marks` when it is LOOSE. `micr` is
    where the E-13B line lies, if fields are read from it. `text` is the YAML that the template
    was parsed from, without a byte order mark. A page of a template of several pages is named
    `template/page`.

    Pages that an `ignored` template fits are passed over; it has no fields. `numbers` are the
    first and the last page of a document that may be of this kind, None for its last page.
    """

    name: str
    title: str
    width: float
    height: float
    anchors: Anchors
    frames: tuple[Box, ...]
    fields: tuple[FieldSpec, ...]
    marks: tuple[Mark, ...] = ()
    micr: Box | None = None
    text: str = ""
    ignored: bool = False
    numbers: tuple[int, int | None] | None = None
    checks: tuple[Check, ...] = ()  # across its fields

    @property
    def has_marks(self) -> bool:
        """Say whether print tells its pages from others, not only their shape."""
        return self.anchors is not Anchors.PAGE

    def may_be_page(self, number: int | None) -> bool:
        """Say whether page `number` of a document may be of this kind; None is not known."""
        if self.numbers is None or number is None:
            return True
        first, last = self.numbers
        return first <= number and (last is None or number <= last)


def parse_template(source: str | bytes) -> Template:
    """Return the template that a YAML file states; a byte order mark at its start is ignored.

    For files of several templates or pages there is `template_set.parse_templates`. Raises
    TemplateError, a sentence with the line and the field: code "bad-template", or "bad-grammar"
    where the grammar of a field is wrong.
    """
    text = decode_text(source)
    return template_of_node(compose(text), text)


def decode_text(source: str | bytes) -> str:
    """Return the text of a template file without a byte order mark. Raises TemplateError."""
    if isinstance(source, bytes):
        try:
            source = source.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise TemplateError("the template is not a text file in UTF-8.") from exc
    return source.removeprefix("\ufeff")


def bundled_names() -> list[str]:
    """Return the names of the templates that come with Counterfoil, in alphabetical order."""
    files = (file.name for file in _folder().iterdir())
    return sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml"))


@cache
def bundled_template(name: str) -> Template:
    """Return a template that comes with Counterfoil.

    Raises TemplateError (code "unknown-template"), which lists the names, for any other name.
    """
    names = bundled_names()
    if name not in names:
        raise unknown_template(name, names)
    return parse_template((_folder() / f"{name}.yaml").read_bytes())


def unknown_template(name: str, known: Sequence[str]) -> TemplateError:
    """Return the error for a name that is none of the `known` ones."""
    return TemplateError(
        f"there is no template '{name}'.",
        hint=f"There are: {', '.join(known)}.",
        code="unknown-template",
    )


def _folder() -> Traversable:
    return resources.files("pipeline") / "templates"


def template_of_node(
    node: yaml.Node, text: str, *, page: yaml.Node | None = None, of: str = ""
) -> Template:
    """Return the template that a mapping of the YAML `text` states. Raises TemplateError.

    `page` is the size of its page where it states none; `of` comes before its name.
    """
    top = mapping(node, "the template", _KEYS)
    name = of + name_of(value_of(top, "name", "the template", node), "the template's name")
    title = text_of(top["title"], "the title") if "title" in top else name
    ignored = "ignore" in top and truth_of(top["ignore"], "ignore")
    numbers = _numbers(top["numbers"]) if "numbers" in top else None
    width, height = _page_size(top, page, node, needed=not ignored or "frames" in top)

    named = _frames(top["frames"]) if "frames" in top else {}
    anchors = _anchors(top, named)
    micr = _box(top["micr"], "micr", "page") if "micr" in top else None
    for key in ("fields", "checks"):
        if ignored and key in top:
            raise error_at(top[key], f"a page that is passed over ('ignore: true') has no {key}.")
    fields = () if ignored else _fields(value_of(top, "fields", "the template", node), named, micr)
    grammars = {field.name: field.grammar for field in fields}
    checks = parse_checks(top["checks"], grammars) if "checks" in top else ()
    frames: tuple[Box, ...] = ()
    if anchors is Anchors.FRAMES:
        # Without frames of their own, the field boxes are what is printed.
        printed = [frame.box for frame in named.values()]
        frames = tuple(printed or [field.box for field in fields if not field.micr])
    marks = tuple(named.values()) if anchors is Anchors.LOOSE else ()
    if anchors in (Anchors.FRAMES, Anchors.LOOSE) and not frames and not marks:
        raise error_at(top["anchors"], f"'anchors: {anchors}' needs 'frames' to look for.")
    return Template(
        name,
        title,
        width,
        height,
        anchors,
        frames,
        fields,
        marks,
        micr,
        text,
        ignored,
        numbers,
        checks,
    )


def _page_size(
    top: dict[str, yaml.Node], default: yaml.Node | None, node: yaml.Node, *, needed: bool
) -> tuple[float, float]:
    if "page" not in top and default is None and not needed:
        return (210, 297)
    page = (
        value_of(top, "page", "the template", node) if default is None else top.get("page", default)
    )
    width, height = numbers_of(page, "page", ("width", "height"))
    if min(width, height) <= 0 or not 1 / 20 <= width / height <= 20:
        raise error_at(
            page,
            "page: width and height must be above 0, and neither more than 20 times the other.",
        )
    return width, height


def _numbers(node: yaml.Node) -> tuple[int, int | None]:
    text = text_of(node, "numbers")
    found = re.fullmatch("([1-9][0-9]{0,5})(-([1-9][0-9]{0,5})?)?", text, re.ASCII)
    if found is None:
        raise error_at(node, f"numbers: '{shown(node)}' is not like 1, 2-6 or 2-.")
    first = int(found[1])
    last = first if found[2] is None else int(found[3]) if found[3] else None
    if last is not None and last < first:
        raise error_at(node, f"numbers: {last} comes before {first}.")
    return first, last


def _anchors(top: Mapping[str, yaml.Node], named: Mapping[str, Mark]) -> Anchors:
    if "anchors" not in top:
        return Anchors.FRAMES if named else Anchors.PAGE
    node = top["anchors"]
    text = text_of(node, "anchors")
    if text not in tuple(Anchors):
        raise error_at(
            node, f"anchors: '{shown(node)}' is unknown.", hint=suggestion(text, Anchors)
        )
    return Anchors(text)


def _frames(node: yaml.Node) -> dict[str, Mark]:
    frames: dict[str, Mark] = {}
    for item in items(node, "frames", MAX_FIELDS):
        found = mapping(item, "a frame", ("name", "box", "cells"))
        name = name_of(value_of(found, "name", "a frame", item), "a frame's name")
        where = f"frame '{name}'"
        if name in frames:
            raise error_at(found["name"], f"two frames are named '{name}'.")
        box = _box(value_of(found, "box", where, item), where, "page")
        cells = _cells(found["cells"], where) if "cells" in found else None
        frames[name] = Mark(name, box, cells)
    return frames


def _cells(node: yaml.Node, where: str) -> int:
    text = text_of(node, f"{where}: cells")
    if not re.fullmatch("[0-9]{1,2}", text, re.ASCII) or not 2 <= int(text) <= MAX_CELLS:
        raise error_at(node, f"{where}: cells must be a whole number from 2 to {MAX_CELLS}.")
    return int(text)


def _fields(node: yaml.Node, frames: Mapping[str, Mark], micr: Box | None) -> tuple[FieldSpec, ...]:
    fields: dict[str, FieldSpec] = {}
    for item in items(node, "fields", MAX_FIELDS):
        keys = ("name", "box", "within", "micr", "grammar", "required", "verify")
        found = mapping(item, "a field", keys)
        name = name_of(value_of(found, "name", "a field", item), "a field's name")
        where = f"field '{name}'"
        if name in fields:
            raise error_at(found["name"], f"two fields are named '{name}'.")
        frame = part = None
        if "micr" in found:
            part, box = _micr_part(found, where, micr)
        elif "within" in found:
            frame, box = _box_in_frame(found, where, frames)
        else:
            box = _box(value_of(found, "box", where, item), where, "page")
        grammar = _grammar(value_of(found, "grammar", where, item), where)
        required = "required" not in found or truth_of(found["required"], f"{where}: required")
        verify = _verify(found["verify"], where) if "verify" in found else VerifyMode.CONFIRM
        fields[name] = FieldSpec(name, box, grammar, required, frame, part, verify)
    return tuple(fields.values())


def _micr_part(found: Mapping[str, yaml.Node], where: str, line: Box | None) -> tuple[str, Box]:
    """Return which part of the E-13B line a field is, and where the line is."""
    node = found["micr"]
    part = text_of(node, f"{where}: micr")
    if part not in MICR_PARTS:
        raise error_at(
            node,
            f"{where}: the E-13B line has no part '{shown(node)}'.",
            hint=suggestion(part, MICR_PARTS),
        )
    for key in ("box", "within"):
        if key in found:
            raise error_at(
                found[key], f"{where} is read from the E-13B line, so it cannot have a '{key}'."
            )
    if line is None:
        raise error_at(
            node,
            f"{where}: the template does not say where the E-13B line is.",
            hint="Add 'micr: [x, y, width, height]' beside 'page'.",
        )
    return part, line


def _box_in_frame(
    found: Mapping[str, yaml.Node], where: str, frames: Mapping[str, Mark]
) -> tuple[str, Box]:
    """Return the frame that a field lies in, and the field's box in fractions of the page."""
    node = found["within"]
    name = name_of(node, f"{where}: within")
    if name not in frames:
        hint = suggestion(name, frames) if frames else "List it under 'frames'."
        raise error_at(node, f"{where}: there is no frame '{name}'.", hint=hint)
    frame = frames[name].box
    if "box" not in found:
        return name, frame
    return name, from_fractions(_box(found["box"], where, "frame"), frame)


def _grammar(node: yaml.Node, where: str) -> Grammar:
    text = text_of(node, f"{where}: grammar")
    try:
        return parse_grammar(text)
    except TemplateError as exc:
        raise error_at(node, f"{where}: {exc.message}", hint=exc.hint, code=exc.code) from None


def _verify(node: yaml.Node, where: str) -> VerifyMode:
    text = text_of(node, f"{where}: verify")
    if text not in tuple(VerifyMode):
        raise error_at(
            node,
            f"{where}: verify cannot be '{shown(node)}'.",
            hint=suggestion(text, VerifyMode),
        )
    return VerifyMode(text)


def name_of(node: yaml.Node, where: str) -> str:
    """Return the name of a template, page, frame or field. Raises TemplateError."""
    text = text_of(node, where)
    if not NAME.fullmatch(text):
        raise error_at(node, f"{where} cannot be '{shown(node)}'.", hint=NAME_RULE)
    return text


def _box(node: yaml.Node, where: str, of: str) -> Box:
    x, y, w, h = numbers_of(node, f"{where}: box", ("x", "y", "width", "height"))
    if w <= 0 or h <= 0:
        raise error_at(node, f"{where}: the width and height of the box must be above 0.")
    if min(x, y) < -_ROUNDING or max(x + w, y + h) > 1 + _ROUNDING:
        raise error_at(
            node,
            f"{where}: the box reaches outside the {of}.",
            hint=f"State it in fractions of the {of}, from 0 to 1.",
        )
    return Box(x, y, w, h)
