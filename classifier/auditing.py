"""The use case: what served at a moment, since when, until when, and by whose decision."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from classifier.models import Activation, RegisteredModel


@dataclass(frozen=True)
class Served:
    """What answered for a model at a moment: the activation that made it so, and the next one.

    `activation` is None where nothing served yet; `until` is None where it still serves.
    """

    model: RegisteredModel
    activation: Activation | None
    until: Activation | None


def served_at(moment: datetime, model: RegisteredModel | None = None) -> list[Served]:
    """Return what served at this moment, a row a registered model; `model` asks for one alone."""
    models = RegisteredModel.objects.all() if model is None else [model]
    return [_served(each, moment) for each in models]


def _served(model: RegisteredModel, moment: datetime) -> Served:
    events = Activation.objects.filter(model=model)
    before = events.filter(at__lte=moment).select_related("version__model")
    return Served(model, before.first(), events.filter(at__gt=moment).last())
