"""The report in Chromium: it is drawn, light and dark, and it prints."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pypdfium2
import pytest

from tests.conftest import missing
from tests.samples import DEMO, ROOT


@pytest.fixture(scope="module")
def browser() -> str:
    """The path of Chromium."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        missing("no Chromium on the PATH")
    return program


@pytest.fixture(scope="module")
def page(browser: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of one cheque, made by the command."""
    folder = tmp_path_factory.mktemp("report")
    shutil.copy(DEMO / "cheque-1.jpg", folder)
    labels = folder / "labels.csv"
    labels.write_text("file,field,text\ncheque-1.jpg,amount,1\ncheque-1.jpg,account,2\n")
    command = [sys.executable, "-m", "cli.main", "evaluate", str(labels)]
    command += ["--template", "demo-cheque", "--out", str(folder / "report.html")]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    return folder / "report.html"


def chromium(browser: str, tmp_path: Path, page: Path, *options: str) -> None:
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    subprocess.run([*command, *options, page.as_uri()], check=True, capture_output=True)


def screenshot(browser: str, tmp_path: Path, page: Path, *options: str) -> np.ndarray:
    path = tmp_path / "shot.png"
    chromium(browser, tmp_path, page, f"--screenshot={path}", "--window-size=1100,2400", *options)
    shot = cv2.imread(str(path))
    assert shot is not None
    return shot.reshape(-1, 3)


def test_it_is_drawn_light_and_dark(browser: str, tmp_path: Path, page: Path) -> None:
    light = screenshot(browser, tmp_path, page)
    assert np.median(light) > 240
    curve = np.abs(light.astype(int) - (0x5F, 0x6E, 0x0B)).sum(axis=1) < 12
    assert curve.sum() > 200, "the curves have the colour of the style sheet"
    dark = screenshot(browser, tmp_path, page, "--blink-settings=preferredColorScheme=0")
    assert np.median(dark) < 40


def test_it_prints_without_cutting_a_table(browser: str, tmp_path: Path, page: Path) -> None:
    path = tmp_path / "report.pdf"
    chromium(browser, tmp_path, page, f"--print-to-pdf={path}", "--no-pdf-header-footer")
    document = pypdfium2.PdfDocument(path)
    texts = []
    for number in range(len(document)):
        sheet = document[number]
        text = sheet.get_textpage()
        width, height = sheet.get_size()
        texts.append(text.get_text_bounded(0, 0, width, height))
    whole = " ".join(" ".join(texts).split())
    assert "How well is" in whole
    assert "released, proven" in whole, "the last column is on the sheet"
    assert "The worst mistakes" in whole
    document.close()
