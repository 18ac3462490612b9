"""The network of the alteration detector: is the number on a strip struck out or overwritten?"""

from __future__ import annotations

from typing import Any

from pipeline.readers.alteration import CLASSES
from pipeline.readers.normalise import ROWS
from training.runs import layers_in


def build_network(columns: int | None = None, *, precision: str = "float32") -> Any:
    """Return the untrained `keras.Model`: (n, 32, columns, 1) to (n, 3) logits.

    Pixels are in [0, 1]. Each column votes, and the strongest vote of each feature counts, so that
    one altered digit in a long number is enough and padding does not matter. `columns` fixes the
    width, which the conversion to LiteRT needs; `precision` is the dtype policy of the layers.
    """
    with layers_in(precision):
        return _build(columns)


def _build(columns: int | None) -> Any:
    from keras import Input, Model, layers

    def convolve(x: Any, filters: int, size: tuple[int, int], **options: Any) -> Any:
        x = layers.Conv2D(filters, size, use_bias=False, **{"padding": "same", **options})(x)
        return layers.Activation("relu")(layers.BatchNormalization()(x))

    image = Input((ROWS, columns, 1), name="image")
    x = convolve(image, 12, (3, 3), strides=2)
    x = convolve(x, 24, (3, 3), strides=2)
    x = layers.Add()([x, convolve(x, 24, (3, 3))])
    x = layers.MaxPooling2D((2, 1))(convolve(x, 32, (3, 3)))
    x = layers.Add()([x, convolve(x, 32, (3, 3))])
    x = layers.MaxPooling2D((2, 2))(convolve(x, 48, (3, 3)))
    x = convolve(x, 64, (2, 3), padding="valid")
    for _ in range(2):  # a stroke is told from a border by how far it runs
        x = layers.Add()([x, layers.Dropout(0.1)(convolve(x, 64, (1, 5)))])
    x = layers.GlobalMaxPooling2D()(x)
    x = layers.Dropout(0.2)(x)
    x = layers.Dense(len(CLASSES), name="logits", dtype="float32")(x)
    return Model(image, x, name="alteration")
