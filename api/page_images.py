"""A cache of decoded pages, and the small images that are made from them.

Whoever verifies a page asks for the crops of all its fields at once. The page is decoded for the
first crop and kept for the others.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future

import cv2
import numpy as np

from core.errors import NotFoundError
from pipeline.types import Box, Image

MARGIN = 0.35  # of the field's height, on each side: a stroke may leave its box


class PageImages:
    """The most recently used pages, at most `max_bytes` in all. Safe for threads.

    `decode` returns the page of an object key and media type, (height, width) uint8; at most
    `at_once` threads run it at a time. A key names the batch and the hash of the bytes: its page
    never changes, and no key is shared between tenants.
    """

    def __init__(
        self, decode: Callable[[str, str], Image], *, max_bytes: int, at_once: int
    ) -> None:
        self._decode = decode
        self._max_bytes = max_bytes
        self._turn = threading.BoundedSemaphore(at_once)
        self._lock = threading.Lock()  # guards the members below
        self._kept: OrderedDict[str, Image] = OrderedDict()  # the most recently used last
        self._kept_bytes = 0
        self._coming: dict[str, Future[Image]] = {}

    def get(self, key: str, media_type: str) -> Image:
        """Return a page, as a read-only array. Raises what `decode` raises.

        Threads that ask for the same page at the same time share one decoding.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            coming = self._coming.get(key)
            if coming is None:
                decoded = self._coming[key] = Future()
        if coming is not None:
            return coming.result()
        try:
            with self._turn:
                image = self._decode(key, media_type)
            image.flags.writeable = False
        except BaseException as exc:
            with self._lock:
                del self._coming[key]
            decoded.set_exception(exc)
            raise
        with self._lock:
            self._keep(key, image)
            del self._coming[key]
        decoded.set_result(image)
        return image

    def _keep(self, key: str, image: Image) -> None:
        if image.nbytes > self._max_bytes:
            return
        self._kept[key] = image
        self._kept_bytes += image.nbytes
        while self._kept_bytes > self._max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= oldest.nbytes


def crop(page: Image, box: tuple[float, float, float, float], turn: int) -> Image:
    """Cut a field out of its page with a margin, and turn it upright.

    `box` is x, y, width and height in pixels of the page; `turn` is the number of quarter turns
    clockwise that bring the page upright. The crop ends at the edge of the page. Raises
    NotFoundError (`crop-not-found`) if nothing is left of it.
    """
    x, y, w, h = box
    margin = MARGIN * (w if turn % 2 else h) + 4
    return crop_upright(page, Box(x - margin, y - margin, w + 2 * margin, h + 2 * margin), turn)


def crop_upright(page: Image, box: Box, turn: int) -> Image:
    """Cut a box out of its page and turn it upright, as `crop` does, without a margin."""
    left, top = max(0, int(box.x)), max(0, int(box.y))
    right, bottom = max(left + 1, int(box.x + box.w)), max(top + 1, int(box.y + box.h))
    cut = page[top:bottom, left:right]
    if cut.size == 0:
        raise NotFoundError("This field has no place on its page.", code="crop-not-found")
    return np.ascontiguousarray(np.rot90(cut, -turn))


def scale_to_width(page: Image, width: int) -> Image:
    """Return a copy of the page, `width` pixels wide, with the same ratio of sides."""
    height = max(1, round(page.shape[0] * width / page.shape[1]))
    return np.asarray(cv2.resize(page, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
