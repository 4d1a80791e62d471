"""MobileNetV2 under a new head (Sandler et al. 2018, "Inverted Residuals and Linear Bottlenecks").

Pictures may have any height and width from 32 pixels on; 96, 128 and 224 are usual. `alpha` is
the width of the backbone; the ImageNet weights exist for 0.35, 0.5, 0.75, 1.0, 1.3 and 1.4.
2.6 M parameters with five labels at `alpha` 1.
"""

from __future__ import annotations

import keras

from training.architectures.backbones import Backbone, centred
from training.datasets.dataset import Pictures

BACKBONE = Backbone(
    name="mobilenet_v2",
    builder=keras.applications.MobileNetV2,
    scaling=centred,
    options={"alpha": 1.0},
)


def build(
    label_count: int,
    *,
    height: int | None = 224,
    width: int | None = 224,
    alpha: float = 1.0,
    dense: int = 256,
    dropout: float = 0.3,
) -> keras.Model:
    """Build the network: uint8-valued pixels (N, height, width, 3) in, logits (N, K) out."""
    return BACKBONE.build(
        label_count, height=height, width=width, dense=dense, dropout=dropout, alpha=alpha
    )


def prepare(
    network: keras.Model, images: Pictures, *, weights: str = "none", alpha: float = 1.0
) -> None:
    """Load what the backbone starts from; raises WeightsError."""
    BACKBONE.prepare(network, images, weights=weights, alpha=alpha)


freeze = BACKBONE.freeze
