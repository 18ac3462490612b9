"""The door of the pipeline: one reading a page, errors kept with their page."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from core.errors import TemplateError
from pipeline.grammar.parse import parse_grammar
from pipeline.placing.template import bundled_template
from pipeline.read import read_pages, read_strip
from pipeline.readers.loaded import Readers, load_readers
from pipeline.types import Page
from tests.samples import NIST_FORM, written

EMPTY = Page(np.full((300, 400), 235, np.uint8))


@pytest.fixture(scope="module")
def readers() -> Readers:
    return load_readers()


def test_no_pages_give_no_readings(readers: Readers) -> None:
    assert read_pages([], None, readers) == []


def test_a_bad_page_keeps_its_error_and_the_others_go_on(readers: Readers) -> None:
    png = cv2.imencode(".png", EMPTY.grey)[1].tobytes()
    first, second, third = read_pages([png, png[:40], EMPTY], None, readers)
    assert first.error is None
    assert (first.width, first.height) == (400, 300)
    assert second.error is not None
    assert second.fields == ()
    assert third.error is None
    assert third.fields == ()


def test_too_many_pixels_is_an_error_of_the_page(readers: Readers) -> None:
    png = cv2.imencode(".png", EMPTY.grey)[1].tobytes()
    (reading,) = read_pages([png], None, readers, max_pixels=1000)
    assert reading.error is not None
    assert reading.error.code == "too-many-pixels"


def test_a_template_that_does_not_fit_is_an_error_of_the_page(readers: Readers) -> None:
    (reading,) = read_pages([EMPTY], bundled_template("nist-hsf"), readers)
    assert isinstance(reading.error, TemplateError)
    assert reading.template == "nist-hsf"
    assert reading.fields == ()


def test_each_stage_tells_when_it_ends(readers: Readers) -> None:
    ended: list[str] = []
    read_pages([EMPTY, b"no image", EMPTY], None, readers, on_stage=ended.append)
    assert ended == ["decode", "place", "decode", "place", "clean", "read"]


def test_a_strip_is_one_field_named_strip(readers: Readers) -> None:
    reading = read_strip(EMPTY, parse_grammar("digits(5)"), readers)
    (field,) = reading.fields
    assert (field.name, field.value, field.raw) == ("strip", "", "")
    assert read_strip(b"no image", parse_grammar("digits"), readers).error is not None


def test_the_nist_form_reads_by_its_template(readers: Readers) -> None:
    (reading,) = read_pages([NIST_FORM.read_bytes()], bundled_template("nist-hsf"), readers)
    truth = written(NIST_FORM.name).values()
    assert reading.error is None
    assert len(reading.fields) == len(truth)
    right = [field.value == text for field, text in zip(reading.fields, truth, strict=True)]
    assert sum(right) >= 26
    for field in reading.fields:
        assert sum(alternative.probability for alternative in field.alternatives) <= 1 + 1e-6
        assert "".join(one.text for one in field.characters) == field.value
        for one in field.characters:
            assert field.box.x - 1 <= one.box.x
            assert one.box.x + one.box.w <= field.box.x + field.box.w + 1


def test_an_empty_form_is_empty_and_its_part_off_the_page_is_not(readers: Readers) -> None:
    template = bundled_template("demo-form")
    form = np.full((2339, 1654), 250, np.uint8)
    for frame in template.frames:
        corners = np.array([[frame.x, frame.y], [frame.x + frame.w, frame.y + frame.h]])
        first, second = np.rint(corners * (1654, 2339)).astype(int).tolist()
        cv2.rectangle(form, first, second, 40.0, 3)
    cut = form[round(0.21 * 2339) :]  # through the boxes of the first row
    whole, part = read_pages([Page(form), Page(cut)], template, readers)
    assert {field.value for field in whole.fields} == {""}
    assert min(field.confidence for field in whole.fields) > 0.8
    assert part.error is None
    assert [field.value for field in part.fields] == [None, None, *[""] * 8]
    assert [field.confidence for field in part.fields[:2]] == [0.0, 0.0]


SHAPES = [(1, 1), (1, 4000), (4000, 1), (2, 2), (3, 5000), (5000, 3), (1, 40), (13, 2000), (7, 7)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["flat", "noise", "marks"])
def test_pages_of_any_shape_are_read(shape: tuple[int, int], kind: str, readers: Readers) -> None:
    grey = np.full(shape, 230, np.uint8)
    if kind == "noise":
        grey = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    if kind == "marks":
        grey[:, ::7] = 30
    page = Page(grey)
    (free,) = read_pages([page], None, readers)
    assert free.error is None
    assert (free.width, free.height) == shape[::-1]
    (filled,) = read_pages([page], bundled_template("nist-hsf"), readers)
    assert isinstance(filled.error, TemplateError)
    for grammar in ("digits", "digits(5)"):
        (field,) = read_strip(page, parse_grammar(grammar), readers).fields
        assert 0 <= field.confidence <= 1


def _numbers_on_a_page(
    folder: Path, numbers: list[str], height: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Grey page (1754, 1240) with each of `numbers` in real digits, `height` a frame, in a row."""
    with np.load(folder / "mnist.npz") as mnist:
        digits, labels = mnist["x_train"][:4000], mnist["y_train"][:4000]
    cover = np.zeros((1754, 1240), np.float32)
    for row, number in enumerate(numbers):
        y, x = 80 + row * (height + 60), int(rng.integers(60, 300))
        for char in number:
            digit = digits[rng.choice(np.flatnonzero(labels == int(char)))]
            frame = cv2.resize(digit, (height, height), interpolation=cv2.INTER_CUBIC)
            cover[y : y + height, x : x + height] = np.maximum(
                cover[y : y + height, x : x + height], frame / 255
            )
            x += round(0.85 * height)
    return np.asarray(230 - 180 * cover, np.float64)


@pytest.mark.parametrize(("height", "noise"), [(40, 0), (40, 8), (72, 4)])
@pytest.mark.parametrize("boxed", [False, True])
def test_every_number_on_a_page_is_found_without_a_template(
    height: int, noise: float, boxed: bool, readers: Readers, digits_dir: Path
) -> None:
    rng = np.random.default_rng(height)
    lengths = [1, 2, 3, 5, 6, 8, 10, 4]
    numbers = ["".join(map(str, rng.integers(0, 10, length))) for length in lengths]
    grey = _numbers_on_a_page(digits_dir, numbers, height, rng)
    if boxed:
        for row in range(len(numbers)):
            y = 80 + row * (height + 60)
            cv2.rectangle(grey, (40, y - 8), (1200, y + height + 8), 60.0, 3)
    page = Page(np.clip(grey + rng.normal(0, noise, grey.shape), 0, 255).astype(np.uint8))
    (reading,) = read_pages([page], None, readers)
    assert [len(field.value or "") for field in reading.fields] == lengths
    right = [field.value == number for field, number in zip(reading.fields, numbers, strict=True)]
    assert sum(right) >= 6
