"""The command itself: help, version, errors and their exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from cli.main import app
from core.errors import ConfigError, InputError, NotFoundError

run = CliRunner().invoke


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COUNTERFOIL_HOME", str(tmp_path))
    monkeypatch.delenv("COUNTERFOIL_API_KEY", raising=False)


def _commands(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        yield (*path, name)
        yield from _commands(inner, (*path, name))


COMMANDS = list(_commands(get_command(app)))


def test_the_commands_of_the_documentation_are_there() -> None:
    assert {path[0] for path in COMMANDS} >= {
        *("up", "submit", "status", "results", "export"),
        *("read", "evaluate", "train", "template", "keys", "playground"),
    }


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_says_what_it_does(path: tuple[str, ...]) -> None:
    result = run(app, [*path, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage: " in result.output


def test_version() -> None:
    result = run(app, ["--version"])
    assert result.output == f"counterfoil {version('counterfoil')}\n"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from cli.main import app; from typer.testing import CliRunner;"
        "assert CliRunner().invoke(app, ['submit', '--help']).exit_code == 0;"
        "print(*{'cv2', 'numpy', 'sqlalchemy', 'httpx', 'celery', 'flask'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_no_key_is_a_sentence_not_a_traceback() -> None:
    result = run(app, ["status", "x"])
    assert result.exit_code == ConfigError.exit_code
    assert result.stderr.startswith("counterfoil: There is no API key")
    assert "Traceback" not in result.output


def test_debug_shows_where() -> None:
    assert "Traceback" in run(app, ["--debug", "status", "x"]).stderr


def test_a_path_that_is_missing_is_an_input_error() -> None:
    result = run(app, ["submit", "nowhere.png"])
    assert result.exit_code == InputError.exit_code
    assert "nowhere.png" in result.stderr


def test_an_unknown_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERFOIL_PROT", "1")
    result = run(app, ["status", "x"])
    assert result.exit_code == ConfigError.exit_code
    assert "COUNTERFOIL_PORT" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["results", "x", "--json", "--csv"],
        ["export", "x", "--to", "ledger"],
        ["read", "--template", "a", "--field", "digits", "x.png"],
    ],
)
def test_options_that_exclude_each_other(arguments: list[str], tmp_path: Path) -> None:
    result = run(app, arguments)
    assert result.exit_code == ConfigError.exit_code
    assert "--" in result.stderr


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    made = run(app, ["keys", "create", "scanner room", "--data", str(tmp_path)])
    assert made.exit_code == 0, made.output
    secret = made.stdout.strip()
    assert secret.startswith("cf_")
    listed = run(app, ["keys", "list", "--data", str(tmp_path), "--json"])
    assert secret not in listed.stdout
    (key,) = json.loads(listed.stdout)
    assert (key["name"], key["tenant"], key["revoked_at"]) == ("scanner room", "default", None)
    assert run(app, ["keys", "revoke", key["id"], "--data", str(tmp_path)]).exit_code == 0
    listed = run(app, ["keys", "list", "--data", str(tmp_path), "--json"])
    assert json.loads(listed.stdout)[0]["revoked_at"] is not None
    missing = run(app, ["keys", "revoke", "none", "--data", str(tmp_path)])
    assert missing.exit_code == NotFoundError.exit_code


def test_the_app_is_what_the_console_script_calls() -> None:
    assert isinstance(app, typer.Typer)
