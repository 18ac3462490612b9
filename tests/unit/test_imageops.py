"""Quantiles are those of numpy and statistics, and sizes, tones and paper are as stated."""

from __future__ import annotations

import statistics
from typing import Literal

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline import imageops
from pipeline.types import Image

images = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=20))
rows_of_tones = st.lists(st.integers(0, 255), min_size=1, max_size=60)
# Shares for which share * n is exact: of others numpy and Python may round to different places.
exact_shares = st.integers(0, 64).map(lambda part: part / 64)


@given(images)
def test_a_histogram_counts_each_tone(image: Image) -> None:
    counts = imageops.histogram(image)
    np.testing.assert_array_equal(counts, np.bincount(image.ravel(), minlength=256))
    assert imageops.cumulative_histogram(image)[-1] == image.size


@pytest.mark.parametrize("method", ["linear", "lower", "inverted_cdf"])
@given(tones=rows_of_tones, share=exact_shares)
def test_a_quantile_is_that_of_numpy(
    tones: list[int], share: float, method: Literal["linear", "lower", "inverted_cdf"]
) -> None:
    image = np.array([tones], np.uint8)
    found = imageops.quantile(imageops.cumulative_histogram(image), share, method)
    assert found == pytest.approx(np.quantile(image, share, method=method), abs=1e-9)


@given(rows_of_tones)
def test_a_grouped_median_is_that_of_statistics(tones: list[int]) -> None:
    counts = imageops.cumulative_histogram(np.array([tones], np.uint8))
    # Between two groups any value up to the next one is a median.
    low = min(statistics.median_grouped(tones), statistics.median_low(tones) + 0.5)
    assert low <= imageops.grouped_quantile(counts, 0.5) + 1e-9
    assert imageops.grouped_quantile(counts, 0.5) <= statistics.median_grouped(tones) + 1e-9


@given(rows_of_tones)
def test_a_grouped_quantile_rises_with_its_share(tones: list[int]) -> None:
    counts = imageops.cumulative_histogram(np.array([tones], np.uint8))
    found = [imageops.grouped_quantile(counts, part / 10) for part in range(11)]
    assert found == sorted(found)
    assert found[10] == max(tones) + 0.5


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_medians_are_those_of_statistics(values: list[float]) -> None:
    array = np.array(values)
    assert imageops.median(array) == np.median(array)
    assert imageops.median_high(array) == statistics.median_high(values)
    assert [imageops.kth_smallest(array, k) for k in range(len(values))] == sorted(values)


@given(images, st.floats(0.05, 3.0))
def test_resizing_scales_both_sides_and_keeps_one_tone(image: Image, scale: float) -> None:
    resized = imageops.resize(image, scale)
    assert resized.shape == tuple(max(1, round(side * scale)) for side in image.shape)
    flat = imageops.resize(np.full_like(image, 77), scale)
    assert set(np.unique(flat).tolist()) == {77}
    assert imageops.resize(image, 1.0) is image


@given(images, st.integers(1, 30), st.integers(1, 30))
def test_resizing_to_a_size_stays_between_the_tones(image: Image, columns: int, rows: int) -> None:
    resized = imageops.resize_to(image, (columns, rows))
    assert resized.shape == (rows, columns)
    assert image.min() <= resized.min() <= resized.max() <= image.max()  # linear: no ringing
    assert imageops.resize_to(image, image.shape[::-1]) is image


def test_reducing_averages() -> None:
    stripes = np.tile(np.array([0, 200], np.uint8), (8, 20))
    assert set(np.unique(imageops.resize(stripes, 0.5)).tolist()) == {100}
    assert set(np.unique(imageops.resize_to(stripes, (20, 8))).tolist()) == {100}


@given(st.integers(40, 255), st.floats(0, 1), st.floats(0.3, 1.0))
def test_darkness_is_the_same_in_a_shadow(tone: int, ink: float, shadow: float) -> None:
    paper = np.full((2, 2), tone, np.uint8)
    light = imageops.relative_darkness(
        (paper * (1 - ink)).astype(np.uint8), paper, least_light=8
    ).astype(int)
    shaded = (paper * shadow).astype(np.uint8)
    dark = imageops.relative_darkness(
        (shaded * (1 - ink)).astype(np.uint8), shaded, least_light=8
    ).astype(int)
    assert np.abs(light - 255 * ink).max() <= 255 / tone + 1
    assert np.abs(dark - 255 * ink).max() <= 255 / shaded.min() + 1


def test_darkness_of_what_is_lighter_is_none_and_of_black_paper_little() -> None:
    white, black = np.full((1, 1), 200, np.uint8), np.full((1, 1), 2, np.uint8)
    assert imageops.relative_darkness(white, black, least_light=16)[0, 0] == 0
    none = np.zeros((1, 1), np.uint8)
    assert imageops.relative_darkness(none, black, least_light=16)[0, 0] == round(255 * 2 / 16)


@settings(max_examples=50)
@given(
    paper_tone=st.integers(0, 255),
    ink_tone=st.integers(0, 255),
    inked=arrays.arrays(np.bool_, (12, 30)),
    window=st.sampled_from([3, 9, 31]),
)
def test_what_is_filled_has_the_tone_of_the_paper(
    paper_tone: int, ink_tone: int, inked: np.ndarray, window: int
) -> None:
    grey = np.where(inked, ink_tone, paper_tone).astype(np.uint8)
    before = grey.copy()
    filled = imageops.fill_with_paper(
        grey, inked, ~inked, window=window, least_share=0, otherwise=paper_tone
    )
    np.testing.assert_array_equal(grey, before)
    assert np.abs(filled.astype(int) - paper_tone).max() <= 1


def test_filling_follows_the_tone_nearby_and_leaves_the_rest() -> None:
    grey = np.repeat(np.array([100, 200], np.uint8), 40)[None].repeat(20, axis=0)
    fill, kept = np.zeros(grey.shape, bool), np.zeros(grey.shape, bool)
    fill[8:12, [10, 70]] = True
    kept[8:12, 30] = True
    written = grey.copy()
    written[fill | kept] = 0
    filled = imageops.fill_with_paper(
        written, fill, ~(fill | kept), window=9, least_share=0.02, otherwise=7
    )
    assert set(filled[8:12, 10].tolist()) == {100}
    assert set(filled[8:12, 70].tolist()) == {200}
    assert set(filled[8:12, 30].tolist()) == {0}


def test_far_from_paper_another_tone_is_filled_in() -> None:
    grey, paper = np.zeros((40, 200), np.uint8), np.zeros((40, 200), bool)
    paper[:, :8] = True
    grey[paper] = 150
    filled = imageops.fill_with_paper(grey, ~paper, paper, window=9, least_share=0.02, otherwise=77)
    assert filled[20, 9] == 150
    assert filled[20, 150] == 77


@given(images)
def test_a_negative_of_a_negative_is_the_image(image: Image) -> None:
    np.testing.assert_array_equal(imageops.negative(imageops.negative(image)), image)
    np.testing.assert_array_equal(imageops.negative(image), 255 - image)


def test_cubic_enlarging_is_for_images_and_averaging_for_reducing() -> None:
    assert imageops.interpolation(0.99) == cv2.INTER_AREA
    assert imageops.interpolation(1.5) == cv2.INTER_CUBIC
