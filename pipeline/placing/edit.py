"""Change the fields of a template in its text, so that nothing else in the text changes.

Comments, order, spelling and keys that an editor does not know stay as they are: each change is
made at the place in the text that states it, and the result is parsed and compared with what was
asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import yaml

from core.errors import TemplateError
from pipeline.geometry import to_fractions
from pipeline.grammar.parse import parse_grammar
from pipeline.placing.template import Anchors, FieldSpec, Template, decode_text
from pipeline.placing.template_set import MAX_TEMPLATES, parse_templates
from pipeline.placing.yaml_nodes import compose_all, error_at
from pipeline.types import Box

_SAME: Final = 6e-6  # boxes are written with five decimals
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*", re.ASCII)
_PLAIN_GRAMMAR: Final = re.compile(r"[A-Za-z_]+(\([A-Za-z0-9 ,.=/-]*\))?", re.ASCII)
_NO_TEXT: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})


@dataclass(frozen=True, slots=True)
class FieldEdit:
    """A field as it shall be. `was` is its name before, None for a new one.

    `box` is in fractions of the template's page; None leaves it as it is.
    """

    was: str | None
    name: str
    box: Box | None
    grammar: str
    required: bool


@dataclass(frozen=True, slots=True)
class TemplateEdit:
    """The fields of one template as they shall be; a field that is missing is deleted.

    `name` and `title` are None where they stay as they are.
    """

    fields: tuple[FieldEdit, ...]
    name: str | None = None
    title: str | None = None


def rename_template(source: str | bytes, name: str) -> str:
    """Return a text that states one template under another name; of several, as it is."""
    text = decode_text(source)
    roots = list(_templates(text))
    if len(roots) > 1 or _key(roots[0], "name") is None:
        return text
    changes = _Changes(text)
    changes.set_scalar(roots[0], "name", name)
    return changes.applied()


def edit_template(source: str | bytes, part: int, edit: TemplateEdit) -> str:
    """Return the text with the fields of its template number `part`, from 0, changed.

    Raises TemplateError: the text or the result is no template, or the text is written in a way
    that only its author can change.
    """
    text = decode_text(source)
    templates = parse_templates(text).templates
    if not 0 <= part < len(templates):
        raise TemplateError(f"There is no template {part + 1} in this text.")
    before, root = templates[part], list(_templates(text))[part]
    changes = _Changes(text)
    if edit.name is not None and "/" not in before.name and edit.name != before.name:
        changes.set_scalar(root, "name", edit.name)
    if edit.title is not None and edit.title != before.title:
        changes.set_scalar(root, "title", edit.title, after="name")
    if not before.ignored:
        _edit_fields(changes, root, before, edit)
    edited = changes.applied()
    _compare(parse_templates(edited).templates[part], before, edit)
    return edited


def _edit_fields(
    changes: _Changes, root: yaml.MappingNode, before: Template, edit: TemplateEdit
) -> None:
    sequence = _key(root, "fields")
    if not isinstance(sequence, yaml.SequenceNode):
        raise error_at(root, "the template has no list of fields.")
    asked = {one.was: one for one in edit.fields if one.was is not None}
    unknown = asked.keys() - {spec.name for spec in before.fields}
    if unknown:
        raise TemplateError(f"There is no field '{min(unknown)}' any more.")
    for spec, item in zip(before.fields, sequence.value, strict=True):
        if spec.name in asked:
            _edit_field(changes, item, spec, asked[spec.name], before)
    kept = [spec.name in asked for spec in before.fields]
    added = [one for one in edit.fields if one.was is None]
    changes.keep_items(sequence, kept, added)
    if _key(root, "frames") is None and _frames_change(before, edit, kept):
        changes.add_frames(root, before)


def _edit_field(
    changes: _Changes, item: yaml.Node, spec: FieldSpec, asked: FieldEdit, template: Template
) -> None:
    if not isinstance(item, yaml.MappingNode):
        raise error_at(item, "a field must consist of 'key: value' lines.")
    if asked.name != spec.name:
        changes.set_scalar(item, "name", asked.name)
    if asked.grammar.strip() != spec.grammar.name and not _same_grammar(asked.grammar, item):
        changes.set_scalar(item, "grammar", asked.grammar)
    if asked.required != spec.required:
        changes.set_scalar(item, "required", "true" if asked.required else "false", raw=True)
    if asked.box is not None and spec.micr is None and not _same(asked.box, spec.box):
        box, after = asked.box, "name"
        if spec.within is not None:
            after = "within"
            box = to_fractions(box, _frame(changes.text, template, spec.within))
        changes.set_box(item, box, after=after)


def _same_grammar(grammar: str, item: yaml.MappingNode) -> bool:
    node = _key(item, "grammar")
    return isinstance(node, yaml.ScalarNode) and bool(node.value.strip() == grammar.strip())


def _same(one: Box, other: Box) -> bool:
    pairs = ((one.x, other.x), (one.y, other.y), (one.w, other.w), (one.h, other.h))
    return all(abs(a - b) < _SAME for a, b in pairs)


def _frame(text: str, template: Template, name: str) -> Box:
    """Return the box of a frame by its name, in fractions of the page."""
    for root in _templates(text):
        frames = _key(root, "frames")
        for item in frames.value if isinstance(frames, yaml.SequenceNode) else ():
            named, box = _key(item, "name"), _key(item, "box")
            if named is not None and named.value == name and box is not None:
                return Box(*(float(side.value) for side in box.value))
    raise TemplateError(f"There is no frame '{name}' in '{template.name}'.")


def _frames_change(before: Template, edit: TemplateEdit, kept: Sequence[bool]) -> bool:
    """Say whether the fields are what places the page, and would not be the same ones after."""
    if before.anchors is not Anchors.FRAMES:
        return False
    boxes = {spec.name: spec.box for spec in before.fields}
    moved = any(
        one.was is None or (one.box is not None and not _same(one.box, boxes[one.was]))
        for one in edit.fields
    )
    return moved or not all(kept)


def _compare(after: Template, before: Template, edit: TemplateEdit) -> None:
    """Raise TemplateError unless the text states what was asked for."""
    boxes = {spec.name: spec.box for spec in before.fields}
    said = {spec.name: spec for spec in after.fields}
    right = len(said) == len(edit.fields) or after.ignored
    for asked in () if after.ignored else edit.fields:
        spec = said.get(asked.name)
        box = asked.box or boxes.get(asked.was or "")
        right &= spec is not None and (
            spec.required == asked.required
            and spec.grammar.name == parse_grammar(asked.grammar).name
            and (spec.micr is not None or (box is not None and _near(spec.box, box)))
        )
    if not right:
        raise TemplateError(
            "This text is written in a way that the boxes cannot change it.",
            hint="Change the text itself.",
        )


def _near(one: Box, other: Box) -> bool:
    pairs = ((one.x, other.x), (one.y, other.y), (one.w, other.w), (one.h, other.h))
    return all(abs(a - b) < 2e-5 for a, b in pairs)


# --- the text -----------------------------------------------------------------------------------


def _templates(text: str) -> Iterator[yaml.MappingNode]:
    """Yield the mapping of each template, in the order of `parse_templates`."""
    for root in compose_all(text, documents=MAX_TEMPLATES):
        pages = _key(root, "pages")
        if isinstance(pages, yaml.SequenceNode):
            yield from pages.value
        else:
            yield root


def _key(node: yaml.Node, name: str) -> yaml.Node | None:
    found: yaml.Node | None = None
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == name:
                found = value
    return found


@dataclass(slots=True)
class _Changes:
    """Changes to a text at places that do not overlap."""

    text: str
    spans: list[tuple[int, int, str]] = field(default_factory=list)

    def applied(self) -> str:
        text = self.text
        for start, end, new in sorted(self.spans, key=lambda span: span[:2], reverse=True):
            text = text[:start] + new + text[end:]
        return text

    def set_scalar(
        self, node: yaml.MappingNode, key: str, value: str, *, after: str = "", raw: bool = False
    ) -> None:
        flow = bool(node.flow_style)
        written = value if raw else _written(value, flow=flow, grammar=key == "grammar")
        self._set(node, key, written, after)

    def set_box(self, node: yaml.MappingNode, box: Box, *, after: str) -> None:
        self._set(node, "box", _numbers(box), after)

    def _set(self, node: yaml.MappingNode, key: str, written: str, after: str) -> None:
        old = _key(node, key)
        if old is not None:
            self.spans.append((old.start_mark.index, self._end(old), written))
            return
        # Behind the key `after`, or behind the last one.
        beside = _key(node, after) or node.value[-1][1]
        if node.flow_style:
            end = self._end(beside)
            self.spans.append((end, end, f", {key}: {written}"))
        else:
            end = self._line_end(self._end(beside))
            indent = " " * node.value[0][0].start_mark.column
            self.spans.append((end, end, f"{self._newline}{indent}{key}: {written}"))

    def keep_items(
        self, sequence: yaml.SequenceNode, kept: Sequence[bool], added: Sequence[FieldEdit]
    ) -> None:
        """Delete the fields that are not kept, and add new ones behind the others."""
        if sequence.flow_style:
            self._keep_in_line(sequence.value, kept, added)
            return
        dash = self.text.rindex("-", 0, sequence.value[0].start_mark.index)
        indent = " " * (dash - self._line_start(dash))
        for item, keep in zip(sequence.value, kept, strict=True):
            if not keep:
                start = self._line_start(self.text.rindex("-", 0, item.start_mark.index))
                end = self._line_end(self._end(item))
                end += self.text.startswith("\r\n", end) + self.text.startswith(("\n", "\r"), end)
                self.spans.append((start, end, ""))
        end = self._line_end(self._end(sequence.value[-1]))
        if added and not kept[-1]:  # its line goes with its end
            end += self.text.startswith("\r\n", end) + self.text.startswith(("\n", "\r"), end)
        lines = [f"{indent}{line}" for one in added for line in _item(one)]
        block = self._newline.join(lines)
        if added:
            new = block + self._newline if not kept[-1] else self._newline + block
            self.spans.append((end, end, new))

    def _keep_in_line(
        self, items: Sequence[yaml.Node], kept: Sequence[bool], added: Sequence[FieldEdit]
    ) -> None:
        left = [item for item, keep in zip(items, kept, strict=True) if keep]
        pieces = [self.text[item.start_mark.index : self._end(item)] for item in left]
        if len(left) < len(items):
            if any(
                items[0].start_mark.index <= start < self._end(items[-1])
                for start, *_ in self.spans
            ):
                raise TemplateError(
                    "Fields that are written in one line are deleted alone.",
                    hint="Save once before you change others, or change the text itself.",
                )
            new = ", ".join(pieces + [_in_line(one) for one in added])
            self.spans.append((items[0].start_mark.index, self._end(items[-1]), new))
        elif added:
            end = self._end(items[-1])
            self.spans.append((end, end, "".join(f", {_in_line(one)}" for one in added)))

    def add_frames(self, root: yaml.MappingNode, before: Template) -> None:
        """State what placed the page, which were the boxes of the fields, as frames."""
        frames = [
            f"{{name: frame-{number}, box: {_numbers(box)}}}"
            for number, box in enumerate(before.frames, 1)
        ]
        key = next(key for key, _ in root.value if key.value == "fields")
        at, indent = key.start_mark.index, " " * key.start_mark.column
        if root.flow_style:
            self.spans.append((at, at, f"frames: [{', '.join(frames)}], "))
            return
        lines = ["frames:   # what is printed on the page, and places it"]
        lines += [f"  - {frame}" for frame in frames]
        new = "".join(f"{line}{self._newline}{indent}" for line in lines)
        self.spans.append((at, at, new))

    @property
    def _newline(self) -> str:
        return "\r\n" if "\r\n" in self.text else "\n"

    def _line_start(self, index: int) -> int:
        return max(self.text.rfind("\n", 0, index), self.text.rfind("\r", 0, index)) + 1

    def _line_end(self, index: int) -> int:
        found = re.compile(r"\r|\n").search(self.text, index)
        return len(self.text) if found is None else found.start()

    def _end(self, node: yaml.Node) -> int:
        """Return where the text of a node ends, without what follows it."""
        if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
            last = node.value[-1]
            return self._end(last[1] if isinstance(last, tuple) else last)
        start, end = node.start_mark.index, node.end_mark.index
        return start + len(self.text[start:end].rstrip())


def _item(one: FieldEdit) -> list[str]:
    if one.box is None:
        raise TemplateError(f"The new field '{one.name}' has no box.")
    lines = [
        f"- name: {_written(one.name)}",
        f"  box: {_numbers(one.box)}",
        f"  grammar: {_written(one.grammar, grammar=True)}",
    ]
    return lines if one.required else [*lines, "  required: false"]


def _in_line(one: FieldEdit) -> str:
    if one.box is None:
        raise TemplateError(f"The new field '{one.name}' has no box.")
    required = "" if one.required else ", required: false"
    grammar = _written(one.grammar, flow=True, grammar=True)
    return f"{{name: {_written(one.name)}, box: {_numbers(one.box)}, grammar: {grammar}{required}}}"


def _numbers(box: Box) -> str:
    return "[" + ", ".join(f"{side:.5f}" for side in (box.x, box.y, box.w, box.h)) + "]"


def _written(value: str, *, flow: bool = False, grammar: bool = False) -> str:
    """Return a text as YAML writes it: as it is where that is safe, else in quotes."""
    plain = _PLAIN_GRAMMAR if grammar else _PLAIN
    safe = plain.fullmatch(value) and value.lower() not in _NO_TEXT
    if safe and not (flow and re.search(r"[,\[\]{}]", value)):
        return value
    return json.dumps(value, ensure_ascii=False)
