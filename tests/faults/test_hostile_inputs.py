"""The 718 files that break decoders, through the guarded opener and the page decoder."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

import pytest

from core.errors import InputError
from pipeline.files.documents import DocumentLimits
from worker.guard import DocumentOpener

ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 30.0
# Reads every page in one process, as a worker does: that it survives is the test.
_READER = """
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


@pytest.fixture(scope="module")
def hostile(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("hostile")
    with tarfile.open(data_dir / "hostile_inputs.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_every_hostile_file_gives_pages_or_plain_words(hostile: list[Path], tmp_path: Path) -> None:
    assert len(hostile) >= 700
    found: Counter[str] = Counter()
    pages: list[Path] = []
    messages: list[str] = []
    drawn: set[str] = set()
    with DocumentOpener(DocumentLimits(), _SECONDS, 2 << 30) as opener:
        for path in hostile:
            started = time.monotonic()
            opened = 0
            try:
                for page in opener.open(path, path.name):
                    opened += 1
                    if page.error is not None:
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
            assert time.monotonic() - started < _SECONDS * (opened + 1), path.name

    assert all(message.endswith(".") for message in messages)
    assert len(pages) > 400
    reader = subprocess.run(
        [sys.executable, "-c", _READER],
        cwd=ROOT,
        input="".join(json.dumps(str(path)) + "\n" for path in pages),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert reader.returncode == 0, reader.stderr[-2000:]
    results = reader.stdout.split()
    assert len(results) == len(pages)
    for path, result in zip(pages, results, strict=True):
        if path.parent == tmp_path and path.stem in drawn:
            assert result == "read", "a page that we drew ourselves cannot be read"
    assert results.count("read") > 300


def test_the_png_suite_is_judged_file_by_file(hostile: list[Path]) -> None:
    """In PngSuite the files that begin with x are broken, and no others."""
    from pipeline.files.page import decode_page

    suite = [path for path in hostile if path.parent.name == "pngsuite" and path.suffix == ".png"]
    assert len(suite) > 100
    for path in suite:
        if path.name.startswith("x"):
            with pytest.raises(InputError):
                decode_page(path.read_bytes())
        else:
            assert decode_page(path.read_bytes()).grey.size


def test_the_exif_examples_all_come_out_alike(hostile: list[Path]) -> None:
    """Eight orientations of two photographs, each upright."""
    import numpy as np

    from pipeline.files.page import decode_page

    for name in ("Landscape", "Portrait"):
        pages = {
            path.stem: decode_page(path.read_bytes()).grey
            for path in hostile
            if path.parent.name == "exif" and path.stem.startswith(name)
        }
        assert len(pages) == 9
        upright = pages[f"{name}_1"].astype(int)
        for stem, grey in pages.items():
            assert grey.shape == upright.shape, stem
            # Each has its number painted in the middle; the rest is the same photograph.
            assert np.median(np.abs(grey.astype(int) - upright)) <= 8, stem
