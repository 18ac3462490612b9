"""What tests may not do, checked on their source: see `CONTRIBUTING.md`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.samples import ROOT

TESTS = ROOT / "tests"
OURS = {
    "api",
    "benchmarks",
    "cli",
    "core",
    "db",
    "demo",
    "pipeline",
    "storage",
    "training",
    "web",
    "worker",
}
CLOCKS = {
    "monotonic",
    "monotonic_ns",
    "perf_counter",
    "perf_counter_ns",
    "process_time",
    "thread_time",
}
# Waits for other processes and ends a hang; its limits are no assertions.
MAY_READ_CLOCKS = {"tests/waiting.py"}
FILES = sorted(path for path in TESTS.rglob("*.py"))


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def is_ours(module: str) -> bool:
    return module.partition(".")[0] in OURS


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted name of each thing that is imported anywhere in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def private_names(tree: ast.AST) -> Iterator[str]:
    """Yield private names of our modules: imported, reached through an object, or patched."""
    yield from (
        name for name in imports(tree) if is_ours(name) and any(map(private, name.split(".")))
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not own:
                yield ast.unparse(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = node.value.split(".")
            dotted = len(words) > 1 and all(word.isidentifier() for word in words)
            if dotted and words[0] in OURS and any(map(private, words)):
                yield node.value


def clocks(tree: ast.AST) -> Iterator[str]:
    """Yield every use of a clock that measures how long something takes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in CLOCKS:
            yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (alias.name for alias in node.names if alias.name in CLOCKS)


@cache
def parse(path: Path) -> ast.AST:
    return ast.parse(path.read_text(encoding="utf-8"))


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_no_test_uses_private_names_of_another_module(path: Path) -> None:
    assert list(private_names(parse(path))) == []


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_no_test_measures_time(path: Path) -> None:
    """How fast it is, `benchmarks/` measures: a test that asserts it fails on slow machines."""
    if shown(path) not in MAY_READ_CLOCKS:
        assert list(clocks(parse(path))) == []


@pytest.mark.parametrize("path", sorted((TESTS / "unit").glob("*.py")), ids=shown)
def test_unit_tests_import_neither_training_nor_benchmarks(path: Path) -> None:
    heavy = {"training", "benchmarks"}
    assert [name for name in imports(parse(path)) if name.partition(".")[0] in heavy] == []


def test_the_rules_catch_what_they_forbid() -> None:
    tree = ast.parse(
        "import time\nfrom time import perf_counter\n"
        "from pipeline.read import _cut\nfrom pipeline._x import y\n"
        "patch('worker.pages._LIMIT', 1)\nopener._child.pid\nself._own\ntime.monotonic()\n"
    )
    found = " ".join(private_names(tree))
    assert found == "pipeline.read._cut pipeline._x.y worker.pages._LIMIT opener._child"
    assert sorted(clocks(tree)) == ["perf_counter", "time.monotonic"]
