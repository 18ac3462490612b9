"""Top-level folders are import packages, so no dependency may have one of their names."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
OURS = {"api", "cli", "core", "db", "pipeline", "storage", "training", "web", "worker"}


def test_no_dependency_ships_a_package_of_ours() -> None:
    installed = packages_distributions()
    for name in OURS:
        others = set(installed.get(name, [])) - {"counterfoil"}
        assert not others, f"{others} also install a package named {name}"


def test_the_packages_are_those_of_the_design() -> None:
    include = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {pattern.rstrip("*") for pattern in include} == OURS
    found = find_packages(str(ROOT), include=include)
    assert {name.split(".")[0] for name in found} == OURS
    assert set(PROJECT["tool"]["importlinter"]["root_packages"]) == OURS


@pytest.mark.parametrize("package", sorted(OURS))
def test_every_folder_of_code_is_a_package(package: str) -> None:
    # Migrations are data to us: Alembic loads them by path.
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    for folder in folders:
        if "migrations" not in folder.parts:
            assert (folder / "__init__.py").exists(), folder


def test_migrations_are_packaged() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["db"]
    packaged = {path for pattern in patterns for path in (ROOT / "db").glob(pattern)}
    assert packaged >= set((ROOT / "db" / "migrations").rglob("*.py"))


def test_the_style_of_the_report_is_packaged() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["training"]
    packaged = {path for pattern in patterns for path in (ROOT / "training").glob(pattern)}
    assert packaged == set((ROOT / "training").rglob("*.css")) != set()


def test_the_documentation_page_is_packaged() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["api"]
    packaged = {path for pattern in patterns for path in (ROOT / "api").glob(pattern)}
    suffixes = {".html", ".css"}
    page = {path for path in (ROOT / "api").rglob("*") if path.suffix in suffixes}
    assert {path for path in packaged if path.is_file()} == page != set()


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_locks_pin_and_hash_every_dependency(lock: str) -> None:
    text = (ROOT / lock).read_text()
    pinned = set(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==", text, re.MULTILINE))
    assert len(re.findall(r"--hash=sha256:", text)) >= len(pinned)
    wanted = {_name(line) for line in PROJECT["project"]["dependencies"]}
    if lock == "requirements-dev.lock":
        wanted |= {_name(line) for line in PROJECT["project"]["optional-dependencies"]["dev"]}
    assert wanted <= {_name(name) for name in pinned}


def _name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None
    return re.sub(r"[-_.]+", "-", match.group()).lower()
