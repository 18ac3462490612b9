"""How well `cheque-in` finds the date and the amount on real cheques, in any orientation.

    python -m benchmarks.cheques [--data DIR] [--sheet PNG] [--write]

The labelled boxes were drawn by hand around a field and the print beside it, and one of them
misses its field, so the overlap is a rough measure. `--sheet` draws the boxes found on every
cheque, for inspection. Each cheque is also turned and mirrored, and the template is tried on other
pages.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from benchmarks.data import add_data_option
from core.errors import TemplateError
from pipeline.files.page import decode_page
from pipeline.geometry import corners, intersection, iou, transform_box, transform_points
from pipeline.micr import read_micr_fields
from pipeline.placing.register import Placement, register, turn_page
from pipeline.placing.strips import cut_strips
from pipeline.placing.template import Template, bundled_template
from pipeline.read import read_pages
from pipeline.readers.loaded import Readers, load_readers
from pipeline.readers.runtime import Model
from pipeline.types import Box, Image, Page

RESULTS = Path(__file__).parent / "results" / "cheques.md"
FIELDS = ("date", "amount")
SIZE = (1600, 750)  # pixels, of the page that is timed
TIMES = 30


def outcome(page: Page, template: Template) -> tuple[Placement | None, str]:
    """Return the placement of the template on a page, or the code of the refusal."""
    try:
        placement = register(page, template)
    except TemplateError as exc:
        return None, exc.code
    return placement, f"turned {placement.turn}"


def refusal(page: Page, template: Template, readers: Readers) -> str | None:
    """Return the code of the error of a page, or None if it is read."""
    error = read_pages([page], template, readers)[0].error
    return None if error is None else error.code


def overlap(folder: Path, template: Template) -> Iterator[str]:
    """Yield a row for each field: the overlap of the labelled boxes with those found."""
    shared: dict[str, list[tuple[float, float]]] = {name: [] for name in FIELDS}
    for item in json.loads((folder / "labels.json").read_text("utf-8")):
        page = decode_page((folder / item["file"]).read_bytes())
        placement, _ = outcome(page, template)
        for spec in template.fields:
            if placement is None or spec.name not in item["boxes"]:
                continue
            label = Box(*item["boxes"][spec.name])
            found = transform_box(placement.matrix, placement.box(spec))
            both = intersection(label, found)
            inside = 0.0 if both is None else both.w * both.h / (found.w * found.h)
            shared[spec.name].append((iou(label, found), inside))
    for name, pairs in shared.items():
        overlaps, insides = np.array(pairs).T
        yield (
            f"| {name} | {len(pairs)} | {np.median(overlaps):.2f}, {overlaps.min():.2f} "
            f"| {np.median(insides):.2f}, {insides.min():.2f} |"
        )


def ways_round(pages: list[Page], template: Template) -> Iterator[str]:
    """Yield a row for each orientation: how many pages are handled correctly."""
    for mirrored in (False, True):
        for turn in range(4):
            right = 0
            for page in pages:
                shown = Page(np.ascontiguousarray(page.grey[:, ::-1])) if mirrored else page
                said = outcome(turn_page(shown, turn), template)[1]
                right += said == ("mirrored-page" if mirrored else f"turned {-turn % 4}")
            way = f"turned {90 * turn}°" + (", mirrored" if mirrored else "")
            yield f"| {way} | {right}/{len(pages)} |"


def others(data: Path) -> Iterator[tuple[str, Page]]:
    """Yield pages that are not Indian cheques."""
    forms = data / "forms"
    yield "NIST form", decode_page((forms / "nist_hsf_w4164.png").read_bytes())
    for path in sorted((data / "checks_us" / "images").iterdir()):
        yield f"US cheque {path.stem}", decode_page(path.read_bytes())
    amounts = sorted((data / "courtesy_amounts" / "images").iterdir())[:20:2]
    for path in amounts:
        yield f"amount {path.stem}", decode_page(path.read_bytes())
    noise = np.random.default_rng(0).integers(0, 256, SIZE[::-1], np.uint8)
    yield "white page", Page(np.full(SIZE[::-1], 255, np.uint8))
    yield "noise", Page(noise)
    squares = np.kron(np.indices((15, 32)).sum(axis=0) % 2, np.ones((50, 50))) * 255
    yield "squares", Page(squares.astype(np.uint8))
    for path in sorted((Path(__file__).parents[1] / "demo" / "samples").glob("*cheque*.jpg")):
        yield f"demo {path.stem}", decode_page(path.read_bytes())


def timed(page: Page, template: Template, model: Model) -> Iterator[str]:
    """Yield the CPU milliseconds of each stage on one page: least and median of many runs."""
    grey = cv2.resize(page.grey, SIZE, interpolation=cv2.INTER_AREA)
    page = Page(np.asarray(grey, np.uint8))
    placement = register(page, template)
    stages = (
        ("register", lambda: register(page, template)),
        ("cut", lambda: cut_strips(page, template, placement)),
        ("E-13B line", lambda: read_micr_fields(page, template, placement, model)),
    )
    for name, stage in stages:
        spent = []
        for _ in range(TIMES):
            begin = time.process_time()
            stage()
            spent.append(1e3 * (time.process_time() - begin))
        yield f"| {name} | {min(spent):.1f}, {np.median(spent):.1f} |"


def sheet(paths: list[Path], template: Template) -> Image:
    """Return the top right part of every cheque with the boxes found."""
    tiles = []
    for path in paths:
        page = decode_page(path.read_bytes())
        placement, said = outcome(page, template)
        width = page.grey.shape[1]
        picture = cv2.cvtColor(page.grey, cv2.COLOR_GRAY2BGR)
        for spec in template.fields if placement else ():
            if placement is not None and spec.micr is None:
                quad = transform_points(placement.matrix, corners(placement.box(spec))) - 0.5
                line = max(1, width // 1000)
                cv2.polylines(picture, [np.rint(quad).astype(np.int32)], True, (0, 0, 255), line)
        part = picture[: round(0.25 * width), round(0.6 * width) :]
        tile = cv2.resize(part, (450, 281), interpolation=cv2.INTER_AREA)
        text = f"{path.stem} {placement.score:.2f}" if placement else f"{path.stem} {said}"
        cv2.putText(tile, text, (5, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 0, 0), 1)
        tiles.append(tile)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 8)
    rows = [np.hstack(tiles[i : i + 8]) for i in range(0, len(tiles), 8)]
    return np.asarray(np.vstack(rows), np.uint8)


def report(data: Path) -> Iterator[str]:
    template, readers = bundled_template("cheque-in"), load_readers()
    folder = data / "cheques_in"
    paths = sorted((folder / "fullres").glob("*.jpg")) + sorted((folder / "images").glob("*.jpg"))
    pages = [decode_page(path.read_bytes()) for path in paths]
    yield "| field, at 640 pixels | labels | IoU: median, worst | found within label: the same |"
    yield "|---|---:|---:|---:|"
    yield from overlap(folder, template)
    scores = [placement.score for page in pages if (placement := outcome(page, template)[0])]
    fit = sum(refusal(page, template, readers) is None for page in pages)
    yield f"\n{fit} of {len(pages)} cheques are read, with scores from {min(scores):.2f}.\n"
    yield "| a cheque that lies | as it should be: turned upright, or refused as mirrored |"
    yield "|---|---:|"
    yield from ways_round(pages, template)
    said = [(name, refusal(page, template, readers)) for name, page in others(data)]
    taken = [f"{name} ({code})" for name, code in said if code != "template-mismatch"]
    refused = len(said) - len(taken)
    yield f"\nOf {len(said)} other pages {refused} are refused; not: {taken or 'none'}.\n"
    yield f"| CPU, {SIZE[0]}×{SIZE[1]} | ms: least, median |"
    yield "|---|---:|"
    yield from timed(pages[2], template, readers.micr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    add_data_option(parser)
    parser.add_argument("--sheet", type=Path, help="draw what was found into this PNG")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.sheet:
        paths = sorted((options.data / "cheques_in").glob("*/*.jpg"))
        cv2.imwrite(str(options.sheet), sheet(paths, bundled_template("cheque-in")))
        return
    text = "\n".join(report(options.data)) + "\n"
    print(text)
    if options.write:
        RESULTS.write_text(f"# Indian cheques\n\n`python -m benchmarks.cheques`\n\n{text}")


if __name__ == "__main__":
    main()
