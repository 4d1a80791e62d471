"""The stretches of a training: one, or the head alone and then the backbone too."""

from __future__ import annotations

from dataclasses import dataclass

from training.recipes.recipe import Settings


@dataclass(frozen=True)
class Phase:
    """A stretch of epochs with an optimizer and a schedule of its own.

    Attributes:
        first, end: epochs, counted from 0; `end` is not part of it.
        learning_rate: the schedule's peak.
        thawed: layers of the backbone, from the top, that learn; None where all of it always did.
    """

    first: int
    end: int
    learning_rate: float
    thawed: int | None = None


def plan_phases(settings: Settings, *, pretrained: bool) -> tuple[Phase, ...]:
    """Return the phases of a run: one, or the head alone and then the top of the backbone too.

    A pretrained backbone keeps its batch normalisation in inference mode in either.
    """
    head = min(settings.head_epochs, settings.epochs)
    if head == 0:
        thawed = settings.fine_tune_layers if pretrained else None
        return (Phase(0, settings.epochs, settings.learning_rate, thawed),)
    phases = [Phase(0, head, settings.learning_rate, 0)]
    if head < settings.epochs:
        phases.append(
            Phase(
                head, settings.epochs, settings.fine_tune_learning_rate, settings.fine_tune_layers
            )
        )
    return tuple(phases)
