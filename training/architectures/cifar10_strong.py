"""Several networks of `cifar10_fast` side by side, whose logits are averaged.

Networks that started differently err differently: their mean is right more often than one
network of the same cost, and its confidence is closer to the truth (Lakshminarayanan et al. 2017,
"Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles"). Each branch learns
from a loss of its own, as if it were alone. 5,921,832 parameters for ten labels.
"""

from __future__ import annotations

import keras
from keras import layers

from training.architectures import cifar10_fast
from training.architectures.cifar10_fast import prepare

__all__ = ["build", "prepare", "training_network"]


def build(
    label_count: int,
    *,
    height: int | None = 32,
    width: int | None = 32,
    branches: int = 3,
    widths: tuple[int, int, int] = (64, 256, 256),
    logit_scale: float = 1 / 9,
) -> keras.Model:
    """Build the network: uint8-valued pixels (N, height, width, 3) in, logits (N, K) out.

    5,921,832 parameters with three branches and ten labels.
    """
    image = keras.Input((height, width, 3), name="image")
    pixels = cifar10_fast.standardised(image)
    logits = [
        layers.Rescaling(logit_scale, dtype="float32", name=f"branch{number}_logits")(
            cifar10_fast.branch(pixels, label_count, widths, f"branch{number}_")
        )
        for number in range(1, branches + 1)
    ]
    network = keras.Model(
        image, layers.Average(dtype="float32", name="logits")(logits), name="cifar10_strong"
    )
    cifar10_fast.freeze_whitening(network)
    return network


def training_network(network: keras.Model) -> keras.Model:
    """Return the same layers with the branches' logits apart: (N, branches, K)."""
    branches = [layer.output for layer in network.layers if layer.name.endswith("_logits")]
    apart = layers.Concatenate(axis=1)([layers.Reshape((1, -1))(each) for each in branches])
    return keras.Model(network.inputs, apart, name="branches")
