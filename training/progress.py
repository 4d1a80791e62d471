"""What a run says of itself while it runs: apart from the trainer, so that no Keras comes along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """One line of history.csv. Accuracies are shares between 0 and 1, losses in nats."""

    epoch: int
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Progress:
    """Where a run is, as shown while it runs; loss and accuracy of this epoch so far.

    `seconds_left` is NaN where nothing can be said of it: the first step builds the graph.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float
    learning_rate: float
    seconds_left: float


Reporter = Callable[[Progress | Epoch], None]
