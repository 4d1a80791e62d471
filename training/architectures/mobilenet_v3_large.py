"""MobileNetV3 Large under a new head (Howard et al. 2019, "Searching for MobileNetV3").

3.2 M parameters with five labels; on ImageNet more accurate than MobileNetV2 at less work.
"""

from __future__ import annotations

import keras

from training.architectures.backbones import Backbone, centred

BACKBONE = Backbone(
    name="mobilenet_v3_large",
    builder=keras.applications.MobileNetV3Large,
    scaling=centred,
    options={"include_preprocessing": False},
)
build, prepare, freeze = BACKBONE.build, BACKBONE.prepare, BACKBONE.freeze
