"""VGG16 under a new head (Simonyan & Zisserman 2015, "Very Deep Convolutional Networks").

Thirteen 3x3 convolutions without normalisation or shortcuts: 14.8 M parameters with five labels,
and the most work per picture of all backbones here. It is the one that papers compare with.
"""

from __future__ import annotations

import keras

from training.architectures.backbones import Backbone, as_caffe

BACKBONE = Backbone(name="vgg16", builder=keras.applications.VGG16, scaling=as_caffe)
build, prepare, freeze = BACKBONE.build, BACKBONE.prepare, BACKBONE.freeze
