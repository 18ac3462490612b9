"""Settings come from COUNTERFOIL_* alone, and all of them are documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.errors import ConfigError
from core.settings import PREFIX, Settings, load_settings

DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"


def test_every_setting_is_documented_as_it_is() -> None:
    rows = dict(
        re.findall(r"^\| `(COUNTERFOIL_\w+)` \| (.*) \|$", DOCUMENT.read_text(), re.MULTILINE)
    )
    fields = Settings.model_fields.items()
    assert rows == {
        PREFIX + name.upper(): f"{_default(name)} | {field.description}" for name, field in fields
    }


def _default(name: str) -> str:
    field = Settings.model_fields[name]
    if name == "home":
        return "the user's data directory"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value == {}:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="COUNTERFOIL_WORKERS") as caught:
        load_settings({"COUNTERFOIL_WORKER": "2"})
    assert caught.value.code == "unknown-setting"


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"COUNTERFOIL_PORT": "many"}, "COUNTERFOIL_PORT"),
        ({"COUNTERFOIL_PORT": "70000"}, "COUNTERFOIL_PORT"),
        ({"COUNTERFOIL_WORKERS": "0"}, "COUNTERFOIL_WORKERS"),
        ({"COUNTERFOIL_LEASE_SECONDS": "10"}, "heartbeat_seconds"),
        ({"COUNTERFOIL_S3_ENDPOINT": "http://localhost"}, "s3_bucket"),
        ({"COUNTERFOIL_S3_ACCESS_KEY": "x"}, "must be set together"),
    ],
)
def test_a_value_that_does_not_fit_is_named(variables: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_settings(variables)


def test_other_variables_and_empty_ones_are_nothing() -> None:
    assert load_settings({"PATH": "x", "COUNTERFOIL_PORT": ""}).port == 8321


def test_options_win_over_the_environment() -> None:
    settings = load_settings({"COUNTERFOIL_PORT": "1", "COUNTERFOIL_WORKERS": "3"}, port=2)
    assert (settings.port, settings.workers) == (2, 3)
    assert load_settings({"COUNTERFOIL_PORT": "1"}, port=None).port == 1


def test_a_child_process_gets_the_same_settings(tmp_path: Path) -> None:
    settings = load_settings(
        {
            "COUNTERFOIL_HOME": str(tmp_path),
            "COUNTERFOIL_S3_BUCKET": "scans",
            "COUNTERFOIL_S3_ACCESS_KEY": "key",
            "COUNTERFOIL_S3_SECRET_KEY": "secret",
            "COUNTERFOIL_EXPORT_TARGETS": '{"books": "sqlite:///books.sqlite3"}',
            "COUNTERFOIL_LOG_JSON": "true",
        }
    )
    assert load_settings(settings.environment()) == settings


def test_no_secret_is_shown() -> None:
    settings = load_settings(
        {
            "COUNTERFOIL_API_KEY": "hush-1",
            "COUNTERFOIL_S3_ACCESS_KEY": "key",
            "COUNTERFOIL_S3_SECRET_KEY": "hush-2",
            "COUNTERFOIL_EXPORT_TARGETS": '{"books": "postgresql://u:hush-3@host/db"}',
        }
    )
    assert "hush" not in repr(settings) + str(settings)


def test_the_embedded_database_lies_in_home(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert settings.resolved_database_url() == f"sqlite:///{tmp_path}/counterfoil.sqlite3"
    assert Settings(database_url="postgresql://x/y").resolved_database_url() == "postgresql://x/y"
