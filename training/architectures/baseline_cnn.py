"""What a tutorial starts with: three convolutions with max-pooling, and a dense layer.

Conv 32-64-128 (3x3) with ReLU, Dense 128, Dropout 0.5: 356,810 parameters for CIFAR-10. What
`widen` multiplies is the number of filters and of units; `depth` counts the convolutions.
"""

from __future__ import annotations

import keras
from keras import layers


def build(
    label_count: int,
    *,
    height: int = 32,
    width: int = 32,
    dropout: float = 0.5,
    widen: float = 1.0,
    depth: int = 3,
) -> keras.Model:
    """Build the network: uint8-valued pixels (N, height, width, 3) in, logits (N, K) out."""
    image = keras.Input((height, width, 3), name="image")
    features = layers.Rescaling(1 / 255, name="rescaling")(image)
    for index in range(1, depth + 1):
        filters = round(widen * min(128, 32 * 2 ** (index - 1)))
        features = layers.Conv2D(
            filters, 3, padding="same", activation="relu", name=f"conv{index}"
        )(features)
        features = layers.MaxPooling2D(2, name=f"pool{index}")(features)
    features = layers.Flatten(name="flatten")(features)
    features = layers.Dense(round(widen * 128), activation="relu", name="dense")(features)
    features = layers.Dropout(dropout, name="dropout")(features)
    logits = layers.Dense(label_count, dtype="float32", name="logits")(features)
    return keras.Model(image, logits, name="baseline_cnn")
