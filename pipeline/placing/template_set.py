"""Sets of templates: mixed piles of pages, and documents of several kinds of page.

A set is the text of one or more YAML documents. Each is a template, or one of several `pages`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import yaml

from core.errors import TemplateError
from pipeline.placing.check_lists import ReadList, with_lists
from pipeline.placing.template import (
    Template,
    bundled_names,
    bundled_template,
    decode_text,
    name_of,
    template_of_node,
    unknown_template,
)
from pipeline.placing.yaml_nodes import compose_all, items, mapping, text_of, value_of

MAX_TEMPLATES: Final = 50  # of one set, each page of a document counted
MAX_NAME: Final = 200  # characters of a set's name


@dataclass(frozen=True, slots=True)
class TemplateSet:
    """Templates of which each page gets the one that fits. `text` is the YAML that states them."""

    templates: tuple[Template, ...]
    text: str

    @property
    def name(self) -> str:
        """The names of its templates, separated by commas; long sets are cut short."""
        return set_name(self.templates)


class StoredTemplates(Protocol):
    """The templates of a site: `names` lists them, and `texts` are the files under a name.

    `read_list` returns a file that lies beside the files under a name.
    """

    def names(self) -> list[str]: ...

    def texts(self, name: str) -> Mapping[str, bytes]: ...

    def read_list(self, name: str, file: str) -> bytes: ...


def named_templates(name: str, stored: StoredTemplates) -> TemplateSet:
    """Return what a name means: a bundled template, a stored one, or a stored set of them.

    Raises TemplateError if it means nothing (code "unknown-template") or both a bundled and a
    stored one ("ambiguous-template"), and as `combine`, naming the file that is wrong.
    """
    bundled, own = bundled_names(), stored.names()
    if name in bundled and name in own:
        raise TemplateError(
            f"both a bundled and a stored template are named '{name}'.",
            hint="Rename the stored one: no page may be read with another template than is meant.",
            code="ambiguous-template",
        )
    if name in bundled:
        template = bundled_template(name)
        return TemplateSet((template,), template.text)
    if name not in own:
        raise unknown_template(name, list(dict.fromkeys([*bundled, *own])))
    texts = stored.texts(name)
    if not texts:
        raise TemplateError(f"there is no template in the stored set '{name}'.")
    sets = []
    for file, text in texts.items():
        try:
            sets.append(parse_templates(text, read_list=partial(stored.read_list, name)))
        except TemplateError as exc:
            message = f"stored template '{name}', {file}: {exc.message}"
            raise TemplateError(message, hint=exc.hint, code=exc.code) from exc
    return combine(sets)


def parse_templates(source: str | bytes, *, read_list: ReadList | None = None) -> TemplateSet:
    """Return the templates that a YAML file states.

    `read_list` reads the CSV files that its checks name, whose values become part of the text.
    Raises TemplateError as `template.parse_template` does, and for a set in which nothing could
    tell one template's pages from another's.
    """
    text = decode_text(source)
    if read_list is not None:
        text = with_lists(text, read_list, documents=MAX_TEMPLATES)
    templates: list[Template] = []
    for node in compose_all(text, documents=MAX_TEMPLATES):
        if any(isinstance(key, yaml.ScalarNode) and key.value == "pages" for key, _ in node.value):
            templates += _pages(node, text)
        else:
            templates.append(template_of_node(node, text))
    return TemplateSet(_checked(templates), text)


def combine(sets: Sequence[TemplateSet]) -> TemplateSet:
    """Return one set of the templates of all.

    Raises TemplateError as `parse_templates` does, and where all of them are ignored.
    """
    templates = _checked([template for one in sets for template in one.templates])
    if all(template.ignored for template in templates):
        raise TemplateError("every page would be passed over: all of these say 'ignore: true'.")
    if len(sets) == 1:
        return sets[0]
    return TemplateSet(templates, "".join(_as_document(one.text) for one in sets))


def set_name(templates: Sequence[Template]) -> str:
    """Return the names of templates, separated by commas; a long list is cut short."""
    # Its pages are not listed one by one: a template of several pages has a name.
    names = list(dict.fromkeys(template.name.partition("/")[0] for template in templates))
    shown = len(names)
    while shown > 1 and len(_listed(names, shown)) > MAX_NAME:
        shown -= 1
    return _listed(names, shown)


def _listed(names: Sequence[str], shown: int) -> str:
    left = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {left} more" if left else "")


def _as_document(text: str) -> str:
    """Return a YAML text so that another may precede it in one file."""
    start = next(e for e in yaml.parse(text) if isinstance(e, yaml.DocumentStartEvent))
    text = text if text.endswith("\n") else text + "\n"
    return ("" if start.explicit else "---\n") + text + "...\n"


def _pages(node: yaml.MappingNode, text: str) -> list[Template]:
    top = mapping(node, "the template", ("name", "title", "page", "pages"))
    name = name_of(value_of(top, "name", "the template", node), "the template's name")
    if "title" in top:
        text_of(top["title"], "the title")
    found = items(top["pages"], "pages", MAX_TEMPLATES)
    return [template_of_node(item, text, page=top.get("page"), of=f"{name}/") for item in found]


def _checked(templates: Sequence[Template]) -> tuple[Template, ...]:
    """Return the templates if each page can be told to be of one of them."""
    if len(templates) > MAX_TEMPLATES:
        raise TemplateError(
            f"these are {len(templates)} templates; a set has at most {MAX_TEMPLATES}."
        )
    names = [template.name for template in templates]
    for template in templates:
        if names.count(template.name) > 1:
            raise TemplateError(
                f"two templates are named '{template.name}'.",
                hint="Each reading names its template, so the names must differ.",
            )
    documents = {name.partition("/")[0] for name in names}
    for template in templates:
        if template.has_marks or template.ignored or len(templates) == 1:
            continue
        if len(documents) > 1 or template.numbers is None:
            raise TemplateError(
                f"nothing tells the pages of '{template.name}' from those of another template,"
                " because it is placed by the edges of the page ('anchors: page').",
                hint="State printed 'frames', or read these pages in a batch of their own."
                if len(documents) > 1
                else "State printed 'frames', or which pages of a document these are, for example"
                " 'numbers: 1'.",
            )
    return tuple(templates)
