"""A compact network that learns CIFAR-10 in about ten epochs.

In the spirit of airbench94 (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU"):
a frozen whitening convolution, three groups of two 3x3 convolutions that start as the
identity, batch normalisation without scale, and small logits. SiLU stands in for GELU: as
good here, cheaper on a CPU, and it exports exactly. 1,973,944 parameters for ten labels.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from training.datasets.dataset import Images, Pictures

# Mean and standard deviation of CIFAR-10's training pixels, by channel, of 0..1.
MEAN = (0.4914, 0.4822, 0.4465)
DEVIATION = (0.2470, 0.2435, 0.2616)
WHITENING = "whitening"


def build(
    label_count: int,
    *,
    height: int | None = 32,
    width: int | None = 32,
    widths: tuple[int, int, int] = (64, 256, 256),
    widen: float = 1.0,
    logit_scale: float = 1 / 9,
) -> keras.Model:
    """Build the network: uint8-valued pixels (N, height, width, 3) in, logits (N, K) out.

    It is convolutional all the way: with None for height and width it takes any size from 8 up.
    `widen` multiplies the widths.
    """
    image = keras.Input((height, width, 3), name="image")
    features = standardised(image)
    first, second, third = (round(widen * filters) for filters in widths)
    logits = branch(features, label_count, (first, second, third))
    logits = layers.Rescaling(logit_scale, dtype="float32", name="logits")(logits)
    network = keras.Model(image, logits, name="cifar10_fast")
    freeze_whitening(network)
    return network


def standardised(image: keras.KerasTensor) -> keras.KerasTensor:
    """Bring pixels of 0..255 to mean 0 and deviation 1 by channel, over CIFAR-10."""
    # Not Normalization: its constants become inputs of the exported graph.
    return layers.Rescaling(
        scale=[1 / (255 * deviation) for deviation in DEVIATION],
        offset=[-mean / deviation for mean, deviation in zip(MEAN, DEVIATION, strict=True)],
        name="rescaling",
    )(image)


def branch(
    features: keras.KerasTensor, label_count: int, widths: tuple[int, int, int], prefix: str = ""
) -> keras.KerasTensor:
    """Go from standardised pixels to logits (N, K) before they are scaled."""
    features = layers.Conv2D(24, 2, name=f"{prefix}{WHITENING}")(features)
    features = layers.Activation("silu")(features)
    for index, filters in enumerate(widths, start=1):
        features = _group(features, filters, f"{prefix}group{index}")
    features = layers.GlobalMaxPooling2D(name=f"{prefix}pooling")(features)
    head = layers.Dense(
        label_count, use_bias=False, kernel_initializer=_uniform(), name=f"{prefix}head"
    )
    return head(features)


def freeze_whitening(network: keras.Model) -> None:
    """Keep the whitening kernels as `prepare` sets them."""
    for layer in network.layers:
        if layer.name.endswith(WHITENING):
            layer.kernel.trainable = False


def _group(features: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    features = _convolution(filters, f"{name}_conv1")(features)
    features = layers.MaxPooling2D(2, name=f"{name}_pool")(features)
    features = _activated(features, f"{name}_norm1")
    features = _convolution(filters, f"{name}_conv2")(features)
    return _activated(features, f"{name}_norm2")


def _convolution(filters: int, name: str) -> layers.Conv2D:
    return layers.Conv2D(
        filters, 3, padding="same", use_bias=False, kernel_initializer=_uniform(), name=name
    )


def _activated(features: keras.KerasTensor, name: str) -> keras.KerasTensor:
    features = layers.BatchNormalization(momentum=0.6, epsilon=1e-12, scale=False, name=name)(
        features
    )
    return layers.Activation("silu")(features)


def _uniform() -> keras.initializers.Initializer:
    """Uniform within 1 / sqrt(fan-in) of zero: He et al. 2015 with a gain of 1 / sqrt(3)."""
    return keras.initializers.VarianceScaling(1 / 3, mode="fan_in", distribution="uniform")


def prepare(network: keras.Model, images: Pictures) -> None:
    """Set the weights that do not start at random, from training pictures (N, H, W, 3) uint8."""
    for layer in network.layers:
        if layer.name.endswith(WHITENING):
            _whiten(layer, images[:5000])
        elif isinstance(layer, layers.Conv2D):
            _start_as_identity(layer)


def _start_as_identity(layer: layers.Conv2D) -> None:
    """Let the first filters pass their input on (Zagoruyko & Komodakis 2017, DiracNets)."""
    kernel = np.array(keras.ops.convert_to_numpy(layer.kernel))
    channels = min(kernel.shape[2], kernel.shape[3])
    kernel[..., :channels] = 0
    kernel[1, 1, np.arange(channels), np.arange(channels)] = 1
    layer.kernel.assign(kernel)


def _whiten(layer: layers.Conv2D, images: Images, epsilon: float = 5e-4) -> None:
    """Make the 2x2 convolution give the decorrelated, unit-variance parts of a patch.

    The filters are the eigenvectors of the patches' covariance over the roots of their
    eigenvalues, and the same negated (Page 2018, "How to train your ResNet", part 8).
    """
    pixels = (images / np.float32(255) - np.array(MEAN, np.float32)) / np.array(
        DEVIATION, np.float32
    )
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (2, 2), axis=(1, 2))
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 12)
    eigenvalues, eigenvectors = np.linalg.eigh(patches.T @ patches / len(patches))
    filters = (eigenvectors / np.sqrt(eigenvalues + epsilon))[:, ::-1].reshape(2, 2, 3, 12)
    layer.kernel.assign(np.concatenate([filters, -filters], axis=-1))
