"""Decoded pages: each is decoded once, the memory is bounded, a failure is not kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from api.page_images import PageImages, crop, scale_to_width
from core.errors import InputError, NotFoundError
from pipeline.files.media import PNG
from pipeline.types import Image


class Pages:
    """Decodes pages named by their size in bytes, and counts."""

    def __init__(self) -> None:
        self.decoded: list[str] = []

    def __call__(self, key: str, media_type: str) -> Image:
        self.decoded.append(key)
        if key == "bad":
            raise InputError("The image is cut off.", code="truncated")
        return np.full((1, int(key)), 7, np.uint8)


def kept(pages: Pages, *, max_bytes: int = 100, at_once: int = 2) -> PageImages:
    return PageImages(pages, max_bytes=max_bytes, at_once=at_once)


def test_what_was_used_last_is_kept() -> None:
    pages = Pages()
    images = kept(pages)
    for key in ("40", "50", "40", "20"):  # 110 bytes, and 50 was used longest ago
        assert images.get(key, PNG).shape == (1, int(key))
    images.get("40", PNG)
    images.get("20", PNG)
    assert pages.decoded == ["40", "50", "20"]
    images.get("50", PNG)
    assert pages.decoded == ["40", "50", "20", "50"]
    images.get("20", PNG)
    assert pages.decoded[4:] == []
    images.get("40", PNG)
    assert pages.decoded[4:] == ["40"]


def test_a_page_above_the_bound_is_returned_and_not_kept() -> None:
    pages = Pages()
    images = kept(pages)
    images.get("60", PNG)
    for _ in range(2):
        assert images.get("101", PNG).nbytes == 101
    images.get("60", PNG)
    assert pages.decoded == ["60", "101", "101"]


def test_a_kept_page_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        kept(Pages()).get("5", PNG)[0, 0] = 1


def test_a_failure_is_raised_and_tried_again() -> None:
    pages = Pages()
    images = kept(pages)
    for _ in range(2):
        with pytest.raises(InputError, match="cut off"):
            images.get("bad", PNG)
    assert pages.decoded == ["bad", "bad"]


def together(tasks: list[Callable[[], Image]]) -> list[Image | BaseException]:
    with ThreadPoolExecutor(len(tasks)) as pool:
        done = [pool.submit(task) for task in tasks]
    return [future.exception() or future.result() for future in done]


@pytest.mark.parametrize("key", ["10", "bad"])
def test_threads_that_ask_for_one_page_share_its_decoding(key: str) -> None:
    pages = Pages()
    asked = threading.Semaphore(0)

    def decode(key: str, media_type: str) -> Image:
        if not pages.decoded:  # the first one takes until all have asked
            for _ in range(3):
                asked.acquire()
        return pages(key, media_type)

    images = PageImages(decode, max_bytes=100, at_once=2)

    def ask() -> Image:
        asked.release()
        return images.get(key, PNG)

    answers = together([ask] * 3)
    if key == "bad":
        assert {type(answer) for answer in answers} == {InputError}
    else:
        assert all(isinstance(answer, np.ndarray) for answer in answers)
        assert len(pages.decoded) == 1


def test_no_more_pages_are_decoded_at_once_than_allowed() -> None:
    lock, running, most = threading.Lock(), 0, 0
    both = threading.Barrier(2, timeout=60)  # broken if only one may run at a time

    def decode(key: str, media_type: str) -> Image:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait()
        with lock:
            running -= 1
        return np.zeros((1, int(key)), np.uint8)

    images = PageImages(decode, max_bytes=0, at_once=2)
    answers = together([lambda n=n: images.get(str(n), PNG) for n in range(1, 9)])  # type: ignore[misc]
    assert all(isinstance(answer, np.ndarray) for answer in answers)
    assert most == 2


PAGE = np.arange(100 * 200, dtype=np.uint32).astype(np.uint8).reshape(100, 200)


def test_a_crop_ends_at_the_edge_of_the_page() -> None:
    inside = crop(PAGE, (50.0, 40.0, 30.0, 20.0), 0)
    assert np.array_equal(inside, PAGE[29:71, 39:91])  # a margin of 0.35 * 20 + 4
    corner = crop(PAGE, (190.0, 90.0, 30.0, 20.0), 0)
    assert np.array_equal(corner, PAGE[79:, 179:])
    with pytest.raises(NotFoundError):
        crop(PAGE, (300.0, 40.0, 30.0, 20.0), 0)


def test_a_small_copy_keeps_the_shape_of_the_page() -> None:
    assert scale_to_width(PAGE, 50).shape == (25, 50)
    assert scale_to_width(PAGE[:1], 16).shape == (1, 16)
