"""What the documentation names exists: modules, files, links, commands and their options."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "demo/README.md", "NOTICE")),
        *(ROOT / "docs").rglob("*.md"),
    ]
)
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
FOLDERS = "api|benchmarks|cli|core|db|demo|deploy|docs|pipeline|storage|tests|training|web|worker"
MADE = {"demo/data", "demo/results.csv"}  # by the demo, and in no clone


@pytest.mark.parametrize("page", TEXTS)
def test_every_module_exists(page: str) -> None:
    named = re.findall(r"python3? -m ([a-z_.]+[a-z_])", TEXTS[page])
    named += re.findall(rf"^from ((?:{FOLDERS})[a-z_.]*) import", TEXTS[page], re.MULTILINE)
    named += re.findall(rf"`((?:{FOLDERS})(?:\.[a-z_]+)+)(?<!\.log)[`(]", TEXTS[page])
    for name in named:
        assert _is_there(name), f"{page} names {name}"


def _is_there(name: str) -> bool:
    """Say whether a dotted name is a module, or something that its module defines."""
    try:
        if find_spec(name) is not None:
            return True
    except ModuleNotFoundError:
        pass
    module, _, last = name.rpartition(".")
    file = ROOT / (module.replace(".", "/") + ".py")
    return (
        file.is_file() and re.search(rf"^(def|class) {last}\b", file.read_text(), re.M) is not None
    )


@pytest.mark.parametrize("page", TEXTS)
def test_every_path_exists(page: str) -> None:
    for path in re.findall(rf"(?<![\w/.@-])((?:{FOLDERS})/[\w./*-]*)", TEXTS[page]):
        path = path.rstrip("./")
        if path not in MADE and not path.startswith("demo/data/"):
            assert list(ROOT.glob(path)), f"{page} names {path}"


@pytest.mark.parametrize("page", [page for page in TEXTS if page.endswith(".md")])
def test_every_link_leads_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), f"{page} links to {link}"
        if anchor:
            heads = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(_anchor, heads), f"{page} links to {link}"


def _anchor(head: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", TEXTS)
def test_every_command_has_its_options(page: str) -> None:
    text = re.sub(r"\\\n\s*", " ", TEXTS[page])
    for line in re.findall(r"(?:^|`)\s*(?:\$ )?counterfoil ([a-z][^`\n]*)", text, re.MULTILINE):
        words = line.partition("#")[0].split()
        command: Any = get_command(app)
        while hasattr(command, "commands") and words and re.fullmatch("[a-z][a-z-]*", words[0]):
            assert words[0] in command.commands, f"{page}: counterfoil {line}"
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        for option in re.findall(r"(?<!\S)\[?(--?[a-z][a-z-]*)", " ".join(words)):
            assert option in known, f"{page}: counterfoil {line}"


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page, text in TEXTS.items():
        for target in re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE):
            assert target in targets, f"{page} names make {target}"
