"""Scans that come with the repository: the demo's, and pages of bundled handwritten digits."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"
"""A small part of the real data, in the same layout: `mnist.npz` holds 400 digits by ten training
writers and 400 by ten test writers, four of each class by each writer."""

DEMO = ROOT / "demo" / "samples"
NIST_FORM = DEMO / "nist-form.png"
TRUTH: list[dict[str, Any]] = json.loads((DEMO / "truth.json").read_text())
"""What is written on each page of the demo's samples: file, page, template, fields."""


def written(file: str, page: int = 1) -> dict[str, str]:
    """Return what is written in each field of a page of the demo's samples."""
    fields: dict[str, str] = next(
        item["fields"] for item in TRUTH if (item["file"], item["page"]) == (file, page)
    )
    return fields


class DigitPages:
    """Draws pages with handwritten digits, 40 pixels high, on slightly noisy paper."""

    def __init__(self, folder: Path = DATA) -> None:
        with np.load(folder / "mnist.npz") as arrays:
            images, labels = arrays["x_test"][:2000], arrays["y_test"][:2000]
        self._of = {str(digit): images[labels == digit] for digit in range(10)}
        self._random = np.random.default_rng(7)

    def page(self, text: str) -> NDArray[np.uint8]:
        """Return a grey page with one line of digits. No two are alike, even of the same text."""
        page = self._random.normal(242, 2, (140, 100 + 46 * len(text)))
        for place, digit in enumerate(text):
            glyph = self._of[digit][self._random.integers(len(self._of[digit]))]
            ink = cv2.resize(glyph, (44, 44), interpolation=cv2.INTER_CUBIC).astype(float) / 255
            x = 50 + 46 * place
            page[48:92, x : x + 44] *= 1 - 0.85 * ink
        return np.clip(page, 0, 255).astype(np.uint8)

    def png(self, text: str) -> bytes:
        return cv2.imencode(".png", self.page(text))[1].tobytes()

    def jpeg(self, text: str) -> bytes:
        return cv2.imencode(".jpg", self.page(text))[1].tobytes()

    def tiff(self, texts: Sequence[str]) -> bytes:
        return self._together(texts, "TIFF")

    def pdf(self, texts: Sequence[str]) -> bytes:
        return self._together(texts, "PDF", resolution=200.0)

    def _together(self, texts: Sequence[str], form: str, **options: Any) -> bytes:
        first, *others = [PillowImage.fromarray(self.page(text)) for text in texts]
        stream = io.BytesIO()
        first.save(stream, form, save_all=True, append_images=others, **options)
        return stream.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return a ZIP archive of `files`, uncompressed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()
