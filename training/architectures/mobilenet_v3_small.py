"""MobileNetV3 Small under a new head (Howard et al. 2019, "Searching for MobileNetV3").

The smallest backbone here, and the one with the least work per picture: 1.1 M parameters with five
labels.
"""

from __future__ import annotations

import keras

from training.architectures.backbones import Backbone, centred

BACKBONE = Backbone(
    name="mobilenet_v3_small",
    builder=keras.applications.MobileNetV3Small,
    scaling=centred,
    options={"include_preprocessing": False},
)
build, prepare, freeze = BACKBONE.build, BACKBONE.prepare, BACKBONE.freeze
