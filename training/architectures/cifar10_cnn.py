"""The network of the first ClassifyMe: six 4x4 convolutions and a dense head.

3,091,594 parameters, 2,304 of them non-trainable, in 23 layers (input and rescaling aside).
"""

from __future__ import annotations

import keras
from keras import layers


def build(
    label_count: int, *, height: int = 32, width: int = 32, l2: float = 0.0, widen: float = 1.0
) -> keras.Model:
    """Build the network: uint8-valued pixels (N, height, width, 3) in, logits (N, K) out.

    What `widen` multiplies is the number of filters and of units.
    """
    image = keras.Input((height, width, 3), name="image")
    features = layers.Rescaling(1 / 255, name="rescaling")(image)
    for filters, dropout in ((64, 0.1), (128, 0.2), (256, 0.3)):
        for _ in range(2):
            features = layers.Conv2D(
                round(widen * filters),
                4,
                padding="same",
                activation="relu",
                kernel_regularizer=keras.regularizers.L2(l2) if l2 else None,
            )(features)
            features = layers.BatchNormalization()(features)
        features = layers.MaxPooling2D(2)(features)
        features = layers.Dropout(dropout)(features)
    features = layers.Flatten()(features)
    features = layers.Dense(round(widen * 256), activation="relu")(features)
    features = layers.BatchNormalization()(features)
    features = layers.Dropout(0.5)(features)
    logits = layers.Dense(label_count, dtype="float32", name="logits")(features)
    return keras.Model(image, logits, name="cifar10_cnn")
