"""The program of `make demo`: it runs twice in a row, and stops cleanly in the middle."""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.placing.template import bundled_template
from tests.waiting import eventually
from training.synthesis import cheque, form

ROOT = Path(__file__).parents[2]
TRUTH = json.loads((ROOT / "demo/samples/truth.json").read_text())
FIELDS = sum(len(page["fields"]) for page in TRUTH)


def start(home: Path, results: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "demo.run", "--data", str(home), "--results", str(results)]
    # Settings of the shell must not matter: the demo stays in its own folder.
    environment = os.environ | {"COUNTERFOIL_DATABASE_URL": "postgresql://nobody@nowhere/nothing"}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )


def children_of(process: subprocess.Popen[str]) -> list[str]:
    """Return the command lines of the processes that the demo has started."""
    mark = f"--parent={process.pid}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if mark in line.split(b"\0"):
            found.append(line.decode())
    return found


@pytest.mark.slow
def test_the_demo_twice(tmp_path: Path) -> None:
    home, results = tmp_path / "data", tmp_path / "results.csv"
    for run in (1, 2):
        process = start(home, results)
        said, _ = process.communicate()
        assert process.returncode == 0, said
        assert children_of(process) == []
        assert f"12 of 12 pages read, {FIELDS} fields" in said
        assert "\x1b[" not in said, "no colours and no moving bar in a pipe"
        assert f"Database: {home / 'counterfoil.sqlite3'}" in said
        with results.open(newline="", encoding="utf-8") as file:
            assert sum(1 for _ in csv.DictReader(file)) == FIELDS
        with sqlite3.connect(home / "counterfoil.sqlite3") as database:
            (values,) = database.execute("SELECT count(value) FROM field").fetchone()
            (batches,) = database.execute("SELECT count(*) FROM batch").fetchone()
        database.close()
        assert values > FIELDS * run * 0.8
        assert batches == run
        exact = int(said.partition(f" of {FIELDS} fields exact")[0].split()[-1])
        assert exact >= 0.85 * FIELDS, said


@pytest.mark.slow
def test_ctrl_c_in_the_middle_leaves_nothing_running(tmp_path: Path) -> None:
    process = start(tmp_path / "data", tmp_path / "results.csv")
    assert process.stdout is not None
    for line in process.stdout:
        if "Uploaded" in line:
            break
    assert children_of(process)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate()
    assert process.returncode == 130, said
    assert "nothing is left running" in said
    eventually("all have ended", lambda: not children_of(process))


@pytest.mark.parametrize(
    ("name", "boxes", "size"),
    [
        ("demo-cheque", cheque.BOXES, (cheque.WIDTH, cheque.HEIGHT)),
        ("demo-form", form.BOXES, (form.WIDTH, form.HEIGHT)),
    ],
)
def test_the_templates_are_where_the_pages_are_drawn(
    name: str, boxes: dict[str, object], size: tuple[int, int]
) -> None:
    template = bundled_template(name)
    assert (template.width, template.height) == size
    assert [field.name for field in template.fields] == list(boxes)
    for field in template.fields:
        drawn = boxes[field.name]
        scaled = [field.box.x * size[0], field.box.y * size[1]]
        scaled += [field.box.w * size[0], field.box.h * size[1]]
        assert scaled == pytest.approx([drawn.x, drawn.y, drawn.w, drawn.h], abs=0.05)  # type: ignore[attr-defined]


def test_the_truth_fits_the_grammars() -> None:
    for page in TRUTH:
        template = bundled_template(page["template"])
        assert list(page["fields"]) == [field.name for field in template.fields]
        for field in template.fields:
            assert field.grammar.accepts(page["fields"][field.name])


def test_the_samples_are_small() -> None:
    assert sum(path.stat().st_size for path in (ROOT / "demo/samples").iterdir()) < 3_000_000


def test_the_samples_are_drawn_alike_again(data_dir: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training.synthesis.samples"]
    command += ["--data", str(data_dir), "--out", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True)
    assert json.loads((tmp_path / "truth.json").read_text()) == TRUTH
    bundled = {path.name for path in (ROOT / "demo/samples").iterdir()}
    assert {path.name for path in tmp_path.iterdir()} == bundled
