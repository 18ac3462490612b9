"""The CNN of the glyph reader: the published layout, 867,434 parameters.

Keras only, so that the same file trains on any of its backends (TensorFlow, JAX).
"""

from __future__ import annotations

from typing import Any

from training.runs import layers_in

PARAMETERS = 867_434
CLASSES = "0123456789"


def build_network(precision: str = "float32") -> Any:
    """Return the untrained `keras.Model`: (n, 28, 28, 1) float in [0, 1] to (n, 10) logits.

    Three blocks of two 3x3 convolutions (32-32, 64-64, 128 filters), batch normalisation, max
    pooling and dropout 0.25, then dense 512-256-10 with batch normalisation and dropout. The
    softmax is left to the loss and to the reader, which divides the logits by a temperature first.
    Normalisation comes before the activation, where int8 conversion folds it into the weights
    (docs/training.md has the figures). `precision` is Keras's policy for its layers; weights and
    logits are in float32 under all.
    """
    with layers_in(precision):
        return _build()


def _build() -> Any:
    import keras
    from keras import layers

    def convolve(x: Any, filters: int) -> Any:
        x = layers.Conv2D(filters, 3, padding="same")(x)
        return layers.Activation("relu")(layers.BatchNormalization()(x))

    def dense(x: Any, units: int, rate: float) -> Any:
        x = layers.Activation("relu")(layers.BatchNormalization()(layers.Dense(units)(x)))
        return layers.Dropout(rate)(x)

    image = keras.Input((28, 28, 1), name="image")
    x = image
    for filters in ((32, 32), (64, 64), (128,)):
        for count in filters:
            x = convolve(x, count)
        x = layers.MaxPooling2D()(x)
        x = layers.Dropout(0.25)(x)
    x = layers.Flatten()(x)
    x = dense(x, 512, 0.5)
    x = dense(x, 256, 0.5)
    logits = layers.Dense(len(CLASSES), name="logits", dtype="float32")(x)
    return keras.Model(image, logits, name="glyph")
