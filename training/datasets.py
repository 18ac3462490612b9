"""The sets of handwritten digits: how each is stored, its terms, and what it may be used for.

Every image passes through `normalise_glyph`, the same preprocessing that reading uses.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import ConfigError, InputError
from pipeline.readers.normalise import normalise_glyph
from pipeline.types import Image

Labels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a set comes from, and whether it may train the weights that we ship."""

    name: str
    source: str
    licence: str
    may_train: bool


ORIGINS = {
    origin.name: origin
    for origin in (
        Origin(
            "mnist",
            "MNIST (LeCun, Cortes, Burges), from NIST SD-3 and SD-1; writer ids from QMNIST",
            "CC BY-SA 3.0 as commonly stated",
            True,
        ),
        Origin(
            "femnist",
            "digits of NIST Special Database 19, as drawn by FEMNIST",
            "work of the US government",
            True,
        ),
        Origin(
            "nsysu",
            "NSYSU digits: pencil digits from exam sheets, National Sun Yat-sen University",
            "ODbL 1.0 / DbCL 1.0, with attribution",
            True,
        ),
        Origin(
            "emnist",
            "EMNIST (Cohen, Afshar, Tapson, van Schaik 2017), from NIST SD-19",
            "work of the US government, as distributed by its authors",
            True,
        ),
        Origin("usps", "USPS zip-code digits, CRAN package ElemStatLearn", "test only", False),
        Origin("dida", "DIDA, Swedish records of 1800-1940", "terms unclear: test only", False),
    )
}


@dataclass(frozen=True, slots=True)
class DigitSet:
    """Digits in the form that the CNN takes."""

    name: str  # of its origin
    images: Image  # (n, 28, 28), ink 255 on 0, normalised
    labels: Labels  # (n,), 0 to 9
    writers: NDArray[np.int32] | None = None  # (n,), if the set records them

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> DigitSet:
        writers = None if self.writers is None else self.writers[index]
        return DigitSet(self.name, self.images[index], self.labels[index], writers)


def load_mnist(folder: Path, part: str) -> DigitSet:
    """MNIST with writer ids from `mnist.npz`; `part` is "train" or "test"."""
    arrays = _arrays(folder, "mnist.npz", f"x_{part}", f"y_{part}", f"writer_{part}")
    images, labels, writers = arrays
    return DigitSet("mnist", _normalise(images), labels, writers.astype(np.int32))


def load_femnist(folder: Path) -> DigitSet:
    """NIST SD-19 digits from `femnist_digits.npz`: dark on white, drawn small."""
    images, labels = _arrays(folder, "femnist_digits.npz", "x", "y")
    return DigitSet("femnist", _normalise(255 - images), labels)


def load_nsysu(folder: Path, part: str) -> DigitSet:
    """Pencil digits from `nsysu_digits.npz`: faint grey on paper that is not quite white.

    The set has no parts and no writer ids. Every fifth digit is the part "test", which never
    trains; the others are "train".
    """
    images, labels = _arrays(folder, "nsysu_digits.npz", "x", "y")
    tests = np.arange(len(labels)) % 5 == 0
    chosen = tests if part == "test" else ~tests
    return DigitSet("nsysu", _normalise(images[chosen], _off_paper), labels[chosen])


def load_usps(folder: Path, part: str) -> DigitSet:
    """USPS from `usps.npz` (16 x 16, ink bright); `part` is "train" or "test". Never trains."""
    images, labels = _arrays(folder, "usps.npz", f"x_{part}", f"y_{part}")
    return DigitSet("usps", _normalise(images), labels)


def load_dida(folder: Path) -> DigitSet:
    """DIDA from `dida_digits.npz` (64 x 64 grey paper, neighbours intruding). Never trains."""
    images, labels = _arrays(folder, "dida_digits.npz", "x", "y")
    return DigitSet("dida", _normalise(images, _off_record), labels)


