"""Files that break decoders, through the guarded opener and the page decoder."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from core.errors import InputError
from pipeline.files.documents import DocumentLimits
from pipeline.files.page import decode_page
from pipeline.files.passed_over import PassedOver
from tests import hostile
from tests.samples import ROOT
from worker.guard.opener import DocumentOpener

SECONDS_A_PAGE = 30.0
MEMORY = 2 << 30
# Reads every page in one process, as a worker does. The test is that this process survives.
READER = """
import json, sys, warnings
from pathlib import Path
from core.errors import InputError
from pipeline.files.page import decode_page
warnings.simplefilter("error")
for line in sys.stdin:
    try:
        page = decode_page(Path(json.loads(line)).read_bytes())
        assert page.grey.ndim == 2 and page.grey.dtype == "uint8" and page.grey.size
        print("read")
    except InputError as exc:
        assert exc.message and exc.code
        print(exc.code)
"""


@dataclass(frozen=True)
class Corpus:
    """Hostile files; and at least how many pages they give, and how many of these are read."""

    files: list[Path]
    pages: int
    read: int


@pytest.fixture(
    scope="module", params=["bundled", pytest.param("real", marks=pytest.mark.real_data)]
)
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The files that `tests.hostile` makes; and the 718 of published corpora, if they are there."""
    folder = tmp_path_factory.mktemp("hostile")
    if request.param == "bundled":
        for name, data in hostile.hostile_files():
            (folder / name).write_bytes(data)
        return Corpus(sorted(folder.iterdir()), pages=250, read=100)
    real = request.getfixturevalue("real_files")
    return Corpus(real, pages=400, read=300)


@pytest.fixture(scope="module")
def real_files(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("published")
    with tarfile.open(data_dir / "hostile_inputs.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(files) >= 700
    return files


def test_every_hostile_file_gives_pages_or_plain_words(corpus: Corpus, tmp_path: Path) -> None:
    found: Counter[str] = Counter()
    pages: list[Path] = []
    messages: list[str] = []
    drawn: set[str] = set()
    with DocumentOpener(DocumentLimits(), SECONDS_A_PAGE, MEMORY) as opener:
        for path in corpus.files:
            opened = 0
            try:
                for page in opener.open(path):
                    opened += 1
                    if isinstance(page, PassedOver):
                        found[page.code] += 1
                    elif page.error is not None:
                        found[page.error.code] += 1
                    elif page.data is None:
                        pages.append(path)
                    else:
                        pages.append(tmp_path / f"{len(pages)}.img")
                        if not page.label or "#" in page.label:  # else as packed in a ZIP
                            drawn.add(pages[-1].stem)
                        pages[-1].write_bytes(page.data)
            except InputError as exc:
                opened += 1
                found[exc.code] += 1
                messages.append(exc.message)
            assert opened, f"{path.name}: neither a page nor an error"

    assert all(message.endswith(".") for message in messages)
    assert len(pages) > corpus.pages
    reader = subprocess.run(
        [sys.executable, "-c", READER],
        cwd=ROOT,
        input="".join(json.dumps(str(path)) + "\n" for path in pages),
        capture_output=True,
        text=True,
        check=False,
    )
    assert reader.returncode == 0, reader.stderr[-2000:]
    results = reader.stdout.split()
    assert len(results) == len(pages)
    for path, result in zip(pages, results, strict=True):
        if path.parent == tmp_path and path.stem in drawn:
            assert result == "read", "a page that we drew ourselves cannot be read"
    assert results.count("read") > corpus.read


@pytest.mark.parametrize(
    ("name", "data"), [*hostile.good_pngs()], ids=lambda value: str(value)[:20]
)
def test_every_variety_of_png_is_read(name: str, data: bytes) -> None:
    assert decode_page(data).grey.shape == (11, 13), name


@pytest.mark.parametrize(("name", "data"), [*hostile.bad_pngs()], ids=lambda value: str(value)[:20])
def test_a_broken_png_is_refused(name: str, data: bytes) -> None:
    with pytest.raises(InputError):
        decode_page(data)


def test_a_locked_pdf_is_said_to_be_locked(tmp_path: Path) -> None:
    path = tmp_path / "locked.pdf"
    path.write_bytes(hostile.locked_pdf())
    with (
        DocumentOpener(DocumentLimits(), SECONDS_A_PAGE, MEMORY) as opener,
        pytest.raises(InputError) as error,
    ):
        list(opener.open(path))
    assert error.value.code == "encrypted"


def test_a_page_lies_upright_whatever_its_exif_says() -> None:
    upright, *others = [decode_page(data).grey.astype(int) for _, data in hostile.turned_jpegs()]
    assert len(others) == 7
    for grey in others:
        assert grey.shape == upright.shape
        assert np.abs(grey - upright).mean() < 3


def test_the_png_suite_is_judged_file_by_file(real_files: list[Path]) -> None:
    """In PngSuite the files that begin with x are broken, and no others."""
    suite = [p for p in real_files if p.parent.name == "pngsuite" and p.suffix == ".png"]
    assert len(suite) > 100
    for path in suite:
        if path.name.startswith("x"):
            with pytest.raises(InputError):
                decode_page(path.read_bytes())
        else:
            assert decode_page(path.read_bytes()).grey.size


def test_the_exif_examples_all_come_out_alike(real_files: list[Path]) -> None:
    """Two photographs come out upright from all eight EXIF orientations."""
    for name in ("Landscape", "Portrait"):
        pages = {
            path.stem: decode_page(path.read_bytes()).grey
            for path in real_files
            if path.parent.name == "exif" and path.stem.startswith(name)
        }
        assert len(pages) == 9
        upright = pages[f"{name}_1"].astype(int)
        for stem, grey in pages.items():
            assert grey.shape == upright.shape, stem
            # They differ only in the number painted in the middle.
            assert np.median(np.abs(grey.astype(int) - upright)) <= 8, stem
