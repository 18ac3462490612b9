"""The CNN of the glyph reader: the published layout, 867,434 parameters.

Uses Keras alone, so that it trains on any of its backends (TensorFlow, JAX).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import ConfigError
from training.litert import folded_layers
from training.runs import layers_in, load_weights

PARAMETERS = 867_434
CLASSES = "0123456789"


def build_network(precision: str = "float32") -> Any:
    """Return the untrained `keras.Model`: (n, 28, 28, 1) float in [0, 1] to (n, 10) logits.

    Three blocks of two 3x3 convolutions (32-32, 64-64, 128 filters), batch normalisation, max
    pooling and dropout 0.25, then dense 512-256-10 with batch normalisation and dropout. The
    network ends in logits: the loss applies the softmax, and so does the reader, after dividing by
    a temperature. Normalisation comes before the activation, where int8 conversion folds it into
    the weights (docs/training.md has the figures). `precision` is the dtype policy of the layers;
    weights and logits are float32 in any case.
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


def begin_from(network: Any, weights: Path, examples: NDArray[np.float32]) -> None:
    """Give `network` the weights of another run (`.h5`) or of a bundled `.tflite` file.

    Conversion to int8 folded the normalisation into the weights. Each normalisation layer gets the
    mean and spread that its input has on `examples`, (n, 28, 28, 1) in [0, 1], so that the network
    computes the same at first. Raises ConfigError if the weights cannot be read or are those of
    another network.
    """
    if weights.suffix != ".tflite":
        load_weights(network, weights)
        return
    folded = folded_layers(weights)
    values: Any = examples
    for layer in network.layers[1:]:
        own = layer.get_weights()
        if len(own) == 2:
            if not folded or [part.shape for part in folded[0]] != [part.shape for part in own]:
                raise ConfigError(f"{weights} holds the weights of another network.")
            layer.set_weights(folded.pop(0))
        elif own:
            flat = np.asarray(values, np.float32).reshape(-1, values.shape[-1])
            mean, spread = flat.mean(axis=0), flat.var(axis=0)
            layer.set_weights([np.sqrt(spread + layer.epsilon), mean, mean, spread])
        values = layer(values, training=False)
