"""Reading E-13B lines: rendered at many resolutions, real, and not there at all."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.files.page import decode_page
from pipeline.readers.micr import CLASSES, read_micr
from pipeline.readers.micr_line import CELL_COLUMNS, CELL_ROWS, cut_cells, darkness
from pipeline.readers.runtime import Model
from pipeline.types import Image, Page
from training.synthesis.micr import CHARACTERS, Wear, draw_character, random_wear, render_line

LINE = "⑈309141⑈ 500211012⑆ 426160⑈ 31"
CHEQUE = (8.0, 3.66)  # inches


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.bundled("micr")


def _page(text: str, dpi: float, wear: Wear, seed: int = 0) -> Image:
    rng = np.random.default_rng(seed)
    return render_line(text, dpi, wear, rng, size=CHEQUE, place=(2.0, 0.3)).grey


def test_the_characters_fill_the_grid_of_the_standard() -> None:
    assert len(CHARACTERS) == 14
    widths = dict(zip("0123456789", (7, 4, 4, 5, 6, 5, 6, 5, 7, 6), strict=True))
    for character in CHARACTERS:
        columns = np.flatnonzero(draw_character(character, 10).any(axis=0))
        assert columns[-1] == 69  # set to the right
        assert round((columns[-1] - columns[0]) / 10) == widths.get(character, 7)


def test_cells_hold_their_characters_upright_in_the_middle() -> None:
    line = render_line("0" * 8, 200, Wear(turn=3, noise=0), np.random.default_rng(0))
    cells = cut_cells(darkness(line.grey), line.cells, 210)
    assert cells.shape == (8, CELL_ROWS, CELL_COLUMNS)
    mean = cells.astype(float).mean(axis=0)
    assert abs(mean - mean[::-1, ::-1]).mean() < 12  # a 0 turned by half is a 0


@pytest.mark.parametrize("dpi", [80, 100, 150, 200, 300, 600])
def test_a_clean_line_is_read_at_any_resolution(model: Model, dpi: int) -> None:
    reading = read_micr(Page(_page(LINE, dpi, Wear())), model)
    assert reading is not None
    assert reading.raw == LINE
    assert reading["cheque_number"] == "309141"
    assert reading.confidence > 0.9
    assert reading.dpi == pytest.approx(dpi, rel=0.04)
    # Where the line truly is: from 2 inches, 7 modules left of the first right edge.
    assert reading.box.x == pytest.approx(2.0 * dpi, abs=0.04 * dpi)
    assert reading.box.y + reading.box.h == pytest.approx((3.66 - 0.3) * dpi, abs=0.04 * dpi)


def test_all_characters_are_read(model: Model) -> None:
    text = "⑆021000021⑆ 9876⑉54321⑈ 1025 ⑇0000012345⑇"
    reading = read_micr(Page(_page(text, 200, Wear())), model)
    assert reading is not None
    assert reading.raw == text
    assert reading["routing_number"] == "021000021"
    assert reading["account"] == "9876-54321"
    assert reading["cheque_number"] == "1025"
    assert reading["amount"] == "0000012345"


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    st.text("0123456789", min_size=23, max_size=23), st.integers(0, 10**6), st.integers(100, 300)
)
def test_worn_lines_are_read_or_refused_never_misread(digits: str, seed: int, dpi: int) -> None:
    text = f"⑈{digits[:6]}⑈ {digits[6:15]}⑆ {digits[15:21]}⑈ {digits[21:]}"
    wear = random_wear(np.random.default_rng(seed))
    reading = read_micr(Page(_page(text, dpi, wear, seed)), Model.bundled("micr"))
    if reading is None:
        return
    true = (digits[:6], digits[6:15], digits[15:21], digits[21:])
    names = ("cheque_number", "sort_code", "account", "transaction_code")
    for name, value in zip(names, true, strict=True):
        assert reading[name] in (value, None)


def test_what_is_too_small_is_refused_rather_than_guessed(model: Model) -> None:
    for dpi in (25, 35, 45):
        reading = read_micr(Page(_page(LINE, dpi, Wear(), dpi)), model)
        assert reading is None or "?" in reading.raw or reading.raw == LINE


def test_a_blotted_character_is_refused_and_its_part_with_it(model: Model) -> None:
    grey = _page(LINE, 200, Wear()).copy()
    whole = read_micr(Page(grey), model)
    assert whole is not None
    box = whole.parts[0].box  # of six digits, of which the third is blotted
    left = box.x + box.w / 3
    grey[round(box.y) : round(box.y + box.h), round(left) : round(left + box.w / 8)] = 20
    reading = read_micr(Page(grey), model)
    assert reading is not None
    assert reading.raw == LINE[:3] + "?" + LINE[4:]
    assert reading.confidence == 0
    assert reading["cheque_number"] is None
    assert reading["sort_code"] == "500211012"


def _nothing() -> dict[str, Image]:
    rng = np.random.default_rng(0)
    written = np.full((732, 1600), 240, np.uint8)
    for row, text in enumerate(("Pay to the order of 1000", "Rupees 5002110 12 426160 31 only")):
        cv2.putText(written, text, (60, 560 + 90 * row), cv2.FONT_HERSHEY_SIMPLEX, 1.1, 20, 3)
    grid = np.full((732, 1600), 240, np.uint8)
    for column in range(0, 1600, 27):
        cv2.rectangle(grid, (column, 600), (column + 18, 625), 10, 3)
    return {
        "white": np.full((732, 1600), 255, np.uint8),
        "black": np.zeros((732, 1600), np.uint8),
        "faint noise": rng.normal(230, 6, (732, 1600)).clip(0, 255).astype(np.uint8),
        "noise": rng.integers(0, 256, (732, 1600)).astype(np.uint8),
        "binary noise": (rng.random((732, 1600)) < 0.9).astype(np.uint8) * np.uint8(255),
        "type": written,
        "a row of boxes": grid,
        "tall": rng.integers(0, 256, (6000, 40)).astype(np.uint8),
        "tiny": np.zeros((9, 9), np.uint8),
    }


@pytest.mark.parametrize("name", list(_nothing()))
def test_a_page_without_a_line_gives_none(model: Model, name: str) -> None:
    assert read_micr(Page(_nothing()[name]), model) is None


def test_the_card_names_the_classes_of_the_reader(model: Model) -> None:
    assert model.card.classes == CLASSES
    assert CLASSES[:14] == "0123456789⑆⑇⑈⑉"


REAL = {
    "083660": ("⑈083660⑈ 500025033⑆ 290062⑈ 31", "500025033", "290062"),
    "100831": ("⑈100831⑈ 500229009⑆ 551452⑈ 31", "500229009", "551452"),
    "309141": ("⑈309141⑈ 500211012⑆ 426160⑈ 31", "500211012", "426160"),
}


@pytest.mark.parametrize("number", list(REAL))
def test_real_cheques_are_read(model: Model, data_dir: Path, number: str) -> None:
    path = data_dir / "cheques_in" / "fullres" / f"{number}.jpg"
    reading = read_micr(decode_page(path.read_bytes()), model)
    raw, sort_code, account = REAL[number]
    assert reading is not None
    assert reading.raw == raw
    assert reading["cheque_number"] == number
    assert (reading["sort_code"], reading["account"]) == (sort_code, account)
    assert reading["transaction_code"] == "31"
    assert reading.dpi == pytest.approx(300, abs=6)


def test_small_pictures_of_real_cheques_are_read(model: Model, data_dir: Path) -> None:
    for path in sorted((data_dir / "cheques_in" / "images").glob("*.jpg"))[::4]:
        reading = read_micr(decode_page(path.read_bytes()), model)
        assert reading is not None
        assert reading["cheque_number"] == path.stem.removeprefix("Cheque-")
        assert reading.dpi == pytest.approx(80, abs=3)


def test_a_cheque_upside_down_or_without_its_foot_gives_none(model: Model, data_dir: Path) -> None:
    path = data_dir / "cheques_in" / "fullres" / "083660.jpg"
    grey = decode_page(path.read_bytes()).grey
    assert read_micr(Page(np.ascontiguousarray(grey[::-1, ::-1])), model) is None
    assert read_micr(Page(np.ascontiguousarray(grey[:900])), model) is None
