"""Networks on LiteRT: the weights, and the card that describes them."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from functools import partial
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.errors import ConfigError
from pipeline.types import Image

# Images a call. Larger batches gain nothing on one thread, and the runtime plans its tensors anew
# for each batch size.
_CHUNK: Final = 16


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What must be known to use the weights; the JSON file holds more (data, licences, scores)."""

    name: str
    sha256: str  # of the .tflite file
    input_shape: tuple[int, ...]  # of one image: (28, 28, 1) of a glyph; 0 is a side of any length
    classes: str  # the character of each output; CTC's blank comes first in a strip reader's
    scaling: float  # pixels are multiplied by this, 1/255
    temperature: float  # logits are divided by this; fitted on held-out writers


def parse_card(text: str) -> ModelCard:
    """Parse the JSON of a card. Raises ConfigError where it is not a card."""
    try:
        card = json.loads(text)
        return ModelCard(
            name=str(card["name"]),
            sha256=str(card["sha256"]),
            input_shape=tuple(int(side) for side in card["input_shape"]),
            classes=str(card["classes"]),
            scaling=float(card["scaling"]),
            temperature=float(card["temperature"]),
        )
    except (ValueError, KeyError, TypeError) as exc:
        raise ConfigError(
            f"The card of the model weights cannot be used ({type(exc).__name__}: {exc}).",
            hint="Export the weights again with `counterfoil train glyphs`.",
            code="bad-weights",
        ) from exc


class Model:
    """A loaded network. Load it once a process, after the fork; calls from threads take turns."""

    def __init__(self, tflite: bytes, card: ModelCard, *, threads: int = 1) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.card = card
        self._lock = threading.Lock()
        self._make = partial(Interpreter, model_content=tflite, num_threads=threads)
        self._interpreter: Any = self._make()
        self._input: dict[str, Any] = self._interpreter.get_input_details()[0]
        self._output: dict[str, Any] = self._interpreter.get_output_details()[0]
        self._planned: tuple[
            int, ...
        ] = ()  # the shape of the batch that the tensors are allocated for
        self._room: tuple[int, ...] = ()  # the largest batch so far along each side
        shape = tuple(int(side) for side in self._input["shape"][1:])
        outputs = int(self._output["shape"][-1])
        fits = len(shape) == len(card.input_shape) and all(
            side in (0, own) for own, side in zip(shape, card.input_shape, strict=True)
        )
        if not fits or outputs != len(card.classes):
            raise ConfigError(
                f"The model weights take {shape} and give {outputs} classes, but their card "
                f"says {card.input_shape} and {len(card.classes)}.",
                code="bad-weights",
            )

    @classmethod
    def from_files(cls, tflite_bytes: bytes, card_text: str, *, threads: int = 1) -> Model:
        """Load weights with their card. Raises ConfigError where they do not belong together."""
        card = parse_card(card_text)
        found = hashlib.sha256(tflite_bytes).hexdigest()
        if found != card.sha256:
            raise ConfigError(
                f"The weights of the model {card.name!r} are not those that its card describes "
                f"(sha256 {found[:12]}…, the card says {card.sha256[:12]}…).",
                hint="Take the .tflite and the .json file from the same export.",
                code="bad-weights",
            )
        return cls(tflite_bytes, card, threads=threads)

    @classmethod
    def bundled(cls, name: str = "glyph") -> Model:
        """Load the weights `name` that come with Counterfoil."""
        folder = resources.files("pipeline.readers") / "weights"
        return cls._load(folder, name, f"No weights named {name!r} are bundled.")

    @classmethod
    def in_folder(cls, folder: Path, name: str = "strip") -> Model:
        """Load weights with their card from a folder. Raises ConfigError as `from_files` does."""
        return cls._load(folder, name, f"There are no weights named {name!r} in {folder}.")

    @classmethod
    def _load(cls, folder: Traversable, name: str, missing: str) -> Model:
        tflite, card = folder / f"{name}.tflite", folder / f"{name}.json"
        if not tflite.is_file() or not card.is_file():
            raise ConfigError(missing, code="bad-weights")
        return cls.from_files(tflite.read_bytes(), card.read_text(encoding="utf-8"))

    def logits(self, images: Image) -> NDArray[np.float32]:
        """Run the network on images, (n, rows, columns) uint8 to (n, classes) float32.

        Raises ValueError for images of another shape than the card's.
        """
        count = len(images)
        if images.dtype != np.uint8 or images.shape[1:] != self.card.input_shape[:-1]:
            needed = ("n", *self.card.input_shape[:-1])
            raise ValueError(f"images are {needed} uint8, not {images.shape} {images.dtype}")
        out = np.empty((count, len(self.card.classes)), np.float32)
        with self._lock:
            for start in range(0, count, _CHUNK):
                chunk = images[start : start + _CHUNK]
                out[start : start + len(chunk)] = self._run(chunk[..., np.newaxis])
        return out

    def probabilities(self, images: Image) -> NDArray[np.float32]:
        """Return calibrated probabilities: (n, rows, columns) uint8 to (n, classes) float32."""
        return self.calibrated(self.logits(images))

    def calibrated(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the softmax of logits, (..., classes) float32, at the card's temperature."""
        if logits.size == 0:
            return logits
        scaled = logits / np.float32(self.card.temperature)
        scaled = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
        return np.asarray(scaled / scaled.sum(axis=-1, keepdims=True), np.float32)

    def run(self, batch: Image) -> NDArray[np.float32]:
        """Run the network on one batch of its input shape, (n, rows, columns, 1) uint8."""
        with self._lock:
            return self._run(batch)

    def _run(self, batch: Image) -> NDArray[np.float32]:
        if batch.shape != self._planned:
            self._make_room(batch.shape)
            self._plan(batch.shape)
        # A network with uint8 input takes the pixels as they are: its input scale is the card's.
        pixels: NDArray[Any] = batch
        if self._input["dtype"] is not np.uint8:
            pixels = batch.astype(np.float32) * np.float32(self.card.scaling)
        self._interpreter.set_tensor(self._input["index"], pixels)
        self._interpreter.invoke()
        return np.asarray(self._interpreter.get_tensor(self._output["index"]), np.float32)

    def _make_room(self, shape: tuple[int, ...]) -> None:
        """Make a new interpreter with room for the largest batch so far, where `shape` is larger.

        When a batch grows after a run, XNNPACK plans its memory again but not that of the mean over
        an image (LiteRT 2.3: one batch in thirty was silently wrong).
        """
        room = tuple(max(sides) for sides in zip(shape, self._room or shape, strict=True))
        if room == self._room:
            return
        if self._room:  # it has run
            self._interpreter = self._make()
        self._room = room
        self._plan(room)
        self._interpreter.invoke()

    def _plan(self, shape: tuple[int, ...]) -> None:
        self._interpreter.resize_tensor_input(self._input["index"], shape)
        self._interpreter.allocate_tensors()
        self._planned = shape
