"""The networks there are. One module is one network, or one kept in several widths.

A module has `build(label_count, *, height, width, ...)`: pixels of 0 to 255 in, logits out. It may
have `prepare(network, images, *, weights)`, called once before training, `freeze(network, top)`
and `training_network(network)`; see `training.trainer`.
"""

from __future__ import annotations

import pkgutil

NOT_NETWORKS = frozenset({"backbones"})
# Those whose `prepare` takes weights: known here without Keras, which the web side has not.
PRETRAINED = frozenset(
    {
        "convnext_tiny",
        "efficientnet_v2_b0",
        "mobilenet_v2",
        "mobilenet_v3_large",
        "mobilenet_v3_small",
        "resnet152",
        "resnet50",
        "vgg16",
    }
)
# How a file's name may end whose weights they take.
WEIGHTS_FORMATS = (".weights.h5", ".h5", ".keras")


def names() -> list[str]:
    """Return the names of all architectures, sorted; Keras is not imported."""
    return sorted(
        module.name for module in pkgutil.iter_modules(__path__) if module.name not in NOT_NETWORKS
    )
