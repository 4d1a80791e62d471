"""Networks trained on ImageNet, taken over by a new head. A backbone is one small module.

The graph is flat and of built-in layers alone: the backbone's layers are layers of the network
itself, so that its last spatial features have a name in it, for explanations and export.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import layers

from training import weights as pretrained
from training.datasets.dataset import Pictures
from training.weights import Values

_MOMENTUM = 0.98  # of batch normalisation, at most, where a backbone learns from nothing
RESCALING, POOLING = "rescaling", "pooling"  # the layers before and after a backbone's own
# Of ImageNet's training pixels, red, green and blue, of 0..1.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
# The same mean as the Caffe networks have it: blue, green and red, of 0..255.
CAFFE_MEAN = (103.939, 116.779, 123.68)


def centred() -> layers.Layer:
    """Bring pixels of 0..255 to -1..1."""
    return layers.Rescaling(1 / 127.5, offset=-1.0, name=RESCALING)


def standardised() -> layers.Layer:
    """Bring pixels of 0..255 to mean 0 and deviation 1 by channel, over ImageNet."""
    # Not Normalization: its constants become inputs of the exported graph.
    return layers.Rescaling(
        [1 / (255 * deviation) for deviation in DEVIATION],
        offset=[-mean / deviation for mean, deviation in zip(MEAN, DEVIATION, strict=True)],
        name=RESCALING,
    )


def as_caffe() -> layers.Layer:
    """Turn RGB into BGR and take off ImageNet's mean, as networks first trained in Caffe had it.

    No layer of Keras turns channels round, so this is a convolution of one pixel that never learns.
    """
    return layers.Conv2D(
        3,
        1,
        kernel_initializer=keras.initializers.Constant([[0, 0, 1], [0, 1, 0], [1, 0, 0]]),
        bias_initializer=keras.initializers.Constant([-mean for mean in CAFFE_MEAN]),
        trainable=False,
        name=RESCALING,
    )


@dataclass(frozen=True)
class Backbone:
    """A network of `keras.applications`, and what must be known to build on it.

    Attributes:
        name: of the architecture.
        builder: of `keras.applications`: takes input_tensor or input_shape, include_top, weights.
        scaling: makes the layer that brings pixels of 0..255 to what it was trained on.
        size: height and width of the pictures that its downloaded weights are for.
        options: arguments of the builder that change its shape, with their defaults.
        features: from scaled pixels to the last spatial features, for a builder whose own graph
            has parts that are no built-in layers or cannot be exported.
        values: the weights of a network that the builder made, by the names of the layers here.
    """

    name: str
    builder: Callable[..., keras.Model]
    scaling: Callable[[], layers.Layer]
    size: int = 224
    options: Mapping[str, Any] = field(default_factory=dict)
    features: Callable[[keras.KerasTensor], keras.KerasTensor] | None = None
    values: Callable[[keras.Model], Values] = pretrained.values_by_name

    def build(
        self,
        label_count: int,
        *,
        height: int | None = 224,
        width: int | None = 224,
        dense: int = 256,
        dropout: float = 0.3,
        **options: Any,
    ) -> keras.Model:
        """Build backbone and head: uint8-valued pixels (N, height, width, 3) in, logits (N, K) out.

        The head is global average pooling, a dense layer of `dense` ReLUs, dropout, and the logits.
        Pictures have 32 pixels a side at least.
        """
        body = self._body(keras.Input((height, width, 3), name="image"), options)
        features = layers.GlobalAveragePooling2D(name=POOLING)(body.outputs[0])
        features = layers.Dense(dense, activation="relu", name="dense")(features)
        features = layers.Dropout(dropout, name="dropout")(features)
        logits = layers.Dense(label_count, dtype="float32", name="logits")(features)
        return keras.Model(body.inputs[0], logits, name=self.name)

    def prepare(
        self, network: keras.Model, images: Pictures, *, weights: str = "none", **options: Any
    ) -> None:
        """Set what the backbone starts from; the head stays as it is.

        `weights` is `imagenet`, a file or `none`, as `training.weights.load` has them, which says
        what it raises.
        """
        if weights == pretrained.NONE:
            self._forget_sooner(network)
        else:
            shape = (self.size, self.size, 3)
            pretrained.load(
                self.layers_of(network),
                weights,
                lambda given: self._bare(weights=given, input_shape=shape, **options),
                self.values,
            )

    def _forget_sooner(self, network: keras.Model) -> None:
        """Let the statistics of batch normalisation follow within a few hundred steps.

        At MobileNetV3's momentum of 0.999 they take thousands to leave the mean 0 and variance 1
        that they start at, and until then the network is only good at training pictures.
        """
        for layer in self.layers_of(network):
            if isinstance(layer, layers.BatchNormalization):
                layer.momentum = min(layer.momentum, _MOMENTUM)

    def freeze(self, network: keras.Model, top: int) -> None:
        """Let only the last `top` layers of the backbone learn, and the head.

        Batch normalisation stays in inference mode in all of the backbone: statistics and factors
        are those of ImageNet, which a few hundred pictures do not better.
        """
        frozen = self.layers_of(network)
        for index, layer in enumerate(frozen):
            learns = index >= len(frozen) - top
            layer.trainable = learns and not isinstance(layer, layers.BatchNormalization)

    def layers_of(self, network: keras.Model) -> list[layers.Layer]:
        """Return the backbone's layers from the first after rescaling to the last features."""
        names = [layer.name for layer in network.layers]
        return list(network.layers[names.index(RESCALING) + 1 : names.index(POOLING)])

    def _body(self, image: keras.KerasTensor, options: Mapping[str, Any]) -> keras.Model:
        """Return the network from pixels to the last spatial features."""
        pixels = self.scaling()(image)
        if self.features:
            return keras.Model(image, self.features(pixels))
        return _of_layers_alone(
            keras.Model(image, self._bare(input_tensor=pixels, **options).outputs[0])
        )

    def _bare(self, *, weights: str | None = None, **arguments: Any) -> keras.Model:
        with warnings.catch_warnings():
            # It says which weights would be downloaded for this size; none are, or those for it.
            warnings.filterwarnings("ignore", "`input_shape` is undefined", UserWarning)
            return self.builder(include_top=False, weights=weights, **{**self.options, **arguments})


def _of_layers_alone(network: keras.Model) -> keras.Model:
    """Return a network whose arithmetic between layers is layers too.

    Keras writes hard sigmoid as x + 3 and y * (1 / 6) around a ReLU; a saved network with such
    operations in it is refused where one comes from elsewhere (`training.saved_models`).
    """
    if all(isinstance(operation, layers.Layer) for operation in network.operations):
        return network
    return keras.models.clone_model(network, call_function=_called)


def _called(operation: Any, *arguments: Any, **options: Any) -> Any:
    if isinstance(operation, layers.Layer):
        return operation(*arguments, **options)
    tensor, number = arguments
    kind = type(operation).__name__
    if kind not in ("Add", "Multiply") or not isinstance(number, float):
        raise TypeError(f"Expected layers, or a number added or multiplied. Received: {operation}")
    scale, offset = (1.0, number) if kind == "Add" else (number, 0.0)
    return layers.Rescaling(scale, offset=offset, name=operation.name)(tensor)
