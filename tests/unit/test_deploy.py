"""The container image and the Compose file agree with the code; no Docker engine is needed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.local.roles import ROLES
from core.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    found: dict[str, dict[str, Any]] = compose["services"]
    return found


def test_every_setting_in_the_compose_file_is_one(services: dict[str, dict[str, Any]]) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    named = {
        variable
        for service in services.values()
        for variable in service.get("environment", {})
        if variable.startswith(PREFIX)
    }
    assert named
    assert named <= known


def test_every_role_that_a_system_needs_is_served(services: dict[str, dict[str, Any]]) -> None:
    served = [
        service["command"][1]
        for service in services.values()
        if service.get("image", "").startswith("counterfoil:")
    ]
    assert sorted(served) == sorted(role for role in ROLES if role != "broker")


def test_no_secret_has_a_default() -> None:
    example = (ROOT / "deploy" / "env.example").read_text()
    compose = (ROOT / "deploy" / "compose.yaml").read_text()
    for name in re.findall(r"\$\{(\w*(?:PASSWORD|KEY))\b", compose):
        assert f"{name}=\n" in example
        assert not re.search(rf"\$\{{{name}:?-", compose)


def test_the_image_holds_every_package_and_runs_as_nobody_special() -> None:
    image = (ROOT / "deploy" / "Dockerfile").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
    copied = set(re.findall(r"^COPY (\w+) \./\1$", image, re.MULTILINE))
    assert copied == {package.rstrip("*") for package in packages}
    assert "--require-hashes" in image
    assert re.findall(r"^USER (\d+)$", image, re.MULTILINE)[-1] != "0"
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    assert {f"!{package}" for package in copied} <= set(kept)
