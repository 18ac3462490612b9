"""The bundled scans as samples, and any number of cheques with distinct bytes."""

from __future__ import annotations

import json
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2

from pipeline.files.documents import DocumentLimits, only_pages, open_document
from pipeline.files.page import decode_page

SAMPLES = Path(__file__).parent.parent / "demo" / "samples"


@dataclass(frozen=True, slots=True)
class Sample:
    image: bytes
    fields: dict[str, str]  # the content, by field name


def cheques() -> list[Sample]:
    """Return the demo's cheques: 1600 x 750 JPEG with date, amount and account."""
    images = [path.read_bytes() for path in sorted(SAMPLES.glob("cheque-*.jpg"))]
    with zipfile.ZipFile(SAMPLES / "cheques.zip") as bundle:
        images += [bundle.read(name) for name in bundle.namelist()]
    truths = [page["fields"] for page in _truth() if page["template"] == "demo-cheque"]
    return [Sample(image, truth) for image, truth in zip(images, truths, strict=True)]


def forms() -> list[Sample]:
    """Return the demo's clinic forms, as intake stores their pages (PNG)."""
    images: list[bytes] = []
    for name in ("clinic-forms.tif", "clinic-forms.pdf"):
        pages = only_pages(open_document(SAMPLES / name, DocumentLimits()))
        images += [page.data for page in pages if page.data is not None]
    truths = [page["fields"] for page in _truth() if page["template"] == "demo-form"]
    return [Sample(image, truth) for image, truth in zip(images, truths, strict=True)]


def nist() -> list[Sample]:
    """Return the NIST form: 2560 x 3300 PNG with 28 fields."""
    truths = [page["fields"] for page in _truth() if page["template"] == "nist-hsf"]
    return [Sample((SAMPLES / "nist-form.png").read_bytes(), truths[0])]


def indian_cheques(data: Path) -> list[Sample]:
    """Return the three Indian cheques as grey JPEGs 1600 wide, or none if `data` lacks them."""
    folder = data / "cheques_in" / "fullres"
    if not folder.is_dir():
        return []
    samples = []
    for name, fields in json.loads((folder / "labels.json").read_text()).items():
        grey = decode_page((folder / f"{name}.jpg").read_bytes()).grey
        height = round(1600 * grey.shape[0] / grey.shape[1])
        small = cv2.resize(grey, (1600, height), interpolation=cv2.INTER_AREA)
        quality = [cv2.IMWRITE_JPEG_QUALITY, 85]
        samples.append(Sample(cv2.imencode(".jpg", small, quality)[1].tobytes(), fields))
    return samples


def numbered(jpeg: bytes, number: int) -> bytes:
    """Return the same picture with different bytes: a comment follows the start marker."""
    comment = f"copy {number}".encode()
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2) + comment + jpeg[2:]


def write_cheques(folder: Path, count: int) -> dict[str, dict[str, str]]:
    """Write `count` cheques with distinct bytes; return what is written on each, by file name."""
    kinds, written = cheques(), {}
    for number in range(count):
        sample = kinds[number % len(kinds)]
        name = f"cheque-{number:05d}.jpg"
        (folder / name).write_bytes(numbered(sample.image, number))
        written[name] = sample.fields
    return written


def temporary(purpose: str) -> tempfile.TemporaryDirectory[str]:
    """Return a temporary folder for a `with` block."""
    return tempfile.TemporaryDirectory(prefix=f"counterfoil-bench-{purpose}-")


@cache
def _truth() -> list[dict[str, Any]]:
    truth: list[dict[str, Any]] = json.loads((SAMPLES / "truth.json").read_text())
    return truth
