"""What the rest of ClassifyMe knows of an engine: arrays in, probabilities out."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Probabilities = NDArray[np.float32]
Options = Mapping[str, Any]  # an engine's own, by name

# What the graph of every bundle's model.onnx calls them.
INPUT = "image"
OUTPUT = "probabilities"
# Further outputs of a graph that can be explained, of the plain first view: the last spatial
# features (N, C, h, w), and the state of the head (N, D); see `classifier.heads`.
FEATURES = "features"
STATE = "state"
EXPLAINING = (FEATURES, STATE)


class RuntimeFault(Exception):
    """An engine could not load a network or run it; `str()` is a sentence for a person."""


class ExplainsNothing(RuntimeFault):
    """An engine that gives probabilities alone was asked for more."""


def check_images(images: Images, side: tuple[int, int, int]) -> None:
    """Raise ValueError unless these are uint8 pictures of (N, *side)."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != side:
        height, width, channels = side
        raise ValueError(
            f"Expected uint8 pictures of shape (N, {height}, {width}, {channels}). "
            f"Received: {images.dtype} of shape {images.shape}"
        )


def check_count(name: str, value: object) -> None:
    """Raise ValueError unless an option is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"Expected {name} to be at least 1. Received: {value!r}")


class Runtime(ABC):
    """A network, loaded and ready. Any number of threads may call `predict` at once.

    An engine is made with the path of model.onnx and options of its own, all of them optional. It
    need not run here: one that asks a remote server has `predict` and `close` to write, no more.

    Attributes:
        precision: what its sums are computed in; the golden test forgives bf16 more than f32.
    """

    precision: str = "f32"

    @classmethod
    def candidates(cls, options: Options) -> Sequence[Options]:
        """Return the options to try one after the other, until the golden test holds."""
        return (options,)

    @classmethod
    def for_callers(cls, options: Options, callers: int) -> Options:
        """Return `options` as they suit `callers` threads that all predict, one core for each."""
        return options

    @abstractmethod
    def predict(self, images: Images) -> Probabilities:
        """Return float32 probabilities of shape (N, K) for uint8 pictures of (N, H, W, 3).

        Raises ValueError for an array of another dtype or shape than the network takes, and
        RuntimeFault if the engine fails.
        """

    def explain(self, images: Images) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what an explanation is made of: features (N, C, h, w) and state (N, D), float32.

        An engine need not be able to. Raises ValueError for pictures of another dtype or shape,
        RuntimeFault if the engine fails or its graph has no such outputs and, of that,
        ExplainsNothing if it gives probabilities alone.
        """
        raise ExplainsNothing(f"{type(self).__name__} gives probabilities alone.")

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
