"""ConvNeXt-Tiny under a new head (Liu et al. 2022, "A ConvNet for the 2020s").

28.0 M parameters with five labels. It is written out here, as Keras' own has layers that no
saved network may have and that do not export: a learnt factor per channel closes each of its
blocks (layer scale), here multiplied into the dense layer before it, and its depthwise
convolutions are grouped ones, which TensorFlow does not compute on a CPU but through XLA. What it
computes is the same. The names are Keras' own, so its weights fit.
"""

from __future__ import annotations

import keras
from keras import layers

from training.architectures.backbones import Backbone, standardised
from training.weights import Values, values_by_name

NAME = "convnext_tiny"
# Of each stage.
DEPTHS = (3, 3, 9, 3)
WIDTHS = (96, 192, 384, 768)


def _features(pixels: keras.KerasTensor) -> keras.KerasTensor:
    features = layers.Conv2D(WIDTHS[0], 4, strides=4, name=f"{NAME}_stem_conv")(pixels)
    features = _normalised(features, f"{NAME}_stem_layernorm")
    for stage, (depth, width) in enumerate(zip(DEPTHS, WIDTHS, strict=True)):
        if stage:
            features = _halved(features, width, stage - 1)
        for block in range(depth):
            features = _block(features, f"{NAME}_stage_{stage}_block_{block}")
    return _normalised(features, f"{NAME}_layernorm")


def _halved(features: keras.KerasTensor, width: int, index: int) -> keras.KerasTensor:
    features = _normalised(features, f"{NAME}_downsampling_layernorm_{index}")
    return layers.Conv2D(width, 2, strides=2, name=f"{NAME}_downsampling_conv_{index}")(features)


def _block(features: keras.KerasTensor, name: str) -> keras.KerasTensor:
    width = features.shape[-1]
    inner = layers.DepthwiseConv2D(7, padding="same", name=f"{name}_depthwise_conv")(features)
    inner = _normalised(inner, f"{name}_layernorm")
    inner = layers.Dense(4 * width, name=f"{name}_pointwise_conv_1")(inner)
    inner = layers.Activation("gelu", name=f"{name}_gelu")(inner)
    inner = layers.Dense(width, name=f"{name}_pointwise_conv_2")(inner)
    return layers.Add(name=f"{name}_add")([features, inner])


def _normalised(features: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.LayerNormalization(epsilon=1e-6, name=name)(features)


def _values(source: keras.Model) -> Values:
    """Return the weights of Keras' ConvNeXt, or of a network of this module, as they are here."""
    given = {_here(name): values for name, values in values_by_name(source).items()}
    own = [name for name in given if name.startswith(NAME)]
    for name in filter(lambda name: name.endswith("_layer_scale"), own):
        (factors,) = given.pop(name)
        dense = name.replace("layer_scale", "pointwise_conv_2")
        given[dense] = [values * factors for values in given[dense]]
    for name in filter(lambda name: name.endswith("_depthwise_conv"), own):
        kernel, bias = given[name]
        given[name] = [kernel.reshape(*kernel.shape[:2], -1, 1), bias]  # (7, 7, 1, C) as grouped
    return given


def _here(name: str) -> str:
    """Keras gives the last normalisation a name that is counted up in a process."""
    return f"{NAME}_layernorm" if name.startswith("layer_normalization") else name


BACKBONE = Backbone(
    name=NAME,
    builder=keras.applications.ConvNeXtTiny,
    scaling=standardised,
    features=_features,
    values=_values,
)
build, prepare, freeze = BACKBONE.build, BACKBONE.prepare, BACKBONE.freeze
