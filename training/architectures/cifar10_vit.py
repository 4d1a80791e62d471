"""A Vision Transformer small enough to learn CIFAR-10 from nothing on two CPU cores.

Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words", with what such a small one needs: patches
are embedded by two 3x3 convolutions instead of one 4x4 (Xiao et al. 2021, "Early Convolutions Help
Transformers See Better"), blocks normalise first, and the answer is pooled from all tokens, for
there is no class token. So the last tokens, in their places, are what explains an answer. It has
508,570 parameters for ten labels.
"""

from __future__ import annotations

import keras
from keras import layers

from training.architectures import cifar10_fast

POSITION_DEVIATION = 0.02  # of learned positions as they start, as in the paper


def build(
    label_count: int,
    *,
    height: int | None = 32,
    width: int | None = 32,
    channels: int = 96,
    depth: int = 6,
    heads: int = 3,
    expansion: int = 2,
    dropout: float = 0.0,
) -> keras.Model:
    """Build the network: uint8-valued pixels (N, height, width, 3) in, logits (N, K) out.

    It has a token for every 4x4 pixels, of `channels` numbers; `depth` blocks of attention with
    `heads` heads, and of a perceptron of `expansion` times `channels`. `dropout` is that of both.
    Positions are learned, so it takes pictures of one size only: ValueError for None.
    """
    if height is None or width is None:
        raise ValueError(f"Expected a height and a width. Received: {height}, {width}")
    image = keras.Input((height, width, 3), name="image")
    grid = _embedded(cifar10_fast.standardised(image), channels)
    _, rows, columns, _ = grid.shape
    tokens = layers.Reshape((rows * columns, channels), name="tokens")(grid)
    tokens = _placed(tokens)
    for block in range(1, depth + 1):
        tokens = _attention(tokens, heads, dropout, f"block{block}_attention")
        tokens = _perceptron(tokens, expansion, dropout, f"block{block}_perceptron")
    tokens = _normalised(tokens, "norm")
    features = layers.Reshape((rows, columns, channels), name="grid")(tokens)
    features = layers.GlobalAveragePooling2D(name="pooling")(features)
    logits = layers.Dense(label_count, dtype="float32", name="logits")(features)
    return keras.Model(image, logits, name="cifar10_vit")


def _embedded(pixels: keras.KerasTensor, channels: int) -> keras.KerasTensor:
    """Go from pixels (N, H, W, 3) to a grid (N, H / 4, W / 4, channels)."""
    grid = pixels
    for index, filters in enumerate((channels // 2, channels), start=1):
        grid = layers.Conv2D(
            filters, 3, strides=2, padding="same", use_bias=False, name=f"stem{index}"
        )(grid)
        grid = layers.BatchNormalization(name=f"stem{index}_norm")(grid)
        grid = layers.Activation("silu", name=f"stem{index}_activation")(grid)
    return grid


def _placed(tokens: keras.KerasTensor) -> keras.KerasTensor:
    """Project tokens (N, T, C) and add the learned embedding of each one's place.

    The embedding is the bias of the projection, which has one for every place: an Embedding would
    need the places' numbers as a second input of the network.
    """
    _, count, channels = tokens.shape
    return layers.EinsumDense(
        "abc,cd->abd",
        (count, channels),
        bias_axes="bd",
        bias_initializer=keras.initializers.TruncatedNormal(stddev=POSITION_DEVIATION),
        name="positions",
    )(tokens)


def _attention(
    tokens: keras.KerasTensor, heads: int, dropout: float, name: str
) -> keras.KerasTensor:
    inner = _normalised(tokens, f"{name}_norm")
    size = tokens.shape[-1] // heads
    inner = layers.MultiHeadAttention(heads, size, name=name)(inner, inner)
    inner = layers.Dropout(dropout, name=f"{name}_dropout")(inner)
    return layers.Add(name=f"{name}_add")([tokens, inner])


def _perceptron(
    tokens: keras.KerasTensor, expansion: int, dropout: float, name: str
) -> keras.KerasTensor:
    channels = tokens.shape[-1]
    inner = _normalised(tokens, f"{name}_norm")
    # SiLU for GELU, as in `cifar10_fast`: as good here, cheaper on a CPU.
    inner = layers.Dense(expansion * channels, activation="silu", name=f"{name}_wide")(inner)
    inner = layers.Dense(channels, name=name)(inner)
    inner = layers.Dropout(dropout, name=f"{name}_dropout")(inner)
    return layers.Add(name=f"{name}_add")([tokens, inner])


def _normalised(tokens: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.LayerNormalization(epsilon=1e-6, name=name)(tokens)
