"""The network that every serving row uses: `cifar10_cnn`, which the first ClassifyMe served.

It has learned nothing: what an answer costs does not depend on what the network knows.
"""

from __future__ import annotations

import sys
from pathlib import Path

LABELS = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
SIDE = 32  # pixels


def write(root: Path) -> None:
    """Write the bundle of an untrained `cifar10_cnn`. Needs TensorFlow, for some ten seconds."""
    import keras

    from classifier.bundles import Description, Label
    from classifier.imaging import InputSpec
    from training.architectures import cifar10_cnn
    from training.export import export_bundle

    keras.utils.set_random_seed(0)
    description = Description(
        name="cifar10",
        title="CIFAR-10",
        architecture="cifar10_cnn",
        labels=tuple(Label(key, key.capitalize()) for key in LABELS),
        input=InputSpec(SIDE, SIDE),
    )
    export_bundle(cifar10_cnn.build(len(LABELS)), root, description)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
