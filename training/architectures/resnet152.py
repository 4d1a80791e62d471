"""ResNet152 under a new head (He et al. 2016, "Deep Residual Learning for Image Recognition").

58.9 M parameters with five labels: the largest backbone here. Its bundle takes 220 MB, and making
that, at the end of a training, over 7 GB of memory.
"""

from __future__ import annotations

import keras

from training.architectures.backbones import Backbone, as_caffe

BACKBONE = Backbone(name="resnet152", builder=keras.applications.ResNet152, scaling=as_caffe)
build, prepare, freeze = BACKBONE.build, BACKBONE.prepare, BACKBONE.freeze
