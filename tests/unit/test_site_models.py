"""Which strip reader of a site reads: promoted whole or not at all, and back again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import ConfigError, ConflictError
from storage.site_models import (
    current_name,
    current_strip,
    list_models,
    models_folder,
    new_model,
    promote,
    step_back,
)


def write(folder: Path, champion: str) -> None:
    (folder / "strip.tflite").write_bytes(b"weights")
    (folder / "report.json").write_text(json.dumps({"champion": champion}), encoding="utf-8")


def add(home: Path, name: str, champion: str) -> Path:
    with new_model(home) as folder:
        write(folder, champion)
        return promote(home, folder, name, champion)


def test_the_bundled_one_reads_until_another_is_promoted(tmp_path: Path) -> None:
    assert current_strip(tmp_path) is None
    assert list_models(tmp_path) == []
    folder = add(tmp_path, "0a", "bundled")
    assert current_strip(tmp_path) == folder == models_folder(tmp_path) / "0a"
    assert [path.name for path in models_folder(tmp_path).iterdir()] != []
    assert not list(models_folder(tmp_path).glob(".*"))  # nothing half done is left


def test_one_goes_back_step_by_step(tmp_path: Path) -> None:
    add(tmp_path, "0a", "bundled")
    add(tmp_path, "0b", "0a")
    assert step_back(tmp_path) == current_name(tmp_path) == "0a"
    assert [(model.name, model.current) for model in list_models(tmp_path)] == [
        ("0a", True),
        ("0b", False),
    ]
    assert step_back(tmp_path) == "bundled"
    assert current_strip(tmp_path) is None
    with pytest.raises(ConflictError, match="there is no earlier one"):
        step_back(tmp_path)


def test_what_is_broken_off_changes_nothing(tmp_path: Path) -> None:
    add(tmp_path, "0a", "bundled")

    def break_off() -> None:
        with new_model(tmp_path) as folder:
            write(folder, "0a")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert current_name(tmp_path) == "0a"
    assert sorted(path.name for path in models_folder(tmp_path).iterdir()) == ["0a", "current"]


def test_a_model_that_did_not_face_the_current_one_is_not_promoted(tmp_path: Path) -> None:
    add(tmp_path, "0a", "bundled")
    with new_model(tmp_path) as folder:
        write(folder, "bundled")
        with pytest.raises(ConflictError, match="0a is now in use"):
            promote(tmp_path, folder, "0b", "bundled")
    assert current_name(tmp_path) == "0a"


def test_a_model_that_is_gone_is_an_error_and_one_can_go_back(tmp_path: Path) -> None:
    folder = add(tmp_path, "0a", "bundled")
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match="train back"):
        current_strip(tmp_path)
    assert step_back(tmp_path) == "bundled"
    assert current_strip(tmp_path) is None
