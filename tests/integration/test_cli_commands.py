"""The commands against a running stack, as a person or a script uses them."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from click.testing import Result
from sqlalchemy import delete, select, update
from typer.testing import CliRunner

from cli.client import READ_STATES
from cli.local.stack import Stack
from cli.main import app
from db.models import Field, Page, PageState
from tests.http_client import HttpClient
from tests.samples import zipped
from tests.stacks import database_of
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "demo" / "samples"
TRUTH = {
    (page["file"], page["page"]): page for page in json.loads((SAMPLES / "truth.json").read_text())
}
PAGE_KEYS = ["file", "page", "template", "fields", "checks", "error"]
FIELD_KEYS = ["name", "value", "raw", "confidence", "alternatives", "box", "decision", "reason"]


@pytest.fixture(scope="module")
def stack(embedded_stack: tuple[Stack, HttpClient]) -> Stack:
    return embedded_stack[0]


class Shell:
    """Runs `counterfoil` in this process, with its own environment, against the stack."""

    def __init__(self, stack: Stack) -> None:
        self.command = [sys.executable, "-m", "cli.main"]
        self.settings = {
            "COUNTERFOIL_URL": stack.url,
            "COUNTERFOIL_HOME": str(stack.settings.home),
        }
        self.environment = {
            name: value for name, value in os.environ.items() if "COUNTERFOIL" not in name
        } | self.settings
        self.environment["PYTHONPATH"] = str(ROOT)

    def __call__(self, *arguments: str | Path, status: int = 0, **environment: str) -> Result:
        others = dict.fromkeys(name for name in os.environ if "COUNTERFOIL" in name)
        runner = CliRunner(env=others | self.settings | environment)
        done = runner.invoke(app, [*map(str, arguments)])
        assert done.exit_code == status, (done.exit_code, done.output, done.exception)
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture(scope="module")
def counterfoil(stack: Stack) -> Shell:
    return Shell(stack)


@pytest.fixture(scope="module")
def batch(counterfoil: Shell) -> str:
    """A batch of cheques, among them a ZIP, that was read."""
    done = counterfoil(
        "submit", "--wait", "-t", "demo-cheque", "--name", "cheques", "--release-at", "0.9",
        SAMPLES / "cheque-1.jpg", SAMPLES / "cheque-2.jpg", SAMPLES / "cheques.zip",
    )  # fmt: skip
    assert "4 of 4 pages read" in done.stderr
    assert len(done.stdout.split()) == 1
    return done.stdout.strip()


def test_status(counterfoil: Shell, batch: str) -> None:
    shown = counterfoil("status", batch).stdout
    assert batch in shown
    assert "cheques" in shown
    said: dict[str, Any] = json.loads(counterfoil("status", batch, "--json").stdout)
    assert said["state"] in READ_STATES
    assert said["pages"]["read"] == 4


def test_retry(counterfoil: Shell, stack: Stack, batch: str) -> None:
    assert "nothing to retry" in counterfoil("retry", batch).stdout
    with database_of(stack) as database, database.transaction() as s:
        page_id = s.scalars(select(Page.id).where(Page.batch_id == batch).limit(1)).one()
        s.execute(delete(Field).where(Field.page_id == page_id))
        s.execute(update(Page).where(Page.id == page_id).values(state=PageState.QUARANTINED))
    said = json.loads(counterfoil("retry", batch, "--json").stdout)
    assert said["retried"] == {"documents": 0, "pages": 1}
    assert said["state"] == "processing"
    assert counterfoil("retry", "0" * 32, status=4).stdout == ""

    def read() -> bool:
        return bool(json.loads(counterfoil("status", batch, "--json").stdout)["percent"] == 100)

    eventually("it is read again", read)


def test_results_as_json_are_the_contract(counterfoil: Shell, batch: str) -> None:
    pages = [
        json.loads(line)
        for line in counterfoil("results", batch, "--json").stdout.split("\n")
        if line
    ]
    assert [(page["file"], page["page"]) for page in pages] == [
        ("cheque-1.jpg", 1), ("cheque-2.jpg", 1), ("cheques.zip", 1), ("cheques.zip", 2),
    ]  # fmt: skip
    right = 0
    for page in pages:
        assert list(page) == PAGE_KEYS
        assert page["error"] is None
        assert page["template"] == "demo-cheque"
        written = TRUTH[page["file"], page["page"]]["fields"]
        assert [field["name"] for field in page["fields"]] == list(written)
        for field in page["fields"]:
            assert list(field) == FIELD_KEYS
            assert field["decision"] == ("accepted" if field["confidence"] >= 0.9 else "review")
            right += field["value"] == written[field["name"]]
    assert right >= 6  # of 12: what the readers reach is measured elsewhere


def test_read_here_gives_what_the_server_gives(counterfoil: Shell, batch: str) -> None:
    served = counterfoil("results", batch, "--json").stdout.splitlines()
    done = counterfoil(
        "read", "-t", "demo-cheque", "--release-at", "0.9", "--json",
        SAMPLES / "cheque-1.jpg", SAMPLES / "cheque-2.jpg", SAMPLES / "cheques.zip",
    )  # fmt: skip
    for here, there in zip(done.stdout.splitlines(), served, strict=True):
        local, remote = json.loads(here), json.loads(there)
        assert Path(local.pop("file")).name == remote.pop("file")
        for mine, other in zip(local.pop("fields"), remote.pop("fields"), strict=True):
            assert mine.pop("box") == pytest.approx(other.pop("box"), abs=0.02)
            assert mine.pop("confidence") == pytest.approx(other.pop("confidence"), abs=1e-4)
            for a, b in zip(mine.pop("alternatives"), other.pop("alternatives"), strict=True):
                assert a["value"] == b["value"]
                assert a["probability"] == pytest.approx(b["probability"], abs=1e-4)
            assert mine == other
        assert local == remote


def test_results_as_csv_have_a_row_a_page(counterfoil: Shell, batch: str) -> None:
    rows = list(csv.DictReader(io.StringIO(counterfoil("results", batch, "--csv").stdout)))
    assert [row["file"] for row in rows] == [
        "cheque-1.jpg", "cheque-2.jpg", "cheques.zip", "cheques.zip",
    ]  # fmt: skip
    assert rows[1]["amount"] == "3551"


def test_results_as_a_table(counterfoil: Shell, batch: str) -> None:
    shown = counterfoil("results", batch).stdout
    for text in ("cheque-1.jpg", "amount", "3551"):
        assert text in shown


def test_exports(counterfoil: Shell, batch: str, tmp_path: Path, stack: Stack) -> None:
    counterfoil("export", batch, "--out", tmp_path / "a.csv")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 13
    assert counterfoil("export", batch).stdout == (tmp_path / "a.csv").read_text()
    lines = counterfoil("export", batch, "--format", "jsonl").stdout.splitlines()
    assert len(lines) == 4
    counterfoil("export", batch, "--out", tmp_path / "a.xlsx")
    book = openpyxl.load_workbook(tmp_path / "a.xlsx")
    assert book.worksheets[0].max_row == 13
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.xlsx"]
    counterfoil("export", batch, "--to", "ledger", "--table", "cheques")
    with sqlite3.connect(stack.settings.home.parent / "ledger.sqlite3") as ledger:
        assert ledger.execute("SELECT count(*) FROM cheques").fetchone() == (12,)
    ledger.close()


def test_a_person_verifies_fields(counterfoil: Shell, batch: str) -> None:
    rows = list(csv.DictReader(io.StringIO(counterfoil("export", batch).stdout)))
    amount = next(row for row in rows if row["field"] == "amount")["field_id"]
    for wrong in ("abc", "=cmd|calc", ""):
        refused = counterfoil("verify", amount, wrong, status=3)
        assert "for example" in refused.stderr or "must not be empty" in refused.stderr
        assert "To record it all the same, force it" in refused.stderr
    said = counterfoil("verify", amount, " ４２ ").stdout
    assert said == "amount: '42'. This is version 2.\n"
    late = counterfoil("verify", amount, "43", status=5)
    assert "has verified this field as '42'. Nothing was changed." in late.stderr
    assert "name its version, 2" in late.stderr
    counterfoil("verify", amount, "43", "--if-version", "1", status=5)
    forced = ("verify", amount, "a\u00d1o", "--force", "--if-version", "2", "--json")
    assert "say why in a note" in counterfoil(*forced, status=3).stderr
    field = json.loads(counterfoil(*forced, "--note", "it is a word").stdout)
    assert (field["value"], field["forced"], field["note"]) == ("a\u00d1o", True, "it is a word")
    done = counterfoil("verify", amount, "--unreadable", "--if-version", "3")
    assert done.stdout == "amount: unreadable. This is version 4.\n"
    for odd in (("verify", amount), ("verify", amount, "4", "--unreadable")):
        assert "either a value or --unreadable" in counterfoil(*odd, status=2).stderr
    counterfoil("verify", "0" * 32, "4", status=4)


def test_export_mistakes(counterfoil: Shell, batch: str, tmp_path: Path) -> None:
    assert "csv, jsonl, xlsx" in counterfoil("export", batch, "--format", "pdf", status=2).stderr
    assert (
        "nowhere"
        in counterfoil("export", batch, "--out", tmp_path / "nowhere/a.csv", status=2).stderr
    )
    done = counterfoil("export", batch, "--to", "elsewhere", "--table", "t", status=3)
    assert "elsewhere" in done.stderr


def test_one_bad_file_fails_the_wait_and_is_named(counterfoil: Shell, tmp_path: Path) -> None:
    good = SAMPLES / "cheque-3.jpg"
    (tmp_path / "cut.jpg").write_bytes(good.read_bytes()[:30_000])
    (tmp_path / "good.jpg").write_bytes(good.read_bytes())
    (tmp_path / ".DS_Store").write_bytes(b"hidden")
    done = counterfoil("submit", "--wait", "-t", "demo-cheque", tmp_path, status=3)
    assert "1 of 2 pages read" in done.stderr
    assert "cut.jpg" in done.stderr
    pages = counterfoil("results", done.stdout.strip(), "--json").stdout.splitlines()
    errors = {page["file"]: page["error"] for page in map(json.loads, pages)}
    assert errors["good.jpg"] is None
    assert errors["cut.jpg"]


def test_what_was_passed_over_fails_the_wait_and_is_named(
    counterfoil: Shell, tmp_path: Path
) -> None:
    one, two = ((SAMPLES / f"cheque-{n}.jpg").read_bytes() for n in (1, 2))
    files = {
        "joined.jpg": one + two,
        "again.jpg": one + two,
        "box.zip": zipped({"a.jpg": one, ".b": two}),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    done = counterfoil("submit", "--wait", "-t", "demo-cheque", tmp_path, status=3)
    batch = done.stdout.strip()
    said = done.stderr.splitlines()
    assert "2 of 2 pages read, 6 fields: 0 accepted, 6 for review." in said
    assert "1 file has the same bytes as another one, and was not read again" in done.stderr
    named = [line for line in said if line.startswith("Passed over: ")]
    assert named[0].startswith("Passed over: again.jpg, image 2: A JPEG image follows behind")
    assert named[1].startswith("Passed over: box.zip, .b: This is a hidden file in the ZIP")
    assert len(named) == 2
    assert "passed over  2; `counterfoil results` names each" in counterfoil("status", batch).stdout

    served = [
        json.loads(line) for line in counterfoil("results", batch, "--json").stdout.splitlines()
    ]
    done = counterfoil("read", "-t", "demo-cheque", "--json", tmp_path, status=3)
    for pages in (served, [json.loads(line) for line in done.stdout.splitlines()]):
        found = [
            (Path(page["file"]).name, page["page"], page.get("passed_over", {}).get("code"))
            for page in pages
        ]
        assert sorted(found, key=str) == [
            ("again.jpg", 1, None), ("again.jpg", None, "second-image"),
            ("box.zip", 1, None), ("box.zip", None, "hidden-file"),
            ("joined.jpg", None, None),
        ]  # fmt: skip
        (copy,) = (page for page in pages if "copy_of" in page)
        assert (Path(copy["file"]).name, Path(copy["copy_of"]).name) == ("joined.jpg", "again.jpg")

    rows = list(csv.DictReader(io.StringIO(counterfoil("export", batch).stdout)))
    states = [(row["file"], row["page_state"], row["label"]) for row in rows if not row["field"]]
    lines = [
        json.loads(line)
        for line in counterfoil("export", batch, "--format", "jsonl").stdout.splitlines()
    ]
    assert states == [
        ("again.jpg", "passed_over", "image 2"), ("box.zip", "passed_over", ".b"),
        ("joined.jpg", "copy", ""),
    ]  # fmt: skip
    assert [(line["file"], line["state"], line["label"]) for line in lines[2:]] == states
    assert len({row["row_id"] for row in rows}) == len(rows) == 9


def test_a_file_that_the_server_does_not_take(counterfoil: Shell, tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "good.jpg").write_bytes((SAMPLES / "cheque-3.jpg").read_bytes())
    done = counterfoil("submit", "--wait", "-t", "demo-cheque", tmp_path, status=3)
    assert "empty.png" in done.stderr
    (tmp_path / "good.jpg").unlink()
    done = counterfoil("submit", "--wait", tmp_path, status=3)
    assert "empty.png" in done.stderr


def test_json_of_submit(counterfoil: Shell) -> None:
    done = counterfoil("submit", "--json", "--wait", "-t", "demo-cheque", SAMPLES / "cheque-4.jpg")
    assert json.loads(done.stdout)["pages"]["read"] == 1


def test_a_template_of_ones_own(counterfoil: Shell, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    text = (ROOT / "pipeline/templates/demo-cheque.yaml").read_text()
    # Windows editors write a byte order mark.
    mine.write_text(text.replace("name: demo-cheque", "name: ours"), encoding="utf-8-sig")
    done = counterfoil("submit", "--wait", "-t", mine, SAMPLES / "cheque-4.jpg")
    (line,) = counterfoil("results", done.stdout.strip(), "--json").stdout.splitlines()
    assert json.loads(line)["template"] == "ours"


def test_unknown_things_are_said(counterfoil: Shell) -> None:
    assert counterfoil("status", "0" * 32, status=4).stderr.startswith("counterfoil: ")
    counterfoil("results", "no-such-batch", status=4)
    done = counterfoil("submit", "-t", "no-such-template", SAMPLES / "cheque-1.jpg", status=3)
    assert "no-such-template" in done.stderr
    wrong = counterfoil("status", "0" * 32, status=2, COUNTERFOIL_API_KEY="cf_wrong_key")
    assert "COUNTERFOIL_API_KEY" in wrong.stderr
    away = counterfoil("status", "0" * 32, "--url", "http://127.0.0.1:9", status=6)
    assert "counterfoil up" in away.stderr


def test_keys_of_another_tenant_see_nothing(counterfoil: Shell, batch: str) -> None:
    key = counterfoil("keys", "create", "other", "--tenant", "other bank").stdout.strip()
    counterfoil("status", batch, status=4, COUNTERFOIL_API_KEY=key)
    own = counterfoil("submit", SAMPLES / "cheque-1.jpg", COUNTERFOIL_API_KEY=key).stdout.strip()
    counterfoil("status", own, COUNTERFOIL_API_KEY=key)
    counterfoil("status", own, status=4)


def test_ctrl_c_while_waiting_says_how_to_follow_on(counterfoil: Shell) -> None:
    process = subprocess.Popen(
        [
            *counterfoil.command,
            "submit",
            "--wait",
            "-t",
            "demo-form",
            *map(str, SAMPLES.glob("clinic-*")),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=counterfoil.environment,
    )
    assert process.stdout is not None
    batch_id = process.stdout.readline().strip()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    # A very quick server may have read all five pages by now.
    if process.returncode == 130:
        assert f"counterfoil status {batch_id}" in said
    else:
        assert process.returncode == 0
    counterfoil("status", batch_id)


def test_a_client_of_the_api_sees_the_same_batch(stack: Stack, batch: str) -> None:
    client = HttpClient(stack.url, stack.api_key)
    try:
        assert client.batch(batch)["name"] == "cheques"
    finally:
        client.close()
