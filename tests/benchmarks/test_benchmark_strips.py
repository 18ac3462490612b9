"""What the benchmarks of single readers are measured on is what they say it is."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import strip_reader
from benchmarks.courtesy import main as courtesy
from benchmarks.no_number import drawn, places_without_a_number
from benchmarks.touching import compose, draw
from pipeline.geometry import intersection
from pipeline.readers.strip import WIDTHS
from pipeline.types import Box
from training.datasets import DigitSet


@pytest.fixture(scope="module")
def digits() -> DigitSet:
    """Ten digits of each of three writers, drawn with a font."""
    images = []
    for number in range(30):
        image = np.zeros((28, 28), np.uint8)
        cv2.putText(image, str(number % 10), (5, 24), 0, 0.85, 255, 1 + number // 10)
        images.append(image)
    labels = np.arange(30, dtype=np.uint8) % 10
    return DigitSet("mnist", np.stack(images), labels, np.repeat([7, 8, 9], 10).astype(np.int32))


@pytest.mark.parametrize("length", [2, 3])
def test_touching_digits_are_one_piece_of_one_writer(digits: DigitSet, length: int) -> None:
    for strip in draw(digits, length, 20):
        assert len(strip.text) == length
        assert strip.writer in (7, 8, 9)
        ink = np.asarray(strip.grey < 180, np.uint8)
        stats = cv2.connectedComponentsWithStats(ink, connectivity=8)[2]
        areas = sorted(stats[1:, cv2.CC_STAT_AREA])
        assert sum(areas[:-1]) <= 0.02 * areas[-1], "noise apart, there is one piece"


def test_the_same_seed_draws_the_same_digits(digits: DigitSet) -> None:
    one, other = (compose(digits, 3, np.random.default_rng(5)) for _ in range(2))
    assert one.text == other.text
    assert np.array_equal(one.grey, other.grey)


def test_every_kind_of_no_number_is_drawn_always_the_same() -> None:
    strips = drawn(2)
    kinds = [strip.kind for strip in strips]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        **dict.fromkeys(("empty", "signature", "smudge", "print"), 2),
        **dict.fromkeys(("stamp", "bar code", "guilloche"), 2),
        **dict.fromkeys(("words", "filling"), 1),
    }
    again = drawn(2)
    assert all(np.array_equal(a.grey, b.grey) for a, b in zip(strips, again, strict=True))


def test_parts_without_a_number_keep_off_the_number_fields(data_dir: Path) -> None:
    for entry in json.loads((data_dir / "cheques_in" / "labels.json").read_text()):
        boxes = {name: Box(*box) for name, box in entry["boxes"].items()}
        if intersection(boxes["amount"], boxes["signature"]) is not None:
            continue  # a misplaced label
        for _, part in places_without_a_number(boxes):
            assert part.w > 20
            assert part.h > 8
            for field in ("amount", "date"):
                shared = intersection(part, boxes[field])
                assert shared is None or shared.w * shared.h < 0.03 * part.w * part.h


def test_a_half_has_to_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        courtesy([])
    assert "--half" in capsys.readouterr().err


@pytest.mark.slow
def test_strips_of_each_width_are_timed() -> None:
    strips = strip_reader.draw(2)
    assert list(strips) == list(WIDTHS)
    for narrower, (width, some) in zip((0, *WIDTHS), strips.items(), strict=False):
        assert all(narrower < image.shape[1] <= width for _, image in some)
    assert len(strip_reader.measure(8).rows) == len(WIDTHS)
