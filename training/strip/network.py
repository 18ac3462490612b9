"""The networks of the strip reader: an image of 32 rows in, one distribution per time step out.

A convolutional stem reduces the rows to one and the columns to a quarter. Residual convolutions
along the line then see a few characters to each side. Training uses CTC (Graves et al. 2006).
Every layer is convolutional, so one set of weights reads strips of any width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.readers.normalise import ROWS
from training.runs import layers_in

CLASSES = "0123456789."  # the point separates minor from major units
BLANK = 0  # CTC's blank is class 0, character i of CLASSES is class i + 1
CHARACTER_OF = ("", *CLASSES)  # the character of each class
COLUMNS_A_STEP = 4


@dataclass(frozen=True, slots=True)
class Layout:
    """The size of a network."""

    stem: tuple[int, int, int, int]  # filters of the four convolutions over the image
    width: int  # channels along the line
    kernels: tuple[int, ...]  # widths of the residual convolutions along the line
    deep: bool = False  # two convolutions instead of one at heights of 8 and of 4 rows
    gated: bool = False  # channels along the line are gated by their mean over the strip


# docs/training.md has the accuracy of each after the same short training, and its speed.
LAYOUTS = {
    "small": Layout((12, 24, 48, 64), 96, (3, 5, 5)),
    "narrow": Layout((16, 32, 64, 96), 144, (5, 7, 7, 5)),
    "broad": Layout((24, 32, 64, 96), 160, (3, 5, 5, 3), deep=True, gated=True),
    "deep": Layout((16, 32, 64, 96), 144, (5, 7, 7, 5), deep=True, gated=True),
    "wide": Layout((24, 48, 96, 128), 192, (5, 7, 7, 5), deep=True, gated=True),
}


def build_strip_network(
    layout: Layout, columns: int | None = None, *, precision: str = "float32"
) -> Any:
    """Return the untrained `keras.Model`: (n, 32, columns, 1) to (n, 1, columns / 4, 12) logits.

    Pixels are in [0, 1]. `columns` fixes the width, which the conversion to LiteRT needs.
    `precision` is the dtype policy of the layers; weights and logits are float32 in any case.
    """
    with layers_in(precision):
        return _build(layout, columns)


def _build(layout: Layout, columns: int | None) -> Any:
    from keras import Input, Model, layers
    from keras.initializers import Constant

    def convolve(
        x: Any, filters: int, size: tuple[int, int], gamma: float = 1.0, **options: Any
    ) -> Any:
        x = layers.Conv2D(filters, size, use_bias=False, **{"padding": "same", **options})(x)
        x = layers.BatchNormalization(gamma_initializer=Constant(gamma))(x)
        return layers.Activation("relu")(x)

    def gate(x: Any) -> Any:
        """Gate the channels by their mean over the strip (Hu et al. 2018): one hand wrote it."""
        mean = layers.GlobalAveragePooling2D(keepdims=True)(x)
        hidden = layers.Conv2D(layout.width // 4, (1, 1), activation="relu")(mean)
        share = layers.Conv2D(
            layout.width, (1, 1), activation="sigmoid", bias_initializer=Constant(2.0)
        )(hidden)
        return layers.Multiply()([x, share])

    image = Input((ROWS, columns, 1), name="image")
    a, b, c, d = layout.stem
    x = convolve(image, a, (3, 3), strides=2)
    x = layers.MaxPooling2D((2, 2))(convolve(x, b, (3, 3)))
    for filters in (c, d):
        x = convolve(x, filters, (3, 3))
        if layout.deep:
            x = layers.Add()([x, convolve(x, filters, (3, 3), gamma=0.2)])
        x = layers.MaxPooling2D((2, 1))(x)
    x = layers.Dropout(0.1)(x)
    x = convolve(x, layout.width, (2, 3), padding="valid")
    x = layers.ZeroPadding2D(((0, 0), (1, 1)))(x)
    # Wide, not dilated: TensorFlow's dilation fails when widths differ between batches.
    for kernel in layout.kernels:
        before = x
        x = convolve(x, layout.width, (1, kernel))
        if layout.gated:
            x = gate(x)
        x = layers.Add()([before, layers.Dropout(0.1)(x)])
    # Keep the axis of one row: a reshape would fix the width in LiteRT.
    x = layers.Conv2D(len(CLASSES) + 1, (1, 1), name="logits", dtype="float32")(x)
    return Model(image, x, name="strip")


def grow(network: Any, smaller: Any) -> None:
    """Give `network` the weights of a `smaller` one.

    `network` must have the layers of the smaller one in the same order; it may have more layers,
    and wider ones. The new parts change little at first: new layers are residuals and gates, and
    old channels take no input from new ones (compare Chen et al. 2016, Net2Net).
    """
    own = iter(_in_order(network))
    for layer in _in_order(smaller):
        match = next((other for other in own if _holds(other, layer)), None)
        if match is None:
            raise ValueError(f"{layer.name} has no place in the larger network")
        pairs = zip(match.get_weights(), layer.get_weights(), strict=True)
        match.set_weights([_grown(larger, weights) for larger, weights in pairs])


def _holds(layer: Any, smaller: Any) -> bool:
    """Return whether `layer` equals `smaller` except that it may have more channels."""
    if len(layer.weights) != len(smaller.weights):
        return False
    shapes = [(a.shape, b.shape) for a, b in zip(layer.weights, smaller.weights, strict=True)]
    return (layer.name == "logits") == (smaller.name == "logits") and all(
        len(own) == len(other)
        and own[:-2] == other[:-2]  # the size of the kernel; the other axes are channels
        and all(a >= b for a, b in zip(own, other, strict=True))
        for own, other in shapes
    )


def _grown(larger: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `larger` with `weights` in its first channels, which get no input from the others."""
    out = larger.copy()
    out[..., : weights.shape[-1]] = 0
    out[tuple(slice(length) for length in weights.shape)] = weights
    return out


def _in_order(network: Any) -> list[Any]:
    """Return the layers with weights, from the image to the logits."""
    return [layer for layer in network.layers if layer.weights]
