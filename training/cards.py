"""Model cards: the JSON file beside each set of weights. Also where the bundled weights live."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.readers.runtime import ModelCard

SHIPPED = Path(__file__).resolve().parent.parent / "pipeline" / "readers" / "weights"
PRECISION = "int8 weights and activations, float32 logits"


def card_of(
    name: str, weights: bytes, input_shape: tuple[int, ...], classes: str, temperature: float
) -> ModelCard:
    """Return the card that the runtime needs for LiteRT weights trained on pixels times 1/255."""
    return ModelCard(
        name=name,
        sha256=hashlib.sha256(weights).hexdigest(),
        input_shape=input_shape,
        classes=classes,
        scaling=1 / 255,
        temperature=temperature,
    )


def card_text(card: ModelCard, **more: Any) -> str:
    """Return the card as JSON: first what the runtime needs, then everything else in `more`."""
    about = {
        "name": card.name,
        "sha256": card.sha256,
        "input_shape": list(card.input_shape),
        "scaling": card.scaling,
        "classes": card.classes,
        "temperature": card.temperature,
        **more,
    }
    return json.dumps(about, indent=2, ensure_ascii=False) + "\n"


def install(run: Path, names: Iterable[str], folder: Path = SHIPPED) -> None:
    """Copy files of an exported run over the bundled ones."""
    for name in names:
        shutil.copyfile(run / name, folder / name)
