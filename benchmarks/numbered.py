"""Small images that carry a number, so that each can be told from all others after any decoder."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import PIL.Image

from pipeline.types import Image

WIDTH, HEIGHT = 192, 96  # pixels
MOST = 1 << 12  # numbers
_ROWS, _COLUMNS = 2, 8  # of fields, black for a bit that is set: the number, and four bits of check
_MARGIN = 8  # pixels
_BITS = _ROWS * _COLUMNS
_DARK = 128


def numbers(rng: np.random.Generator) -> Iterator[int]:
    """Yield numbers in an order of chance, none twice."""
    return iter(rng.permutation(MOST).tolist())


def draw_number(number: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> PIL.Image.Image:
    """Return an image of `size` (width, height) of mode "L" that carries `number`."""
    code = number << 4 | _check(number)
    page = np.full((HEIGHT, WIDTH), 255, np.uint8)
    for bit, (rows, columns) in enumerate(_fields(WIDTH, HEIGHT, inset=0)):
        if code >> bit & 1:
            page[rows, columns] = 0
    image = PIL.Image.fromarray(page)
    return image if size == image.size else image.resize(size)


def read_number(grey: Image) -> int | None:
    """Return the number that an image, (height, width) uint8, carries; None if it has none."""
    height, width = grey.shape
    code = 0
    for bit, (rows, columns) in enumerate(_fields(width, height, inset=0.25)):
        code |= int(grey[rows, columns].mean() < _DARK) << bit
    number, check = code >> 4, code & 15
    return number if check == _check(number) else None


def _check(number: int) -> int:
    return (number * 7 + (number >> 4) * 5 + (number >> 8) * 3 + 5) & 15


def _fields(width: int, height: int, inset: float) -> Iterator[tuple[slice, slice]]:
    """Yield rows and columns of each field; `inset` is the share left out at each side."""
    left, top = width * _MARGIN / WIDTH, height * _MARGIN / HEIGHT
    wide, high = (width - 2 * left) / _COLUMNS, (height - 2 * top) / _ROWS
    for bit in range(_BITS):
        row, column = divmod(bit, _COLUMNS)
        y, x = top + row * high, left + column * wide
        yield (
            slice(round(y + inset * high), round(y + (1 - inset) * high)),
            slice(round(x + inset * wide), round(x + (1 - inset) * wide)),
        )
