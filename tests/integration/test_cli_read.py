"""`counterfoil read` needs no server, reads every kind of file, and goes on after a bad one."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cli.main import app
from pipeline.placing.template import bundled_template
from training.synthesis.hand import load_mnist

SAMPLES = Path(__file__).parents[2] / "demo" / "samples"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "URL", "HOME", "DATA"):
        monkeypatch.delenv(f"COUNTERFOIL_{name}", raising=False)


def read(*arguments: object, status: int = 0) -> list[dict[str, Any]]:
    done = CliRunner().invoke(app, ["read", "--json", *map(str, arguments)])
    assert done.exit_code == status, (done.exit_code, done.output, done.exception)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_kind_of_file(tmp_path: Path) -> None:
    pages = read("-t", "demo-form", SAMPLES / "clinic-forms.tif", SAMPLES / "clinic-forms.pdf")
    assert [page["page"] for page in pages] == [1, 2, 3, 1, 2]
    assert all(page["error"] is None and len(page["fields"]) == 10 for page in pages)
    pages = read("-t", "demo-cheque", SAMPLES / "cheques.zip")
    assert [page["page"] for page in pages] == [1, 2]


def test_a_bad_file_among_good_ones(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_bytes(b"hello")
    (tmp_path / "cut.tif").write_bytes((SAMPLES / "clinic-forms.tif").read_bytes()[:9000])
    bad = [tmp_path / "empty.png", tmp_path / "text.jpg", tmp_path / "cut.tif"]
    pages = read(
        "-t", "demo-cheque", *bad, tmp_path / "missing.png", SAMPLES / "cheque-1.jpg", status=3
    )
    assert [page["file"] for page in pages if page["error"] is None] == [
        str(SAMPLES / "cheque-1.jpg")
    ]
    failed = {page["file"] for page in pages if page["error"]}
    assert failed == {*map(str, bad), str(tmp_path / "missing.png")}


def test_a_template_that_does_not_fit_is_said() -> None:
    (page,) = read("-t", "demo-form", SAMPLES / "cheque-1.jpg", status=3)
    assert "demo-form" in page["error"]
    assert page["fields"] == []


def test_a_mixed_pile(tmp_path: Path) -> None:
    files = [SAMPLES / name for name in ("cheque-1.jpg", "clinic-forms.tif", "nist-form.png")]
    *pages, foreign = read("-t", "demo-cheque", "-t", "demo-form", *files, status=3)
    assert [page["template"] for page in pages] == ["demo-cheque"] + 3 * ["demo-form"]
    alone = read("-t", "demo-form", files[1])
    assert [page["fields"] for page in pages[1:]] == [page["fields"] for page in alone]
    assert foreign["template"] == "demo-cheque, demo-form"
    assert foreign["error"].startswith("no template fits this page: 'demo-cheque' (")
    assert foreign["fields"] == []


def test_pages_that_a_template_ignores_are_passed_over(tmp_path: Path) -> None:
    cover = bundled_template("demo-form").text.partition("fields:")[2].replace("\n", "\n    ")
    exam = tmp_path / "exam.yaml"
    exam.write_text(
        "name: exam\npage: [1654, 2339]\npages:\n  - name: cover\n    anchors: frames\n"
        f"    fields:{cover.rstrip()}\n  - {{name: body, ignore: true}}\n"
    )
    _, frames = cv2.imreadmulti(str(SAMPLES / "clinic-forms.tif"), flags=cv2.IMREAD_GRAYSCALE)
    text = np.full_like(frames[0], 255)
    cv2.putText(text, "Answer: the sum is 4711.", (90, 400), cv2.FONT_HERSHEY_SIMPLEX, 3, 0, 6)
    assert cv2.imwritemulti(str(tmp_path / "exam.tif"), [frames[0], text, np.full_like(text, 250)])
    pages = read("-t", exam, tmp_path / "exam.tif")
    assert [page["template"] for page in pages] == ["exam/cover", "exam/body", "exam/body"]
    assert [len(page["fields"]) for page in pages] == [10, 0, 0]
    assert [page["error"] for page in pages] == [None, None, None]
    assert ["passed_over" in page for page in pages] == [False, True, True]
    assert pages[1]["passed_over"]["code"] == "ignored"
    shown = CliRunner().invoke(app, ["read", "-t", str(exam), str(tmp_path / "exam.tif")])
    assert shown.exit_code == 0
    assert shown.stdout.count("passed over") == 2


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (["read", "--json", str(SAMPLES / "cheque-1.jpg")], 0, '"template": "demo-cheque"'),
        (["template", "check"], 0, "demo-cheque: "),
        (["evaluate", "--json", "--reader", "glyph", "labels.csv"], 0, "template demo-cheque"),
        pytest.param(
            ["train", "adapt", "--data", "site", "--corrections", "labels.csv"],
            3,
            "fields",
            marks=pytest.mark.slow,  # it loads TensorFlow
        ),
    ],
)
def test_a_template_may_start_with_a_byte_order_mark(
    command: list[str], status: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ours.yaml").write_text(bundled_template("demo-cheque").text, encoding="utf-8-sig")
    Path("labels.csv").write_text(f"file,field,text\n{SAMPLES / 'cheque-1.jpg'},amount,1\n")
    template = ["ours.yaml"] if "check" in command else ["--template", "ours.yaml"]
    done = CliRunner().invoke(app, [*command, *template])
    assert done.exit_code == status, (done.exit_code, done.output, done.exception)
    assert said in done.output
    assert "ours.yaml" not in done.stderr


def test_a_strip_is_one_field(digits_dir: Path, tmp_path: Path) -> None:
    digits = load_mnist(digits_dir)
    rng = np.random.default_rng(5)
    strip = np.zeros((60, 40 + 60 * 6), np.uint8)
    for i, digit in enumerate("253016"):
        glyph = digits.images[rng.choice(np.flatnonzero(digits.labels == int(digit)))]
        strip[2:58, 20 + 60 * i : 76 + 60 * i] = cv2.resize(glyph, (56, 56))
    Image.fromarray(255 - strip).save(tmp_path / "strip.png")
    (page,) = read("--field", "digits(1,8)", tmp_path / "strip.png")
    (field,) = page["fields"]
    assert field["name"] == "strip"
    assert page["template"] is None
    assert field["value"] == "253016"
    assert field["decision"] == "review"
    (page,) = read("-f", "digits", "--release-at", "0.0001", tmp_path / "strip.png")
    assert page["fields"][0]["decision"] == "accepted"


def test_a_blank_page_has_no_numbers(tmp_path: Path) -> None:
    Image.fromarray(np.full((600, 400), 250, np.uint8)).save(tmp_path / "blank.png")
    (page,) = read(tmp_path / "blank.png")
    assert page == {
        "file": str(tmp_path / "blank.png"),
        "page": 1,
        "template": None,
        "fields": [],
        "checks": [],
        "error": None,
    }


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["-f", "digts"], 3, "digits"),
        (["-t", "nope"], 3, "nist-hsf"),
        (["-t", "nope.yaml"], 3, "nope.yaml"),
    ],
)
def test_mistakes_are_said_before_anything_is_read(
    arguments: list[str], status: int, said: str
) -> None:
    done = CliRunner().invoke(app, ["read", *arguments, str(SAMPLES / "cheque-1.jpg")])
    assert done.exit_code == status
    assert said in done.stderr


def test_a_file_that_kills_its_decoder_is_one_error(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("1", (2000, 2000)).save(buffer, "TIFF", compression="group4")
    data = bytearray(buffer.getvalue())
    data[60:] = b"\xff" * (len(data) - 60)
    (tmp_path / "evil.tif").write_bytes(bytes(data))
    pages = read("-t", "demo-cheque", tmp_path / "evil.tif", SAMPLES / "cheque-1.jpg", status=3)
    assert pages[0]["error"]
    assert pages[-1]["error"] is None


def test_pictures_show_where_each_number_was_read(tmp_path: Path) -> None:
    scan = SAMPLES / "cheque-1.jpg"
    (page,) = read("-t", "demo-cheque", "--release-at", "0.01", "--draw", tmp_path, scan)
    (path,) = tmp_path.iterdir()
    assert path.name.endswith("cheque-1.jpg-1.png")
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    grey = np.asarray(Image.open(scan).convert("L"))
    assert picture.shape[:2] == grey.shape
    coloured = np.ptp(picture, axis=2) > 60  # the scan itself is drawn in grey
    for field in page["fields"]:
        x, y, _, h = (round(number) for number in field["box"])
        assert coloured[y : y + h, x : x + 3].any()
    assert coloured.mean() < 0.2


def test_ctrl_c_says_how_far_it_came(tmp_path: Path) -> None:
    cheque = (SAMPLES / "cheque-1.jpg").read_bytes()
    for number in range(150):  # each with a comment of its own: copies are not read
        comment = b"\xff\xfe\0\x05%03d" % number
        (tmp_path / f"{number:03}.jpg").write_bytes(cheque[:2] + comment + cheque[2:])
    # As from a terminal: tests that a shell runs in the background ignore Ctrl-C.
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += "from cli.main import app; app()"
    command = [sys.executable, "-c", program, "read", "-t", "demo-cheque", "--json", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as reading:
        assert reading.stdout is not None
        assert reading.stderr is not None
        first = reading.stdout.readline()
        os.killpg(reading.pid, signal.SIGINT)  # a terminal sends it to the whole group
        rest, said = reading.stdout.read(), reading.stderr.read()
    assert reading.returncode == 130, said
    pages = [json.loads(line) for line in [first, *rest.splitlines()]]
    assert all(page["error"] is None for page in pages)
    assert len(pages) < 150
    stopped = re.search(r"Stopped after (\d+) pages?; the rest was not read", said)
    assert stopped is not None, said
    assert len(pages) - int(stopped[1]) in (0, 1)  # it may come between a page and its count
    assert "Traceback" not in said
