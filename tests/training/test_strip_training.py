"""Strips as the strip reader sees them, in pools and batches, and a tiny real training run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.readers.normalise import ROWS, normalise_strip
from pipeline.types import Image
from tests.processes import run_python
from training.strip.pool import Pool, join_strips, load_pool, save_pool
from training.strip.train import augment_strip, batches, min_ctc_steps
from training.synthesis.digit_strips import Shadow, compose_strip


def digits(count: int) -> list[np.ndarray]:
    """Upright bars: enough of a digit for what is tested here."""
    bar = np.zeros((28, 28), np.uint8)
    bar[4:24, 12:16] = 255
    return [bar] * count


def pool(count: int) -> Pool:
    rng = np.random.default_rng(1)
    strips = [
        (normalise_strip(compose_strip(digits(1 + n % 5), 30, rng)), "1" * (1 + n % 5))
        for n in range(count)
    ]
    return join_strips(strips)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 900),
    level=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_image_becomes_a_strip(height: int, width: int, level: bool, seed: int) -> None:
    grey = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
    strip = normalise_strip(grey, level=level)
    assert strip.shape[0] == ROWS
    assert 32 <= strip.shape[1] <= 512
    assert strip.shape[1] % 16 == 0


def bars(height: int, top: float, bottom: float) -> Image:
    """Upright strokes between two shares of the height, and a speck above and one below them."""
    grey = np.full((height, 5 * height), 230, np.uint8)
    for left in range(height, 4 * height, height // 2):
        grey[round(top * height) : round(bottom * height), left : left + height // 8] = 40
    grey[0, height], grey[-1, 2 * height] = 40, 40
    return grey


def written_rows(strip: Image) -> NDArray[np.intp]:
    """The rows that hold three strokes or more."""
    return np.flatnonzero((strip > 96).sum(axis=1) > 5)


@pytest.mark.parametrize("height", [24, 64, 160])
@pytest.mark.parametrize(("top", "bottom"), [(0.0, 1.0), (0.05, 0.45), (0.5, 0.9)])
def test_levelled_writing_is_in_the_middle_and_of_a_usual_height(
    top: float, bottom: float, height: int
) -> None:
    grey = bars(height, top, bottom)
    before, after = (
        written_rows(normalise_strip(grey)),
        written_rows(normalise_strip(grey, level=True)),
    )
    assert 18 <= len(after) <= 25
    assert abs(len(after) - 20) <= abs(len(before) - 20)
    assert abs(after.mean() - (ROWS - 1) / 2) < 1.5


def test_a_rule_says_nothing_of_the_height_of_writing() -> None:
    grey = bars(64, 0.1, 0.5)
    alone = written_rows(normalise_strip(grey, level=True))
    grey[56:59, 64:256] = 40
    ruled = normalise_strip(grey, level=True)[:27]
    assert abs(len(written_rows(ruled)) - len(alone)) <= 1


def test_levelling_empty_paper_leaves_it_empty() -> None:
    assert not normalise_strip(np.full((40, 200), 230, np.uint8), level=True).any()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("height", [20, 60, 180])
def test_paper_is_dark_and_ink_is_bright_at_any_size(height: int, dark: bool) -> None:
    rng = np.random.default_rng(3)
    shadow: Shadow = "none" if dark else "edge"
    grey = compose_strip(digits(4), height, rng, noise=4, shadow=shadow, dark_paper=dark)
    strip = normalise_strip(grey)
    columns = strip.max(axis=0) > 128
    assert np.count_nonzero(np.diff(columns.astype(int)) == 1) == 4  # four bars stand out
    assert np.median(strip) < 32
    rows = np.flatnonzero((strip > 128).any(axis=1))
    assert rows[-1] - rows[0] >= 0.6 * ROWS  # cropped to the ink, whatever room was around it


def test_faint_texture_is_not_made_ink() -> None:
    grey = np.random.default_rng(2).normal(220, 3, (40, 200)).clip(0, 255).astype(np.uint8)
    assert np.percentile(normalise_strip(grey), 99) < 128


def test_a_pool_comes_back_from_its_file(tmp_path: Path) -> None:
    made = pool(7)
    save_pool(tmp_path / "pool.npz", made)
    kept = load_pool(tmp_path / "pool.npz")
    assert [str(text) for text in kept.texts] == [str(text) for text in made.texts]
    np.testing.assert_array_equal(kept.strip(3), made.strip(3))


def test_each_strip_is_in_one_batch_with_its_text() -> None:
    made = pool(33)
    seen = []
    for images, labels in batches(made, 8, np.random.default_rng(5)):
        assert images.max() <= 1
        for image, row in zip(images, labels, strict=True):
            bars = np.count_nonzero(np.diff((image[..., 0].max(axis=0) > 0.5).astype(int)) == 1)
            assert bars == np.count_nonzero(row)
            seen.append(bars)
    assert len(seen) == 33


def test_a_step_is_wanted_for_each_character_and_between_equal_ones() -> None:
    assert min_ctc_steps("1123") == 5


@given(seed=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_what_is_changed_keeps_its_ink(seed: int) -> None:
    """Digits that are high already are not drawn out beyond the strip, nor too narrow to tell."""
    strip, text = np.zeros((ROWS, 64), np.uint8), "11111"
    for left in range(8, 60, 10):
        strip[3:28, left : left + 2] = 255
    out = augment_strip(strip, text, np.random.default_rng(seed))
    assert out.shape[0] == ROWS
    assert out.shape[1] >= 4 * min_ctc_steps(text)
    inked = (out > 100).mean(axis=1)
    rows = np.flatnonzero(inked > 0.5 * inked.max())
    assert rows[0] > 0 or rows[-1] < ROWS - 1


GROWN = """
import numpy as np
from training.strip.network import LAYOUTS, build_strip_network, grow
networks = [build_strip_network(LAYOUTS[name]) for name in ("narrow", "deep", "wide")]
image = np.random.default_rng(1).random((2, 32, 96, 1), np.float32)
for small, large in zip(networks, networks[1:]):
    grow(large, small)
    print(np.corrcoef(np.ravel(small(image)), np.ravel(large(image)))[0, 1])
    try:
        grow(small, large)
    except ValueError as exc:
        print(exc)
"""


@pytest.mark.slow
def test_a_grown_network_begins_as_the_smaller_one() -> None:
    done = run_python(GROWN, how="-c")
    assert done.returncode == 0, done.stderr
    deeper, refused, wider, refused_too = done.stdout.splitlines()
    assert float(deeper) > 0.95  # two networks begun at random: -0.5 to 0.3
    assert float(wider) > 0.9999
    assert "has no place" in refused
    assert "has no place" in refused_too


@pytest.mark.slow
def test_a_tiny_run_trains(data_dir: Path, tmp_path: Path) -> None:
    options = ["--strips", "64", "--validation", "20", "--epochs", "2", "--layout", "small"]
    options += ["--batch-size", "8"]
    folders = ["--data", str(data_dir), "--out", str(tmp_path)]
    done = run_python("training.strip.train", *folders, *options)
    assert done.returncode == 0, done.stderr
    history = json.loads((tmp_path / "history.json").read_text(encoding="utf-8"))
    assert len(history) == 2
    assert history[1]["loss"] < 0.9 * history[0]["loss"]
    assert (tmp_path / "best.weights.h5").is_file()
    assert str(data_dir) not in (tmp_path / "run.json").read_text(encoding="utf-8")
