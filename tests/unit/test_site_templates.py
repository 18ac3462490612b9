"""Templates that a site stores under names: added, listed, and found by one resolver."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.arguments import TemplateChoice, find_templates, load_templates
from cli.main import app
from core.errors import ConfigError, ConflictError, TemplateError
from pipeline.placing.template import bundled_template
from pipeline.placing.template_set import named_templates
from storage.site_templates import SiteTemplates

FORM = bundled_template("demo-form").text
OURS = bundled_template("demo-cheque").text.replace("name: demo-cheque", "name: ours")


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SiteTemplates:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("COUNTERFOIL_HOME", str(tmp_path / "home"))
    Path("ours.yaml").write_text(OURS)
    Path("form.yaml").write_text(FORM)
    return SiteTemplates(tmp_path / "home")


def names_of(name: str, stored: SiteTemplates) -> list[str]:
    return [template.name for template in named_templates(name, stored).templates]


def run(*arguments: str, fails: bool = False) -> str:
    done = CliRunner().invoke(app, ["template", *arguments])
    assert (done.exit_code != 0) == fails, done.output
    return done.output


def test_a_template_and_a_set_are_added_listed_and_used_by_name(stored: SiteTemplates) -> None:
    run("add", "ours.yaml")
    run("add", "ours.yaml", "form.yaml", "--set", "office")
    assert stored.names() == ["office", "ours"]
    assert names_of("ours", stored) == ["ours"]
    assert names_of("office", stored) == ["ours", "demo-form"]
    listed = {item["name"]: item for item in json.loads(run("list", "--json"))}
    assert listed["nist-hsf"]["stored"] is False
    assert [one["name"] for one in listed["office"]["templates"]] == ["ours", "demo-form"]
    # The server is told the name; commands that read here resolve it themselves.
    assert find_templates(["office"]) == TemplateChoice(names=("office",))
    both = load_templates(["office", "nist-hsf"])
    assert both is not None
    assert both.name == "ours, demo-form, nist-hsf"


def test_a_folder_of_files_is_a_set_as_well(stored: SiteTemplates) -> None:
    (stored.folder / "office").mkdir(parents=True)
    for name, text in (("b.yaml", FORM), ("a.yml", OURS), ("notes.txt", "x"), (".c.yaml", "x")):
        (stored.folder / "office" / name).write_text(text)
    assert names_of("office", stored) == ["ours", "demo-form"]
    with pytest.raises(ConflictError, match="already"):
        stored.store("office", OURS, replace=True)
    (stored.folder / "empty").mkdir()
    with pytest.raises(TemplateError, match="no template in the stored set 'empty'"):
        names_of("empty", stored)
    stored.store("ours", OURS)
    (stored.folder / "ours").mkdir()
    with pytest.raises(ConfigError, match=r"ours and ours\.yaml"):
        names_of("ours", stored)


def test_a_name_that_is_taken_is_replaced_only_on_request(stored: SiteTemplates) -> None:
    stored.folder.mkdir(parents=True)
    (stored.folder / "ours.yml").write_text(FORM)
    assert "already" in run("add", "ours.yaml", fails=True)
    run("add", "ours.yaml", "--replace")
    assert names_of("ours", stored) == ["ours"]
    assert [path.name for path in stored.folder.iterdir()] == ["ours.yaml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ours.yaml", "--set", "nist-hsf"], "bundled"),
        (["ours.yaml", "--set", "NIST-hsf"], "bundled"),
        (["form.yaml"], "bundled"),  # its own name
        (["ours.yaml", "form.yaml"], "several templates"),
        (["ours.yaml", "--set", "../ours"], "cannot be stored as"),
        (["ours.yaml", "--set", "a/b"], "cannot be stored as"),
        (["ours.yaml", "--set", ".."], "cannot be stored as"),
        (["ours.yaml", "--set", ""], "cannot be stored as"),
        (["ours.yaml", "--set", "x.yaml"], "taken for a file"),
        (["ours.yaml", "ours.yaml", "--set", "x"], "two templates are named 'ours'"),
        (["nist-hsf", "--set", "x"], "cannot be read"),
    ],
)
def test_what_cannot_be_stored_is_said(
    stored: SiteTemplates, arguments: list[str], message: str
) -> None:
    assert message in run("add", *arguments, fails=True)
    assert stored.names() == []


def test_no_name_leads_out_of_the_folder(stored: SiteTemplates) -> None:
    stored.store("ours", OURS)
    (stored.home / "secret.yaml").write_text(FORM)
    for name in ("../secret", "../secret.yaml", "/etc/passwd", "..", ".", "", "ours.yaml", "a\0b"):
        assert stored.texts(name) == {}
        with pytest.raises(TemplateError, match="there is no template") as caught:
            named_templates(name, stored)
        assert caught.value.code == "unknown-template"
    with pytest.raises(TemplateError) as caught:
        named_templates("nope", stored)
    assert "nist-hsf, ours." in str(caught.value)


def test_a_bundled_name_is_not_shadowed(stored: SiteTemplates) -> None:
    stored.store("demo-form", OURS)
    with pytest.raises(TemplateError, match="both a bundled and a stored template") as caught:
        load_templates(["demo-form"])
    assert caught.value.code == "ambiguous-template"
    assert run("list").count("cannot be used") == 2


def test_a_stored_template_that_is_wrong_is_named(stored: SiteTemplates) -> None:
    stored.store("ours", "name: ours\n")
    with pytest.raises(TemplateError, match=r"stored template 'ours', ours\.yaml: "):
        named_templates("ours", stored)
    assert "cannot be used" in run("list")


def test_templates_of_the_current_folder_come_before_stored_ones(stored: SiteTemplates) -> None:
    """As before a bundled template comes a file. A folder of scans is no set of templates."""
    stored.store("office", FORM)
    Path("office").mkdir()
    assert find_templates(["office"]) == TemplateChoice(names=("office",))
    with pytest.raises(TemplateError, match=r"no template .* in the folder"):
        find_templates(["./office"])
    with pytest.raises(TemplateError, match=r"no template .* in the folder"):
        find_templates(["office/"])
    Path("office/a.yaml").write_text(OURS)
    assert find_templates(["office"]) == TemplateChoice(texts=(OURS,))
