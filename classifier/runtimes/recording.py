"""A dummy engine: answers the same for every picture and remembers what it was asked."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier.runtimes.base import Images, Probabilities, Runtime, RuntimeFault

# (C, h, w) of the features that it gives; its state is their mean over positions.
FEATURES = (4, 2, 2)


class RecordingRuntime(Runtime):
    """Gives the first of `classes` labels `certainty` and spreads the rest over the others.

    Loads nothing. `asked` holds the shape of every array it was given. `threads` is there because
    settings give it to every engine.
    """

    def __init__(
        self,
        model_path: Path,
        *,
        classes: int = 3,
        certainty: float = 0.9,
        threads: int | None = None,
    ) -> None:
        if classes < 2:
            raise ValueError(f"Expected classes to be at least 2. Received: {classes!r}")
        self.model_path = model_path
        self.threads = threads
        self.asked: list[tuple[int, ...]] = []
        self.closed = False
        self._row = np.full(classes, (1 - certainty) / (classes - 1), dtype=np.float32)
        self._row[0] = certainty

    def predict(self, images: Images) -> Probabilities:
        """Return float32 probabilities of shape (N, classes), the same row N times."""
        if self.closed:
            raise RuntimeFault("This runtime was closed.")
        self.asked.append(images.shape)
        return np.tile(self._row, (len(images), 1))

    def explain(self, images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return features (N, 4, 2, 2), channel by channel at one place, and state (N, 4)."""
        if self.closed:
            raise RuntimeFault("This runtime was closed.")
        self.asked.append(images.shape)
        features = np.eye(FEATURES[0], dtype=np.float32).reshape(FEATURES)
        state = features.mean(axis=(1, 2))
        return np.tile(features, (len(images), 1, 1, 1)), np.tile(state, (len(images), 1))

    def close(self) -> None:
        self.closed = True
