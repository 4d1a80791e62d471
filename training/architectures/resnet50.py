"""ResNet50 under a new head (He et al. 2016, "Deep Residual Learning for Image Recognition").

24.1 M parameters with five labels.
"""

from __future__ import annotations

import keras

from training.architectures.backbones import Backbone, as_caffe

BACKBONE = Backbone(name="resnet50", builder=keras.applications.ResNet50, scaling=as_caffe)
build, prepare, freeze = BACKBONE.build, BACKBONE.prepare, BACKBONE.freeze
