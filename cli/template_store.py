"""`counterfoil template add` and `list`: the templates that are used by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cli.arguments import load_files
from core.errors import CounterfoilError, TemplateError
from core.settings import load_settings
from pipeline.placing.template import NAME, NAME_RULE, bundled_names
from pipeline.placing.template_set import named_templates
from storage.site_templates import SUFFIXES, SiteTemplates


def add_templates(files: list[str], name: str | None, home: Path | None, *, replace: bool) -> str:
    """Store the templates of files, or of folders, under one name; return a summary.

    Without `name`, that of the only template is used. Raises TemplateError for a mistake in a
    template and for a name that cannot be used, ConflictError for one that is taken.
    """
    found = load_files(files)
    if name is None:
        name = found.name
        if not NAME.fullmatch(name):  # the names of several
            raise TemplateError("These are several templates.", hint="Name them with --set.")
    if not NAME.fullmatch(name) or name.lower().endswith(SUFFIXES):
        rule = "It would be taken for a file." if NAME.fullmatch(name) else NAME_RULE
        raise TemplateError(f"Templates cannot be stored as '{name}'.", hint=rule)
    if name.lower() in bundled_names():
        raise TemplateError(
            f"'{name}' is the name of a bundled template.", hint="Choose another with --set."
        )
    stored = SiteTemplates(load_settings(home=home).home)
    path = stored.store(name, found.text, replace=replace)
    names = ", ".join(template.name for template in found.templates)
    return f"Stored in {path}: {names}.\nUse it by name: --template {name}"


def list_templates(home: Path | None, *, as_json: bool) -> str:
    """Return the bundled and the stored templates, one a line.

    A stored one that cannot be used has its reason.
    """
    stored = SiteTemplates(load_settings(home=home).home)
    names = [(name, False) for name in bundled_names()] + [(name, True) for name in stored.names()]
    items = [_item(name, stored, is_stored=is_stored) for name, is_stored in names]
    if as_json:
        return json.dumps(items, ensure_ascii=False)
    width = max(len(name) for name, _ in names)
    return "\n".join(
        f"{item['name']:<{width}}  {'stored ' if item['stored'] else 'bundled'}  {_said(item)}"
        for item in items
    )


def _item(name: str, stored: SiteTemplates, *, is_stored: bool) -> dict[str, Any]:
    item: dict[str, Any] = {"name": name, "stored": is_stored, "templates": [], "error": None}
    try:
        found = named_templates(name, stored)
    except CounterfoilError as exc:
        return item | {"error": exc.message}
    return item | {
        "templates": [{"name": one.name, "title": one.title} for one in found.templates],
    }


def _said(item: dict[str, Any]) -> str:
    if item["error"] is not None:
        return f"cannot be used: {item['error']}"
    templates = item["templates"]
    if len(templates) == 1:
        return str(templates[0]["title"])
    return ", ".join(one["name"] for one in templates)
