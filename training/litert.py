"""Convert Keras networks to LiteRT in float32 and int8, and read int8 layers back."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import ConfigError
from pipeline.types import Image


def require_tensorflow() -> Any:
    """Import TensorFlow, or raise a ConfigError that says what to install."""
    try:
        import tensorflow
    except ImportError as exc:
        raise ConfigError(
            "TensorFlow is not installed; writing LiteRT weights needs it.",
            hint="Install the extra `train`: pip install 'counterfoil[train]' "
            "(in a checkout: pip install -e '.[train]').",
            code="tensorflow-missing",
        ) from exc
    return tensorflow


def convert_float(network: Any) -> bytes:
    """Return the network in float32: it takes pixels times 1/255 and gives logits."""
    return _convert(_converter(network))


def convert_int8(network: Any, examples: Image) -> bytes:
    """Return the network with int8 weights and activations: uint8 pixels in, float32 logits out.

    `examples`, (n, rows, columns) uint8, must represent what will be read: the converter measures
    the ranges of the activations on them. A few hundred suffice.
    """
    tf = require_tensorflow()

    def representative() -> Iterator[list[NDArray[np.float32]]]:
        for example in examples:
            yield [example[np.newaxis, ..., np.newaxis].astype(np.float32) / np.float32(255)]

    converter = _converter(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.float32
    return _convert(converter)


def _converter(network: Any) -> Any:
    return require_tensorflow().lite.TFLiteConverter.from_keras_model(network)


def _convert(converter: Any) -> bytes:
    # TensorFlow prints its captures, and warns that the ranges are measured and not given.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return bytes(converter.convert())


def folded_layers(weights: Path) -> list[list[NDArray[np.float32]]]:
    """Return the kernel and the bias of each layer of int8 weights, the first layer first.

    Axes are in Keras's order. The conversion has folded batch normalisation into the values.
    Raises ConfigError if the file cannot be read.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(str(weights))
    except ValueError as exc:
        raise ConfigError(f"{weights} cannot be read as LiteRT weights.") from exc
    # The converter writes the last layer first, and for each layer the bias before the kernel.
    tensors = []
    for about in reversed(interpreter.get_tensor_details()):
        scales = about["quantization_parameters"]["scales"]
        if len(scales) > 1:
            held = interpreter.get_tensor(about["index"]).astype(np.float32)
            held = np.moveaxis(held * scales.reshape(-1, *[1] * (held.ndim - 1)), 0, -1)
            tensors.append(np.asarray(held, np.float32))
    return [tensors[at : at + 2] for at in range(0, len(tensors), 2)]
