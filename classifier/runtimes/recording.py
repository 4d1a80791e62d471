"""A dummy engine: answers the same for every picture and remembers what it was asked."""

from pathlib import Path

import numpy as np

from classifier.runtimes.base import Images, Probabilities, Runtime, RuntimeFault


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

    def close(self) -> None:
        self.closed = True
