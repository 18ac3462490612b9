"""Templates: where the fields are on a kind of page, and what each may hold.

A template is a small YAML file, described in `docs/templates.md` and by
`pipeline/templates/template.schema.json`. It may come from a stranger, so it is read with
bounds: its size, its depth, no aliases, no tags, no key twice.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from typing import Final

import yaml

from core.errors import NotFoundError, TemplateError
from pipeline.geometry import within
from pipeline.grammar.parse import Grammar, parse_grammar
from pipeline.types import Box

MAX_CHARACTERS: Final = 128 * 1024
MAX_DEPTH: Final = 8
MAX_FIELDS: Final = 500
MAX_CELLS: Final = 64

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_NUMBER: Final = re.compile(
    r"[+-]?([0-9]{1,9}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][+-]?[0-9]{1,2})?", re.ASCII
)
# What may be read from an E-13B line, as `pipeline.readers.micr_fields` names it.
MICR_PARTS: Final = (
    "cheque_number",
    "sort_code",
    "account",
    "transaction_code",
    "routing_number",
    "amount",
)
_TOLERANCE: Final = 1e-6  # rounding of hand-written fractions at the page's edge


class Anchors(StrEnum):
    """What holds the template on the page."""

    PAGE = "page"  # the page itself: boxes are fractions of the whole image
    FRAMES = "frames"  # printed rectangles, wherever they lie on the scan
    BORDER = "border"  # the border printed around the page: boxes are fractions of it
    LOOSE = "loose"  # printed rectangles, each for itself about where it is stated


@dataclass(frozen=True, slots=True)
class Mark:
    """A printed rectangle. `cells`: it is a comb of so many, one character each."""

    name: str
    box: Box  # in fractions of the template's page
    cells: int | None = None


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One field. `box` is in fractions of the template's page: 0, 0 is its top left corner.

    `within` names the frame that it is measured in. A field with `micr`, a name of
    `pipeline.readers.micr_fields`, is read from the E-13B line, and `box` is where that lies.
    """

    name: str
    box: Box
    grammar: Grammar
    required: bool = True
    within: str | None = None
    micr: str | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """The fields of one kind of page.

    `width` and `height` are those of the page that the boxes were measured on, in any unit: only
    their ratio matters. `frames` are the printed rectangles to look for, in fractions of the
    page; there are some exactly when `anchors` is FRAMES, and `marks` when it is LOOSE. `micr` is
    where the E-13B line lies, if fields are read from it.
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


def parse_template(text: str) -> Template:
    """Return the template that a YAML text states.

    Raises TemplateError in plain words, with the field and the line: code "bad-template", or
    "bad-grammar" where a field's grammar is at fault.
    """
    if len(text) > MAX_CHARACTERS:
        raise TemplateError(f"the template is longer than {MAX_CHARACTERS // 1024} KiB.")
    return _template(_compose(text))


def bundled_names() -> list[str]:
    """Return the names of the templates that come with Counterfoil, in order."""
    entries = (resources.files("pipeline") / "templates").iterdir()
    return sorted(e.name.removesuffix(".yaml") for e in entries if e.name.endswith(".yaml"))


def bundled_text(name: str) -> str:
    """Return the YAML of a bundled template. Raises NotFoundError, naming those there are."""
    names = bundled_names()
    if name not in names:
        raise NotFoundError(
            f"there is no template '{name}'.", hint=f"There are: {', '.join(names)}."
        )
    file = resources.files("pipeline") / "templates" / f"{name}.yaml"
    return file.read_text(encoding="utf-8")


def bundled_template(name: str) -> Template:
    """Return a bundled template. Raises NotFoundError, naming those there are."""
    return parse_template(bundled_text(name))


# The YAML is walked as nodes, not as Python objects: nodes know their lines, keep a key that
# stands twice, and nothing is built from a tag.


def _compose(text: str) -> yaml.MappingNode:
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise _error("YAML anchors and aliases (& and *) are not used here.", event)
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    raise _error("it is nested too deeply.", event)
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise TemplateError(f"{line}this is not YAML: {exc.problem or exc.context}.") from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise TemplateError("this is not YAML: it holds characters that are not text.") from exc
    if node is None:
        raise TemplateError("the template is empty.")
    if not isinstance(node, yaml.MappingNode):
        raise _error("a template starts with 'name:', 'page:' and 'fields:'.", node)
    return node


def _error(
    message: str, at: yaml.Node | yaml.Event | None, *, hint: str = "", code: str | None = None
) -> TemplateError:
    line = f"line {at.start_mark.line + 1}: " if at is not None and at.start_mark else ""
    return TemplateError(f"{line}{message}", hint=hint, code=code)


# Taking values out of nodes; `where` names the part of the template for the messages.


def _mapping(node: yaml.Node, where: str, known: Sequence[str]) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        raise _error(f"{where} must be a list of 'key: value' lines.", node)
    found: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.value not in known:
            shown = _shown(key)
            near = difflib.get_close_matches(shown, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}."
            raise _error(f"{where}: '{shown}' is unknown;", key, hint=hint)
        if key.value in found:
            raise _error(f"{where}: '{key.value}' is there twice.", key)
        found[key.value] = value
    return found


def _need(found: dict[str, yaml.Node], key: str, where: str, node: yaml.Node) -> yaml.Node:
    if key not in found:
        raise _error(f"{where} has no '{key}'.", node)
    return found[key]


def _items(node: yaml.Node, where: str) -> list[yaml.Node]:
    if not isinstance(node, yaml.SequenceNode):
        raise _error(f"{where} must be a list.", node)
    return list(node.value)


def _text(node: yaml.Node, where: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or node.tag == "tag:yaml.org,2002:null":
        raise _error(f"{where} must be a text.", node)
    return str(node.value)


def _name(node: yaml.Node, where: str) -> str:
    text = _text(node, where)
    if not _NAME.fullmatch(text):
        raise _error(
            f"{where} '{_shown(node)}' may hold only letters, digits, '-', '_' and '.',"
            " at most 64, a letter or digit first.",
            node,
        )
    return text


def _flag(node: yaml.Node, where: str) -> bool:
    if isinstance(node, yaml.ScalarNode) and node.value.lower() in ("true", "false"):
        return bool(node.value.lower() == "true")
    raise _error(f"{where} must be true or false.", node)


def _numbers(node: yaml.Node, where: str, names: Sequence[str]) -> list[float]:
    form = f"[{', '.join(names)}]"
    if not isinstance(node, yaml.SequenceNode) or len(node.value) != len(names):
        raise _error(f"{where} must be {len(names)} numbers, {form}.", node)
    for part in node.value:
        if not isinstance(part, yaml.ScalarNode) or not _NUMBER.fullmatch(part.value):
            raise _error(f"{where}: '{_shown(part)}' is not a number.", part)
    return [float(part.value) for part in node.value]


def _box(node: yaml.Node, where: str, of: str) -> Box:
    x, y, w, h = _numbers(node, f"{where}: box", ("x", "y", "width", "height"))
    if w <= 0 or h <= 0:
        raise _error(f"{where}: the box has no area.", node)
    if min(x, y) < -_TOLERANCE or max(x + w, y + h) > 1 + _TOLERANCE:
        raise _error(
            f"{where}: the box reaches outside the {of};",
            node,
            hint=f"it is stated in fractions of the {of}, 0 to 1.",
        )
    return Box(x, y, w, h)


def _template(node: yaml.MappingNode) -> Template:
    keys = ("name", "title", "page", "anchors", "frames", "micr", "fields")
    top = _mapping(node, "the template", keys)
    name = _name(_need(top, "name", "the template", node), "the template's name")
    title = _text(top["title"], "the title") if "title" in top else name
    page = _need(top, "page", "the template", node)
    width, height = _numbers(page, "page", ("width", "height"))
    if min(width, height) <= 0 or not 1 / 20 <= width / height <= 20:
        raise _error(
            "page: width and height must be above 0, and neither 20 times the other.", page
        )

    named = _frames(top["frames"]) if "frames" in top else {}
    anchors = _anchors(top, named)
    micr = _box(top["micr"], "micr", "page") if "micr" in top else None
    fields = _fields(_need(top, "fields", "the template", node), named, micr)
    if anchors is Anchors.LOOSE and not named:
        raise _error("with 'anchors: loose', state 'frames' to look for.", top["anchors"])
    frames: tuple[Box, ...] = ()
    if anchors is Anchors.FRAMES:
        # Without frames of their own, the field boxes are what is printed.
        printed = [frame.box for frame in named.values()]
        frames = tuple(printed or [field.box for field in fields if not field.micr])
        if not frames:
            raise _error("with 'anchors: frames', state 'frames' to look for.", top["anchors"])
    marks = tuple(named.values()) if anchors is Anchors.LOOSE else ()
    return Template(name, title, width, height, anchors, frames, fields, marks, micr)


def _anchors(top: dict[str, yaml.Node], named: dict[str, Mark]) -> Anchors:
    if "anchors" not in top:
        return Anchors.FRAMES if named else Anchors.PAGE
    text = _text(top["anchors"], "anchors")
    if text not in tuple(Anchors):
        raise _error(
            f"anchors: '{_shown(top['anchors'])}' is unknown;",
            top["anchors"],
            hint=f"known are {', '.join(Anchors)}.",
        )
    return Anchors(text)


def _frames(node: yaml.Node) -> dict[str, Mark]:
    frames: dict[str, Mark] = {}
    for item in _bounded(node, "frames"):
        found = _mapping(item, "a frame", ("name", "box", "cells"))
        name = _name(_need(found, "name", "a frame", item), "a frame's name")
        where = f"frame '{name}'"
        if name in frames:
            raise _error(f"{where} is there twice.", item)
        box = _box(_need(found, "box", where, item), where, "page")
        cells = _cells(found["cells"], where) if "cells" in found else None
        frames[name] = Mark(name, box, cells)
    return frames


def _cells(node: yaml.Node, where: str) -> int:
    text = _text(node, f"{where}: cells")
    if not re.fullmatch("[0-9]{1,2}", text, re.ASCII) or not 2 <= int(text) <= MAX_CELLS:
        raise _error(f"{where}: cells must be a whole number from 2 to {MAX_CELLS}.", node)
    return int(text)


def _fields(node: yaml.Node, frames: dict[str, Mark], micr: Box | None) -> tuple[FieldSpec, ...]:
    fields: dict[str, FieldSpec] = {}
    for item in _bounded(node, "fields"):
        keys = ("name", "box", "within", "micr", "grammar", "required")
        found = _mapping(item, "a field", keys)
        name = _name(_need(found, "name", "a field", item), "a field's name")
        where = f"field '{name}'"
        if name in fields:
            raise _error(f"{where} is there twice.", found["name"])
        part = None
        if "micr" in found:
            part, box = _micr_part(found, where, micr)
        else:
            box = _field_box(found, where, item, frames)
        grammar_node = _need(found, "grammar", where, item)
        try:
            grammar = parse_grammar(_text(grammar_node, f"{where}: grammar"))
        except TemplateError as exc:
            if exc.code != "bad-grammar":
                raise
            raise _error(
                f"{where}: {exc.message}", grammar_node, hint=exc.hint, code=exc.code
            ) from None
        required = "required" not in found or _flag(found["required"], f"{where}: required")
        within = _text(found["within"], where) if "within" in found else None
        fields[name] = FieldSpec(name, box, grammar, required, within, part)
    return tuple(fields.values())


def _micr_part(found: dict[str, yaml.Node], where: str, line: Box | None) -> tuple[str, Box]:
    node = found["micr"]
    part = _text(node, f"{where}: micr")
    if part not in MICR_PARTS:
        near = difflib.get_close_matches(part, MICR_PARTS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(MICR_PARTS)}."
        raise _error(f"{where}: the E-13B line has no '{_shown(node)}';", node, hint=hint)
    for key in ("box", "within"):
        if key in found:
            raise _error(f"{where} is read from the E-13B line and has no '{key}'.", found[key])
    if line is None:
        raise _error(
            f"{where}: the template does not say where the E-13B line is;",
            node,
            hint="state 'micr: [x, y, width, height]' beside 'page'.",
        )
    return part, line


def _field_box(
    found: dict[str, yaml.Node], where: str, item: yaml.Node, frames: dict[str, Mark]
) -> Box:
    if "within" not in found:
        return _box(_need(found, "box", where, item), where, "page")
    frame = _name(found["within"], f"{where}: within")
    if frame not in frames:
        near = difflib.get_close_matches(frame, frames, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "State it under 'frames'."
        raise _error(f"{where}: there is no frame '{frame}';", found["within"], hint=hint)
    if "box" not in found:
        return frames[frame].box
    return within(_box(found["box"], where, "frame"), frames[frame].box)


def _bounded(node: yaml.Node, what: str) -> list[yaml.Node]:
    items = _items(node, what)
    if not 1 <= len(items) <= MAX_FIELDS:
        raise _error(f"there must be 1 to {MAX_FIELDS} {what}.", node)
    return items


def _shown(node: yaml.Node) -> str:
    text = (
        str(node.value)
        if isinstance(node, yaml.ScalarNode)
        else f"a {node.tag.rpartition(chr(58))[2]}"
    )
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= 40 else text[:39] + "…"
