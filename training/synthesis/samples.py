"""Draw the bundled sample batch: `python -m training.synthesis.samples --data DIR --out DIR`.

The same digits and the same seed give the same files. `truth.json` holds what is written on each
page; the demo compares its readings with it.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from core.errors import ConfigError
from pipeline.placing.template import bundled_template
from training.synthesis import cheque, form
from training.synthesis.hand import DigitSet, load_mnist
from training.synthesis.paper import Picture
from training.synthesis.scan import bilevel, scan

NIST_FORM = "nist_hsf_w4164"
LOOSE_CHEQUES, ZIPPED_CHEQUES, TIFF_FORMS, PDF_FORMS = 4, 2, 3, 2


def draw_samples(digits: DigitSet, nist: Path, out: Path, *, seed: int = 2) -> list[dict[str, Any]]:
    """Write the sample files and `truth.json` into `out`; return the truth, one dict for each page.

    `nist` is the folder with the NIST form and its text.
    """
    rng = np.random.default_rng(seed)
    out.mkdir(parents=True, exist_ok=True)
    truth: list[dict[str, Any]] = []
    values = (nist / f"{NIST_FORM}.txt").read_text().split()
    shutil.copyfile(nist / f"{NIST_FORM}.png", out / "nist-form.png")
    names = [field.name for field in bundled_template("nist-hsf").fields]
    fields = dict(zip(names, values, strict=True))
    truth.append(_page("nist-form.png", 1, "nist-hsf", fields))

    cheques = [_draw_cheque(digits, rng) for _ in range(LOOSE_CHEQUES + ZIPPED_CHEQUES)]
    for i, (picture, fields) in enumerate(cheques[:LOOSE_CHEQUES], 1):
        name = f"cheque-{i}.jpg"
        (out / name).write_bytes(_jpeg(picture, quality=72))
        truth.append(_page(name, 1, "demo-cheque", fields))
    with zipfile.ZipFile(out / "cheques.zip", "w") as bundle:
        for i, (picture, fields) in enumerate(cheques[LOOSE_CHEQUES:], 1):
            # ZipInfo has a fixed date by default, so that the bytes are reproducible.
            member = zipfile.ZipInfo(f"teller-3/cheque-{i}.jpg")
            bundle.writestr(member, _jpeg(picture, quality=72))
            truth.append(_page("cheques.zip", i, "demo-cheque", fields))

    forms = [_draw_form(digits, rng) for _ in range(TIFF_FORMS + PDF_FORMS)]
    frames = [
        Image.fromarray(bilevel(picture)).convert("1", dither=Image.Dither.NONE)
        for picture, _ in forms[:TIFF_FORMS]
    ]
    frames[0].save(
        out / "clinic-forms.tif",
        save_all=True,
        append_images=frames[1:],
        compression="group4",
        dpi=(form.DPI, form.DPI),
    )
    truth += [
        _page("clinic-forms.tif", i, "demo-form", fields)
        for i, (_, fields) in enumerate(forms[:TIFF_FORMS], 1)
    ]
    sheets = [
        Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
        for picture, _ in forms[TIFF_FORMS:]
    ]
    sheets[0].save(
        out / "clinic-forms.pdf",
        save_all=True,
        append_images=sheets[1:],
        resolution=form.DPI,
        quality=45,
        creationDate=None,
        modDate=None,
    )
    truth += [
        _page("clinic-forms.pdf", i, "demo-form", fields)
        for i, (_, fields) in enumerate(forms[TIFF_FORMS:], 1)
    ]
    text = ",\n".join("  " + json.dumps(page) for page in truth)
    (out / "truth.json").write_text(f"[\n{text}\n]\n")
    return truth


def _page(file: str, number: int, template: str, fields: dict[str, str]) -> dict[str, Any]:
    return {"file": file, "page": number, "template": template, "fields": fields}


def _draw_cheque(digits: DigitSet, rng: np.random.Generator) -> tuple[Picture, dict[str, str]]:
    length = int(rng.integers(2, 7))
    fields = {
        "date": _date(rng),
        "amount": str(rng.integers(10 ** (length - 1), 10**length)),
        "account": "".join(map(str, rng.integers(0, 10, 10))),
    }
    number = f"{rng.integers(10**6):06d}"
    drawn = cheque.render_cheque(
        fields["date"], fields["amount"], fields["account"], number, digits, rng
    )
    return scan(drawn, rng, skew=0.6, noise=2.5), fields


def _draw_form(digits: DigitSet, rng: np.random.Generator) -> tuple[Picture, dict[str, str]]:
    visits = int(rng.integers(120, 1400))
    tests = int(rng.integers(20, 200))
    fields = {
        "clinic": f"{rng.integers(10**6):06d}",
        "week_ending": _date(rng),
        "visits": str(visits),
        "under_five": str(visits // int(rng.integers(3, 6))),
        "vaccinated": str(rng.integers(10, 600)),
        "tests_done": str(tests),
        "tests_positive": str(tests // int(rng.integers(4, 12))),
        "referred": str(rng.integers(0, 25)),
        "births": str(rng.integers(0, 30)),
        "nets": str(rng.integers(0, 250)),
    }
    return scan(form.render_form(fields, digits, rng), rng, skew=0.8, noise=2.0), fields


def _date(rng: np.random.Generator) -> str:
    return f"{rng.integers(1, 29):02d}{rng.integers(1, 13):02d}{rng.integers(2019, 2027)}"


def _jpeg(picture: Picture, *, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(
        buffer, "JPEG", quality=quality, dpi=(cheque.DPI, cheque.DPI), optimize=True
    )
    return buffer.getvalue()


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with mnist.npz and forms/")
    parser.add_argument("--out", type=Path, required=True, help="where to write, e.g. demo/samples")
    parser.add_argument("--seed", type=int, default=2)
    options = parser.parse_args()
    try:
        digits = load_mnist(options.data)
        truth = draw_samples(digits, options.data / "forms", options.out, seed=options.seed)
    except (ConfigError, OSError) as exc:
        parser.exit(2, f"{exc}\n")
    size = sum(path.stat().st_size for path in options.out.iterdir())
    print(f"{len(truth)} pages, {size / 1e6:.2f} MB in {options.out}")  # noqa: T201


if __name__ == "__main__":
    main()
