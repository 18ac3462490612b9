"""The digit sets, their terms, and how digits are varied."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from core.errors import ConfigError, InputError
from tests.samples import DATA
from training.datasets import (
    DigitSet,
    check_may_train,
    load_emnist,
    load_femnist,
    load_mnist,
    load_nsysu,
    read_idx,
    split_by_writer,
)
from training.glyph.augment import Augment


def _idx(array: NDArray[np.uint8]) -> bytes:
    header = b"\0\0\x08" + bytes([array.ndim])
    sides = struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + sides + array.tobytes())


@pytest.fixture
def emnist_dir(tmp_path: Path) -> Path:
    """EMNIST's form, made from digits of MNIST; every tenth poses as a letter."""
    with np.load(DATA / "mnist.npz") as stored:
        images, labels = stored["x_train"][:100], stored["y_train"][:100].copy()
    for split in ("digits", "byclass"):
        if split == "byclass":
            labels[::10] = 36
        stem = tmp_path / f"emnist-{split}-train"
        transposed = np.ascontiguousarray(images.transpose(0, 2, 1))
        Path(f"{stem}-images-idx3-ubyte.gz").write_bytes(_idx(transposed))
        Path(f"{stem}-labels-idx1-ubyte.gz").write_bytes(_idx(labels))
    return tmp_path


def test_emnist_comes_out_upright(emnist_dir: Path) -> None:
    emnist = load_emnist(emnist_dir, "train")
    mnist = load_mnist(DATA, "train").take(np.arange(100))
    np.testing.assert_array_equal(emnist.images, mnist.images)
    np.testing.assert_array_equal(emnist.labels, mnist.labels)


def test_of_a_split_with_letters_the_digits_are_kept(emnist_dir: Path) -> None:
    assert len(load_emnist(emnist_dir, "train", "byclass")) == 90


def test_files_that_are_missing_cut_or_other_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="emnist-digits-train-images"):
        load_emnist(tmp_path, "train")
    whole = _idx(np.zeros((5, 4), np.uint8))
    path = tmp_path / "x.gz"
    for content, words in (
        (whole[:-9], "complete gzip"),
        (b"hello", "complete gzip"),
        (gzip.compress(gzip.decompress(whole)[:-3]), "cut short"),
        (gzip.compress(b"\0\0\x0d\1\0\0\0\0"), "unsigned bytes"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=words):
            read_idx(path)
    with pytest.raises(ConfigError, match=r"mnist\.npz"):
        load_mnist(tmp_path, "train")


def test_no_writer_trains_and_validates(digits_dir: Path) -> None:
    mnist = load_mnist(digits_dir, "train")
    mnist = mnist.take(np.arange(0, len(mnist), 1 + len(mnist) // 6000))
    training, validation = split_by_writer(mnist, 0.1, seed=1)
    assert training.writers is not None
    assert validation.writers is not None
    assert not set(training.writers) & set(validation.writers)
    assert len(training) + len(validation) == len(mnist)
    assert 0.05 < len(validation) / len(mnist) < 0.2
    again = split_by_writer(mnist, 0.1, seed=1)[1]
    np.testing.assert_array_equal(again.writers, validation.writers)


def test_sets_for_tests_never_train() -> None:
    digits = DigitSet("usps", np.zeros((1, 28, 28), np.uint8), np.zeros(1, np.uint8))
    with pytest.raises(ConfigError, match="tests only"):
        check_may_train([digits])


def test_every_set_is_bright_ink_on_black(data_dir: Path) -> None:
    for digits in (load_femnist(data_dir), load_nsysu(data_dir, "train")):
        assert digits.images[:, :2].mean() < 5
        assert (digits.images.max(axis=(1, 2)) == 255).all()
        assert set(digits.labels) == set(range(10))


def test_parts_of_nsysu_do_not_overlap(data_dir: Path) -> None:
    assert len(load_nsysu(data_dir, "train")) + len(load_nsysu(data_dir, "test")) == 1890


def test_digits_are_varied_alike_from_the_same_seed() -> None:
    digits = load_mnist(DATA, "test").images
    before = digits.copy()
    augment = Augment()
    one = augment(digits, np.random.default_rng(5))
    np.testing.assert_array_equal(one, augment(digits, np.random.default_rng(5)))
    assert not np.array_equal(one, augment(digits, np.random.default_rng(6)))
    assert one.shape == digits.shape
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(digits, before)
    assert augment(digits[:0], np.random.default_rng(5)).shape == (0, 28, 28)


def test_no_ink_of_a_neighbour_in_the_batch_gets_in() -> None:
    images = np.zeros((600, 28, 28), np.uint8)
    images[::2] = 255
    varied = Augment(dropout=0)(images, np.random.default_rng(2))
    assert not varied[1::2].any()
