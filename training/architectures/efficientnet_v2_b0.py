"""EfficientNetV2-B0 under a new head (Tan & Le 2021, "Smaller Models and Faster Training").

6.2 M parameters with five labels. In training whole blocks are left out at random, also where they
are frozen (stochastic depth; Huang et al. 2016); in inference none is.
"""

from __future__ import annotations

import keras

from training.architectures.backbones import Backbone, standardised

BACKBONE = Backbone(
    name="efficientnet_v2_b0",
    builder=keras.applications.EfficientNetV2B0,
    scaling=standardised,
    options={"include_preprocessing": False},
)
build, prepare, freeze = BACKBONE.build, BACKBONE.prepare, BACKBONE.freeze
