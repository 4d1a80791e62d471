"""What Grad-CAM needs of a network: where its last spatial features are, and the head behind them.

The *last spatial features* are what the last layer gives that has more than one position, before
pooling and flattening alone bring the positions together. Several of them, as in an ensemble
whose logits are averaged, count as one with the channels of all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from classifier.heads import ACTIVATIONS, Activation, Branch, Dense, Head, Scale, Step

__all__ = ["Explainable", "NotExplainable", "find", "gradient_maps"]

Tensor = Any  # a KerasTensor
_POOLS = (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)
# The sum over positions of a gradient is the same on both sides of these: what comes to a position
# of their output goes to positions of their input, divided or not.
_THINNING = (layers.MaxPooling2D, layers.AveragePooling2D)
_FLATTENING = (layers.Flatten, layers.Reshape)
_IDENTITIES = (
    *(layers.Dropout, layers.SpatialDropout2D, layers.GaussianDropout, layers.GaussianNoise),
    *(layers.AlphaDropout, layers.ActivityRegularization, layers.Identity),
)
_LEAKY_SLOPE = 0.2  # of keras.activations.leaky_relu
_ELU_ALPHA = 1.0


class NotExplainable(ValueError):
    """Grad-CAM cannot be computed for this network; `str()` says which part of it is in the way."""


@dataclass(frozen=True)
class Explainable:
    """A network that also gives what its explanation is made of; all share the same weights.

    Attributes:
        probe: pixels (N, H, W, 3) in; the network's own output, then the last spatial features
            (N, h, w, C) and the head's state (N, D) out.
        scores: pixels in; logits (N, K), also of a network that ends in softmax, then the last
            spatial features of each branch.
        head: what stands behind the features; without golden maps.
    """

    probe: keras.Model
    scores: keras.Model
    head: Head


def find(network: keras.Model) -> Explainable:
    """Return what explains a network: pixels (N, H, W, 3) in; logits or probabilities (N, K) out.

    Raises:
        NotExplainable: it has no spatial features, or a head of layers that are not known here.
    """
    pixels = keras.Input(tuple(network.inputs[0].shape[1:]), name="pixels")
    output = _flat(network, pixels)
    scores = _before_softmax(output)
    found = [_walk(tensor, weight) for tensor, weight in _summands(scores)]
    parts = _distinct([each.features for each in found])
    if len({tuple(part.shape[1:3]) for part in parts}) > 1:
        raise NotExplainable("Its branches end in spatial features of different sizes.")
    features = _joined(parts, axis=3)
    state = _joined([each.state for each in found], axis=1)
    head = Head(
        features=(int(features.shape[3]), int(features.shape[1]), int(features.shape[2])),
        state=int(state.shape[1]),
        classes=int(scores.shape[-1]),
        branches=tuple(_placed(found, parts)),
    )
    return Explainable(
        probe=keras.Model(pixels, [output, features, state]),
        scores=keras.Model(pixels, [scores, *parts]),
        head=head,
    )


def gradient_maps(
    explainable: Explainable, images: npt.NDArray[np.uint8], classes: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Return Grad-CAM by automatic differentiation: (N, h, w) for pictures (N, H, W, 3).

    `classes` names the explained one of each picture, (N,). The maps are not scaled. This is what
    the head in NumPy is proven against.
    """
    import tensorflow as tf

    pixels = tf.constant(images.astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        scores, *parts = explainable.scores(pixels, training=False)
        chosen = tf.reduce_sum(tf.gather(scores, classes, axis=1, batch_dims=1))
    total = 0.0
    for features, gradient in zip(parts, tape.gradient(chosen, parts), strict=True):
        weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
        total += tf.reduce_sum(weights * features, axis=3)
    return np.asarray(tf.nn.relu(total).numpy(), dtype=np.float32)


# -- one flat graph, whatever networks are nested in it --------------------------------------------


def _flat(network: Any, tensor: Tensor) -> Tensor:
    """Apply a network to a tensor, layer by layer, so that every inner tensor is one of the graph.

    The layers are the network's own; dense ones are parted from their activation.
    """
    if isinstance(network, keras.Sequential):
        for layer in network.layers:
            tensor = _applied(layer, tensor)
        return tensor
    whole = keras.Model(network.inputs[0], network.outputs[0])
    # What keras.models.clone_model does, which makes a network of it at once: inside of another
    # network that cannot be.
    return whole._run_through_graph(tensor, operation_fn=lambda layer: layer, call_fn=_applied)


def _applied(layer: Any, *arguments: Any, **options: Any) -> Tensor:
    if isinstance(layer, keras.Model):
        (tensor,) = arguments
        return _flat(layer, tensor[0] if isinstance(tensor, list) else tensor)
    if isinstance(layer, layers.Dense) and layer.activation is not keras.activations.linear:
        return _parted(layer, *arguments)
    return layer(*arguments, **options)


def _parted(layer: layers.Dense, tensor: Tensor) -> Tensor:
    """Apply a dense layer's sum and its activation as two layers."""
    linear = layers.Dense(
        layer.units, use_bias=layer.use_bias, dtype=layer.dtype_policy, name=f"{layer.name}_sum"
    )
    made = linear(tensor)
    linear.set_weights(layer.get_weights())
    return layers.Activation(layer.activation, dtype=layer.dtype_policy)(made)


def _origin(tensor: Tensor) -> tuple[Any, list[Tensor]]:
    """Return the layer that makes a tensor, and what it makes it of."""
    history = tensor._keras_history
    node = history.operation._inbound_nodes[history.node_index]
    return history.operation, list(node.input_tensors)


# -- the head, backwards from the logits -----------------------------------------------------------


@dataclass(frozen=True)
class _Found:
    """A branch with the tensors it starts from: features (N, h, w, C) and state (N, D)."""

    features: Tensor
    state: Tensor
    weight: float
    spread: npt.NDArray[np.float32] | None
    steps: tuple[Step, ...]


def _before_softmax(tensor: Tensor) -> Tensor:
    operation, inputs = _origin(tensor)
    is_softmax = getattr(operation, "activation", None) is keras.activations.softmax
    return inputs[0] if is_softmax or isinstance(operation, layers.Softmax) else tensor


def _summands(tensor: Tensor, weight: float = 1.0) -> Iterator[tuple[Tensor, float]]:
    """Yield the tensors whose weighted sum this one is: the logits of an ensemble's branches."""
    operation, inputs = _origin(tensor)
    if isinstance(operation, layers.Average | layers.Add):
        share = weight / len(inputs) if isinstance(operation, layers.Average) else weight
        for each in inputs:
            yield from _summands(each, share)
    else:
        yield tensor, weight


def _walk(tensor: Tensor, weight: float) -> _Found:
    """Go from logits back to where the positions come together."""
    steps: list[Step] = []
    while True:
        operation, inputs = _origin(tensor)
        if len(inputs) != 1:
            raise _unknown(operation)
        (source,) = inputs
        if isinstance(operation, _POOLS):
            state = tensor if len(tensor.shape) == 2 else layers.Flatten()(tensor)
            return _Found(_features(source), state, weight, None, tuple(reversed(steps)))
        flattened = _flattened(source)
        if isinstance(operation, layers.Dense) and flattened is not None:
            spread = _spread(operation, int(flattened.shape[3]))
            return _Found(_features(flattened), tensor, weight, spread, tuple(reversed(steps)))
        steps += _steps(operation, source)
        tensor = source


def _flattened(tensor: Tensor) -> Tensor | None:
    """Return the (N, h, w, C) of several positions that this is all numbers of, or None."""
    operation, inputs = _origin(tensor)
    while isinstance(operation, _IDENTITIES):
        operation, inputs = _origin(inputs[0])
    if not isinstance(operation, _FLATTENING) or len(inputs[0].shape) != 4:
        return None
    return inputs[0] if _positions(inputs[0]) > 1 else None


def _spread(layer: layers.Dense, channels: int) -> npt.NDArray[np.float32]:
    """Return a kernel over (h * w * C, D) summed over positions: (C, D)."""
    kernel = np.asarray(keras.ops.convert_to_numpy(layer.kernel), dtype=np.float64)
    return kernel.reshape(-1, channels, kernel.shape[1]).sum(axis=0).astype(np.float32)


def _features(tensor: Tensor) -> Tensor:
    """Return the last spatial features that lead to this tensor by thinning out alone."""
    operation, inputs = _origin(tensor)
    while isinstance(operation, (*_THINNING, *_IDENTITIES)):
        (tensor,) = inputs
        operation, inputs = _origin(tensor)
    if len(tensor.shape) != 4 or _positions(tensor) < 2:
        raise NotExplainable(f"It has no spatial features before its head ({operation.name}).")
    return tensor


def _positions(tensor: Tensor) -> int:
    _, height, width, _ = tensor.shape
    return int(height or 0) * int(width or 0)


def _steps(operation: Any, source: Tensor) -> list[Step]:
    """Return what a layer between vectors does, last step first."""
    match operation:
        case layers.Dense():
            kernel = _numbers(operation.kernel)
            return [Dense(kernel, _numbers(operation.bias) if operation.use_bias else None)]
        case layers.BatchNormalization():
            return [_normalisation(operation)]
        case layers.Rescaling():
            return [_rescaling(operation, int(source.shape[-1]))]
        case layers.Activation() | layers.ReLU() | layers.LeakyReLU() | layers.ELU():
            return _activation(operation)
    is_vector = len(source.shape) == 2 or (len(source.shape) == 4 and _positions(source) == 1)
    if is_vector and isinstance(operation, (*_IDENTITIES, *_FLATTENING)):
        return []
    raise _unknown(operation)


def _activation(operation: Any) -> list[Step]:
    name, parameter = _named(operation)
    if name == "linear":
        return []
    if name not in ACTIVATIONS:
        raise _unknown(operation, f" ({name})")
    return [Activation(name, parameter)]


def _named(operation: Any) -> tuple[str, float]:
    """Return the name in `ACTIVATIONS` of what a layer does, and its parameter."""
    match operation:
        case layers.LeakyReLU():
            return "leaky_relu", float(operation.negative_slope)
        case layers.ELU():
            return "elu", float(operation.alpha)
        case layers.ReLU():
            plain = not operation.negative_slope and not operation.threshold
            ends = {None: "relu", 6.0: "relu6"}
            return ends.get(operation.max_value, "ReLU") if plain else "ReLU", 0.0
    name = getattr(operation.activation, "__name__", "")
    return name, {"leaky_relu": _LEAKY_SLOPE, "elu": _ELU_ALPHA}.get(name, 0.0)


def _normalisation(layer: layers.BatchNormalization) -> Scale:
    deviation = np.sqrt(_numbers(layer.moving_variance) + layer.epsilon)
    factor = (_numbers(layer.gamma) if layer.scale else 1.0) / deviation
    offset = (_numbers(layer.beta) if layer.center else 0.0) - _numbers(layer.moving_mean) * factor
    return Scale(factor.astype(np.float32), offset.astype(np.float32))


def _rescaling(layer: layers.Rescaling, width: int) -> Scale:
    factor, offset = (
        np.broadcast_to(np.asarray(each, np.float32), (width,))
        for each in (layer.scale, layer.offset)
    )
    return Scale(factor, offset)


def _numbers(variable: Any) -> npt.NDArray[np.float32]:
    return np.asarray(keras.ops.convert_to_numpy(variable), dtype=np.float32)


def _unknown(operation: Any, more: str = "") -> NotExplainable:
    kind = type(operation).__name__
    return NotExplainable(f"Its head has a layer that is not known here: {kind}{more}.")


# -- branches side by side -------------------------------------------------------------------------


def _distinct(tensors: list[Tensor]) -> list[Tensor]:
    return list({id(tensor): tensor for tensor in tensors}.values())


def _joined(tensors: list[Tensor], axis: int) -> Tensor:
    return tensors[0] if len(tensors) == 1 else layers.Concatenate(axis=axis)(tensors)


def _placed(found: list[_Found], parts: list[Tensor]) -> Iterator[Branch]:
    """Yield the branches with their places among all channels and all of the state."""
    starts, at = {}, 0
    for part in parts:
        starts[id(part)] = at
        at += int(part.shape[3])
    at = 0
    for each in found:
        start, width = starts[id(each.features)], int(each.state.shape[1])
        channels = (start, start + int(each.features.shape[3]))
        yield Branch(channels, (at, at + width), each.weight, each.spread, each.steps)
        at += width
