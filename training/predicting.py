"""What a network says of many pictures."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from training.recipes.recipe import Views
from training.views import VIEWS, see

# Pixels that go through the network at a time when it only predicts: 500 pictures of 32x32.
_PREDICTED_PIXELS = 3_200_000


def predict_logits(
    network: keras.Model, images: Any, batch_size: int | None = None, *, views: Views = "one"
) -> npt.NDArray[np.float32]:
    """Return the network's logits (N, K) for a split's pictures (N, H, W, 3), in inference mode.

    Logits are averaged over the views of each picture; pictures are read batch by batch.
    """
    _, height, width, _ = images.shape
    batch_size = batch_size or min(500, max(1, _PREDICTED_PIXELS // (height * width)))
    parts = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        seen = [(view.weight, see(batch, view)) for view in VIEWS[views]]
        parts.append(sum(weight * _logits(network, pictures) for weight, pictures in seen))
    return np.concatenate(parts).astype(np.float32)


def _logits(network: keras.Model, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    predicted = network.predict_on_batch(images.astype(np.float32))
    return np.asarray(keras.ops.convert_to_numpy(predicted))
