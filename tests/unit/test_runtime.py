"""Running the bundled weights."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from core.errors import ConfigError
from pipeline.readers.normalise import normalise_glyph
from pipeline.readers.runtime import Model

WEIGHTS = resources.files("pipeline.readers") / "weights"


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.bundled()


def _card(**changes: object) -> str:
    card = json.loads((WEIGHTS / "glyph.json").read_text(encoding="utf-8"))
    return json.dumps({**card, **changes})


def test_weights_that_the_card_does_not_describe_are_refused() -> None:
    with pytest.raises(ConfigError, match="not those that its card describes"):
        Model.from_files((WEIGHTS / "glyph.tflite").read_bytes() + b"\0", _card())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "glyph"}'])
def test_a_card_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="card"):
        Model.from_files(b"", text)


def test_a_card_of_another_network_is_refused() -> None:
    weights = (WEIGHTS / "glyph.tflite").read_bytes()
    with pytest.raises(ConfigError, match="classes"):
        Model.from_files(weights, _card(classes="01234567"))


def test_unknown_weights_are_named() -> None:
    with pytest.raises(ConfigError, match="'none'"):
        Model.bundled("none")


def test_batches_of_any_size_agree(model: Model) -> None:
    images = np.random.default_rng(0).integers(0, 256, (300, 28, 28)).astype(np.uint8)
    together = model.probabilities(images)
    alone = np.concatenate([model.probabilities(images[i : i + 1]) for i in range(0, 300, 10)])
    assert together.shape == (300, 10)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together[::10], alone, atol=1e-6)
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-5)
    assert model.probabilities(images[:0]).shape == (0, 10)


def test_images_of_another_kind_are_refused(model: Model) -> None:
    with pytest.raises(ValueError, match="uint8"):
        model.probabilities(np.zeros((1, 28, 28), np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="uint8"):
        model.probabilities(np.zeros((1, 32, 32), np.uint8))


def test_the_temperature_changes_certainty_but_not_the_reading(model: Model) -> None:
    weights = (WEIGHTS / "glyph.tflite").read_bytes()
    images = np.random.default_rng(1).integers(0, 256, (20, 28, 28)).astype(np.uint8)
    flat = Model.from_files(weights, _card(temperature=50.0)).probabilities(images)
    assert (flat.argmax(axis=1) == model.probabilities(images).argmax(axis=1)).all()
    assert flat.max() < 0.5


def test_the_bundled_weights_read_unseen_writers(model: Model, digits_dir: Path) -> None:
    with np.load(digits_dir / "mnist.npz") as stored:
        digits, labels = stored["x_test"][:2000], stored["y_test"][:2000]
    glyphs = np.stack([normalise_glyph(digit) for digit in digits])
    right = (model.probabilities(glyphs).argmax(axis=1) == labels).mean()
    assert right >= 0.99
