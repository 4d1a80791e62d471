"""What the rest of ClassifyMe knows of an engine: arrays in, probabilities out."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Probabilities = NDArray[np.float32]


class RuntimeFault(Exception):
    """An engine could not load a network or run it; `str()` is a sentence for a person."""


class Runtime(ABC):
    """A network, loaded and ready. Any number of threads may call `predict` at once."""

    @abstractmethod
    def predict(self, images: Images) -> Probabilities:
        """Return float32 probabilities of shape (N, K) for uint8 pictures of (N, H, W, 3).

        Raises ValueError for an array of another dtype or shape than the network takes, and
        RuntimeFault if the engine fails.
        """

    @abstractmethod
    def close(self) -> None:
        """Give the engine's memory back. Nothing may be predicted afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
