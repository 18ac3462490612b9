"""Synthetic strips beside real ones.

    python -m training.strip.contact_sheet --data DIR --out sheet.png

The left half is synthetic, the right half (`--real FOLDER`) is real. Every strip is shown at the
same height, over its text. The real strips are only looked at; they train nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from core.errors import ConfigError, CounterfoilError
from pipeline.imageops import interpolation
from pipeline.types import Image
from training.datasets import load_femnist, load_mnist, load_nsysu
from training.synthesis.strips import StripSynthesizer

Captioned = tuple[Image, str]

_TALL, _WIDE, _CAPTION = 64, 300, 20  # pixels: height and width of a cell, height of its caption


def draw_strips(data: Path, count: int, seed: int) -> list[Captioned]:
    """Draw `count` strips with digits from `data` that may train."""
    sets = [load_mnist(data, "train"), load_femnist(data), load_nsysu(data, "train")]
    synthesizer, rng = StripSynthesizer(sets), np.random.default_rng(seed)
    strips = [synthesizer(rng) for _ in range(count)]
    return [(strip.grey, strip.text or "(none)") for strip in strips]


def real_strips(folder: Path, count: int, seed: int) -> list[Captioned]:
    """Take up to `count` strips from a folder of images, in an order that `seed` determines.

    If there is a `labels.json` (a list of objects with `file`, and `text` or `amount`), only every
    second entry is shown, from the first, so that the other half stays unseen. If an entry has
    `boxes.amount` (x, y, w, h), that part of the image is shown.
    """
    try:
        entries = json.loads((folder / "labels.json").read_text())[::2]
    except FileNotFoundError:
        found = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".png", ".tif"))
        entries = [{"file": path.name} for path in found]
    if not entries:
        raise ConfigError(f"There are no images in {folder}.")
    chosen = np.random.default_rng(seed).permutation(len(entries))[:count]
    return [_cut(folder, entries[i]) for i in chosen]


def _cut(folder: Path, entry: dict[str, object]) -> Captioned:
    grey = cv2.imread(str(folder / str(entry["file"])), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise ConfigError(f"{entry['file']} in {folder} is not an image.")
    boxes = entry.get("boxes")
    if isinstance(boxes, dict) and "amount" in boxes:
        x, y, w, h = (round(side) for side in boxes["amount"])
        grey = grey[max(y, 0) : y + h, max(x, 0) : x + w]
    return np.asarray(grey, np.uint8), str(entry.get("text", entry.get("amount", "")))


def lay_out(strips: Sequence[Captioned], columns: int) -> Image:
    """Return one image with `columns` strips in each row, each strip over its caption."""
    rows = -(-len(strips) // columns)
    sheet = np.full((rows * (_TALL + _CAPTION), columns * _WIDE), 255, np.uint8)
    for index, (grey, caption) in enumerate(strips):
        scale = min((_TALL - 4) / grey.shape[0], (_WIDE - 6) / grey.shape[1])
        size = (max(1, int(grey.shape[1] * scale)), max(1, int(grey.shape[0] * scale)))
        y, x = (index // columns) * (_TALL + _CAPTION), (index % columns) * _WIDE
        sheet[y : y + size[1], x : x + size[0]] = cv2.resize(
            grey, size, interpolation=interpolation(scale)
        )
        at = (x + 2, y + _TALL + 12)
        cv2.putText(sheet, caption, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 0, 1, cv2.LINE_AA)
    return sheet


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the .npz sets")
    parser.add_argument("--out", type=Path, required=True, help="the PNG to write")
    parser.add_argument("--real", type=Path, help="folder of real strips to show beside them")
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    try:
        sheet = lay_out(draw_strips(options.data, options.count, options.seed), 4)
        if options.real:
            real = lay_out(real_strips(options.real, options.count, options.seed), 4)
            rows = max(len(sheet), len(real))
            halves = [np.pad(s, ((0, rows - len(s)), (0, 8))) for s in (sheet, real)]
            sheet = np.hstack(halves)
    except CounterfoilError as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.exit_code
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(options.out), sheet):
        sys.stderr.write(f"{options.out} could not be written.\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