def load_emnist(folder: Path, part: str, split: str = "digits") -> DigitSet:
    """EMNIST as published: `emnist-<split>-<part>-images-idx3-ubyte.gz` and its labels.

    The images are stored transposed. From a split with letters (`byclass`) only digits are kept.
    """
    stem = f"emnist-{split}-{part}"
    images = read_idx(folder / f"{stem}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{stem}-labels-idx1-ubyte.gz")
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise InputError(f"{stem}: {images.shape} images and {labels.shape} labels do not match.")
    digits = labels < 10
    upright = images[digits].transpose(0, 2, 1)
    return DigitSet("emnist", _normalise(upright), labels[digits])


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read a gzipped IDX file of unsigned bytes. Raises InputError if the file is not one."""
    try:
        raw = gzip.decompress(path.read_bytes())
    except FileNotFoundError as exc:
        raise ConfigError(
            f"{path.name} is not in {path.parent}.",
            hint="Name the folder that holds EMNIST's published gzip files.",
        ) from exc
    except (OSError, EOFError, zlib.error) as exc:
        raise InputError(f"{path.name} is not a complete gzip file ({exc}).") from exc
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise InputError(f"{path.name} is not an IDX file of unsigned bytes.")
    axes = raw[3]
    start = 4 + 4 * axes
    shape = tuple(int(side) for side in np.frombuffer(raw[4:start], ">u4"))
    if len(shape) != axes or len(raw) - start != int(np.prod(shape)):
        raise InputError(f"{path.name} is cut short: its header promises {shape} bytes.")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def check_may_train(sets: Sequence[DigitSet]) -> None:
    """Raise ConfigError if one of the sets must not train the weights that we ship."""
    for digits in sets:
        if not ORIGINS[digits.name].may_train:
            raise ConfigError(
                f"The set {digits.name!r} is for tests only ({ORIGINS[digits.name].licence}).",
                hint="Weights that are shipped must not be trained on it.",
                code="test-only-data",
            )


def split_by_writer(digits: DigitSet, fraction: float, seed: int) -> tuple[DigitSet, DigitSet]:
    """Split into (training, validation) with no writer in both.

    `fraction` is the share of the writers in the validation set.
    """
    if digits.writers is None:
        raise ConfigError(f"The set {digits.name!r} does not record who wrote its digits.")
    writers = np.unique(digits.writers)
    count = max(1, round(len(writers) * fraction))
    held_out = np.random.default_rng(seed).choice(writers, count, replace=False)
    validates = np.isin(digits.writers, held_out)
    return digits.take(~validates), digits.take(validates)


def join(sets: Sequence[DigitSet]) -> tuple[Image, Labels]:
    """Return the images and labels of several sets, concatenated."""
    return (
        np.concatenate([digits.images for digits in sets]),
        np.concatenate([digits.labels for digits in sets]).astype(np.uint8),
    )


def _arrays(folder: Path, file: str, *names: str) -> list[NDArray[np.uint8]]:
    try:
        with np.load(folder / file) as stored:
            return [stored[name] for name in names]
    except FileNotFoundError as exc:
        raise ConfigError(
            f"{file} is not in {folder}.",
            hint="Name the folder with the digit sets (--data); docs/training.md lists its files.",
            code="data-missing",
        ) from exc
    except (KeyError, ValueError, OSError) as exc:
        raise InputError(f"{file} does not hold the expected arrays ({exc}).") from exc


def _normalise(images: Image, ink_of: Callable[[Image], Image] | None = None) -> Image:
    out = np.empty((len(images), 28, 28), np.uint8)
    for index, image in enumerate(images):
        out[index] = normalise_glyph(image if ink_of is None else ink_of(image))
    return out


def _off_paper(image: Image) -> Image:
    """Return the ink of dark strokes on light, even paper; the grey of the paper becomes 0."""
    paper = float(np.percentile(image, 60))
    ink = np.clip(paper - image, 0, None)
    ink[ink < 0.15 * ink.max()] = 0
    return np.asarray(ink, np.uint8)


def _off_record(image: Image) -> Image:
    """Return the ink of the digit in the middle of a crop; neighbours at its edge are dropped."""
    smooth = cv2.GaussianBlur(image, (3, 3), 0)
    _, mask = cv2.threshold(smooth, 0, 255, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)
    count, parts, stats, centres = cv2.connectedComponentsWithStats(mask)
    side = image.shape[1]
    kept = np.zeros(count, bool)
    for part in range(1, count):
        inner = 0.2 * side < centres[part][0] < 0.8 * side
        kept[part] = inner and stats[part][cv2.CC_STAT_AREA] >= 12
    return np.where(kept[parts], mask, 0).astype(np.uint8)
