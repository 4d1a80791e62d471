"""Networks trained on ImageNet, taken over by a new head. A backbone is one small module.

The graph is flat: the backbone's layers are layers of the network itself, so that its last
spatial features have a name in it, for explanations and export.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import layers

from training import weights as pretrained


@dataclass(frozen=True)
class Backbone:
    """A network of `keras.applications`, and what must be known to build on it.

    Attributes:
        name: of the architecture.
        builder: of `keras.applications`: takes input_tensor or input_shape, include_top, weights.
        scale, offset: of the pixels 0..255 it was trained on; they go into the network.
        size: height and width of the pictures that its downloaded weights are for.
        features: the layer that gives the last spatial features.
        options: arguments of the builder that change its shape, with their defaults.
    """

    name: str
    builder: Callable[..., keras.Model]
    scale: float
    offset: float
    size: int
    features: str
    options: dict[str, Any] = field(default_factory=dict)


def build(
    backbone: Backbone,
    label_count: int,
    *,
    height: int,
    width: int,
    dense: int,
    dropout: float,
    **options: Any,
) -> keras.Model:
    """Build backbone and head: uint8-valued pixels (N, height, width, 3) in, logits (N, K) out.

    The head is global average pooling, a dense layer of `dense` ReLUs, dropout, and the logits.
    """
    image = keras.Input((height, width, 3), name="image")
    pixels = layers.Rescaling(backbone.scale, offset=backbone.offset, name="rescaling")(image)
    features = _bare(backbone, input_tensor=pixels, **options).get_layer(backbone.features).output
    features = layers.GlobalAveragePooling2D(name="pooling")(features)
    features = layers.Dense(dense, activation="relu", name="dense")(features)
    features = layers.Dropout(dropout, name="dropout")(features)
    logits = layers.Dense(label_count, dtype="float32", name="logits")(features)
    return keras.Model(image, logits, name=backbone.name)


def _bare(backbone: Backbone, *, weights: str | None = None, **arguments: Any) -> keras.Model:
    with warnings.catch_warnings():
        # It says which weights would be downloaded for this size; none are, or those for `size`.
        warnings.filterwarnings("ignore", "`input_shape` is undefined", UserWarning)
        return backbone.builder(
            include_top=False, weights=weights, **{**backbone.options, **arguments}
        )


def load(backbone: Backbone, network: keras.Model, weights: str, **options: Any) -> None:
    """Set the backbone's weights; see `training.weights.load`. The head stays as it is."""
    if weights != pretrained.NONE:
        shape = (backbone.size, backbone.size, 3)
        pretrained.load(
            backbone_layers(backbone, network),
            weights,
            lambda given: _bare(backbone, weights=given, input_shape=shape, **options),
        )


def freeze(backbone: Backbone, network: keras.Model, top: int) -> None:
    """Let only the last `top` layers of the backbone learn, and the head.

    Batch normalisation stays in inference mode in all of the backbone: statistics and factors
    are those of ImageNet, which a few hundred pictures do not better.
    """
    frozen = backbone_layers(backbone, network)
    for index, layer in enumerate(frozen):
        learns = index >= len(frozen) - top
        layer.trainable = learns and not isinstance(layer, layers.BatchNormalization)


def backbone_layers(backbone: Backbone, network: keras.Model) -> list[keras.layers.Layer]:
    """Return the backbone's layers from the first after rescaling to the last features."""
    names = [layer.name for layer in network.layers]
    return list(network.layers[names.index("rescaling") + 1 : names.index(backbone.features) + 1])
