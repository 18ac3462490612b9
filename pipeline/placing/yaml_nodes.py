"""Read YAML that may come from a stranger, and report every mistake with its line.

The text is parsed to nodes, never to Python objects: a node knows its line, a mapping node keeps
a key that is given twice, and no tag can build anything. Size and depth are bounded, and aliases
are refused, because a few lines of them can stand for millions of nodes.

In each function `where` names the part of the template for the messages. All raise TemplateError.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Final

import yaml

from core.errors import TemplateError

MAX_CHARACTERS: Final = 128 * 1024
MAX_DEPTH: Final = 8

_NUMBER: Final = re.compile(
    r"[+-]?([0-9]{1,9}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][+-]?[0-9]{1,2})?", re.ASCII
)


def compose(text: str) -> yaml.MappingNode:
    """Return the root node of a YAML text, which must be a mapping."""
    nodes = compose_all(text)
    if len(nodes) > 1:
        raise error_at(nodes[1], "here a second template begins; only one is expected.")
    return nodes[0]


def compose_all(text: str, *, documents: int = 1) -> list[yaml.MappingNode]:
    """Return the root nodes of the YAML documents of a text, which must be mappings.

    Empty documents are left out. The text may be as long as `documents` templates.
    """
    if len(text) > documents * MAX_CHARACTERS:
        raise TemplateError(f"the template is longer than {documents * MAX_CHARACTERS >> 10} KiB.")
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise error_at(event, "a template may not use YAML anchors and aliases (& and *).")
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    raise error_at(event, f"lists are nested deeper than {MAX_DEPTH} levels.")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
        nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise TemplateError(f"{line}this is not YAML: {exc.problem or exc.context}.") from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise TemplateError("this is not YAML: it contains characters that are not text.") from exc
    roots: list[yaml.MappingNode] = []
    for node in nodes:
        if isinstance(node, yaml.MappingNode):
            roots.append(node)
        elif not _is_empty(node):
            raise error_at(node, "a template must begin with a line such as 'name: my-form'.")
    if not roots:
        raise TemplateError("the template is empty.")
    return roots


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.value == "" and node.style is None


def error_at(
    at: yaml.Node | yaml.Event | None, message: str, *, hint: str = "", code: str | None = None
) -> TemplateError:
    """Return an error whose message begins with the line of a node, if that is known."""
    line = f"line {at.start_mark.line + 1}: " if at is not None and at.start_mark else ""
    return TemplateError(f"{line}{message}", hint=hint, code=code)


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest known word, or all of them where none is near."""
    words = list(known)
    near = difflib.get_close_matches(wrong, words, n=1)
    return f"Did you mean '{near[0]}'?" if near else f"Known are: {', '.join(words)}."


def mapping(node: yaml.Node, where: str, known: Sequence[str]) -> dict[str, yaml.Node]:
    """Return the values of a mapping by key. Every key must be one of `known`, and be unique."""
    if not isinstance(node, yaml.MappingNode):
        raise error_at(node, f"{where} must consist of 'key: value' lines.")
    found: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.value not in known:
            name = shown(key)
            raise error_at(
                key, f"{where}: the key '{name}' is unknown.", hint=suggestion(name, known)
            )
        if key.value in found:
            raise error_at(key, f"{where}: the key '{key.value}' is given twice.")
        found[key.value] = value
    return found


def value_of(found: dict[str, yaml.Node], key: str, where: str, node: yaml.Node) -> yaml.Node:
    """Return the value of a key that must be there; `node` is the mapping that it is missing in."""
    if key not in found:
        raise error_at(node, f"{where} has no '{key}'.")
    return found[key]


def items(node: yaml.Node, what: str, most: int) -> list[yaml.Node]:
    """Return the 1 to `most` items of a list; `what` is its key, a plural."""
    if not isinstance(node, yaml.SequenceNode):
        raise error_at(node, f"'{what}' must be a list.")
    if not 1 <= len(node.value) <= most:
        raise error_at(node, f"there must be 1 to {most} {what}, not {len(node.value)}.")
    return list(node.value)


def text_of(node: yaml.Node, where: str) -> str:
    """Return a scalar as it is written."""
    if not isinstance(node, yaml.ScalarNode) or node.tag == "tag:yaml.org,2002:null":
        raise error_at(node, f"{where} must be text.")
    return str(node.value)


def truth_of(node: yaml.Node, where: str) -> bool:
    """Return true or false."""
    if isinstance(node, yaml.ScalarNode) and node.value.lower() in ("true", "false"):
        return bool(node.value.lower() == "true")
    raise error_at(node, f"{where} must be true or false.")


def numbers_of(node: yaml.Node, where: str, names: Sequence[str]) -> list[float]:
    """Return a list of as many numbers as there are `names`, which the messages show."""
    if not isinstance(node, yaml.SequenceNode) or len(node.value) != len(names):
        raise error_at(node, f"{where} must be {len(names)} numbers, [{', '.join(names)}].")
    for part in node.value:
        if not isinstance(part, yaml.ScalarNode) or not _NUMBER.fullmatch(part.value):
            raise error_at(part, f"{where}: '{shown(part)}' is not a number.")
    return [float(part.value) for part in node.value]


def shown(node: yaml.Node) -> str:
    """Return at most 40 printable characters of a node, for a message."""
    text = (
        str(node.value)
        if isinstance(node, yaml.ScalarNode)
        else f"a {node.tag.rpartition(chr(58))[2]}"
    )
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= 40 else text[:39] + "…"
