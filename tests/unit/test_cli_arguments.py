"""From arguments to files and templates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cli.arguments import (
    TemplateChoice,
    find_templates,
    find_uploads,
    load_template,
    load_templates,
)
from core.errors import InputError, TemplateError
from pipeline.placing.template import bundled_template

CHEQUE = bundled_template("demo-cheque").text


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for name in ("b.png", "a.jpg", "day/2.tif", ".hidden.png", "day/.git/x.png"):
        path = tmp_path / "scans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "scans"


def test_a_folder_gives_its_files_sorted_and_without_hidden_ones(scans: Path) -> None:
    found = find_uploads([str(scans)])
    assert [upload.name for upload in found] == ["a.jpg", "b.png", "day/2.tif"]
    assert [upload.size for upload in found] == [5, 5, 9]


def test_a_file_is_named_by_its_last_part(scans: Path) -> None:
    assert [upload.name for upload in find_uploads([str(scans / "day/2.tif")])] == ["2.tif"]


def test_a_hidden_file_that_is_named_is_meant(scans: Path) -> None:
    assert [upload.name for upload in find_uploads([str(scans / ".hidden.png")])] == [".hidden.png"]


def test_a_pattern_is_expanded_where_the_shell_did_not(
    scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [upload.name for upload in find_uploads([f"{scans}/*.*g"])] == ["a.jpg", "b.png"]
    monkeypatch.chdir(scans)
    assert [upload.name for upload in find_uploads(["day/*"])] == ["2.tif"]


def test_a_name_with_pattern_characters_is_first_a_name(tmp_path: Path) -> None:
    (tmp_path / "a[1].png").write_bytes(b"x")
    assert [upload.name for upload in find_uploads([str(tmp_path / "a[1].png")])] == ["a[1].png"]


def test_a_file_named_twice_comes_once(scans: Path) -> None:
    assert len(find_uploads([str(scans), str(scans / "a.jpg"), str(scans / "*.jpg")])) == 3


@pytest.mark.parametrize("argument", ["nowhere.png", "*.nothing", "", "no/such/folder/"])
def test_what_is_not_there_is_named(
    argument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        find_uploads([argument])
    assert argument in str(caught.value)


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No files"):
        find_uploads([str(tmp_path)])


def test_a_template_is_a_name_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_templates(["nist-hsf"]) == TemplateChoice(names=("nist-hsf",))
    assert load_template("nist-hsf") == bundled_template("nist-hsf")
    path = tmp_path / "ours.yaml"
    path.write_text(bundled_template("demo-cheque").text)
    assert find_templates([str(path)]) == TemplateChoice(texts=(CHEQUE,))
    assert load_template(str(path)) == bundled_template("demo-cheque")
    monkeypatch.chdir(tmp_path)
    path.rename("nist-hsf")  # a file wins over a bundled name
    assert load_template("nist-hsf").name == "demo-cheque"


def test_a_byte_order_mark_is_no_part_of_a_template(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + bundled_template("demo-cheque").text.encode())
    assert find_templates([str(path)]) == TemplateChoice(texts=(CHEQUE,))
    assert load_template(str(path)) == bundled_template("demo-cheque")


@pytest.mark.parametrize("resolve", [lambda path: find_templates([path]), load_template])
@pytest.mark.parametrize("content", [b"name: x\n", b"\xff\xfe", b"", b"#" * (1 << 20)])
def test_a_wrong_template_file_is_named(
    tmp_path: Path, content: bytes, resolve: Callable[[str], object]
) -> None:
    path = tmp_path / "ours.yaml"
    path.write_bytes(content)
    with pytest.raises(TemplateError, match=r"ours\.yaml"):
        resolve(str(path))
    with pytest.raises(TemplateError, match=r"missing\.yaml"):
        resolve(str(tmp_path / "missing.yaml"))


def test_an_unknown_name_is_answered_with_the_bundled_ones() -> None:
    with pytest.raises(TemplateError, match="nist-hsf"):
        load_template("nope")


def test_a_folder_means_all_templates_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "ours"
    folder.mkdir()
    with pytest.raises(TemplateError, match=r"no template .*ours"):
        find_templates([str(folder)])
    for name in ("demo-form", "demo-cheque"):
        (folder / f"{name}.yaml").write_text(bundled_template(name).text)
    (folder / "notes.txt").write_text("not a template")
    monkeypatch.chdir(tmp_path)
    for argument in ("ours", str(folder)):
        choice = find_templates([argument, "nist-hsf"])
        assert choice == TemplateChoice(("nist-hsf",), (CHEQUE, bundled_template("demo-form").text))
        both = load_templates([argument, "nist-hsf"])
        assert both is not None
        assert both.name == "demo-cheque, demo-form, nist-hsf"
    assert find_templates([]) is None
    assert load_templates([]) is None
    with pytest.raises(TemplateError, match="holds several templates"):
        load_template("ours")
    with pytest.raises(TemplateError, match="two templates are named 'demo-form'"):
        load_templates(["ours", "demo-form"])
