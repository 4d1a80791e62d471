"""One trial: a short training with drawn settings, worth its best epoch's validation accuracy."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import cast

import keras
import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, Trial

from training.datasets.dataset import Split
from training.progress import Epoch, Progress, Reporter
from training.recipes.recipe import BadSetting, Recipe, Settings
from training.trainer import Trainer, TrainingError
from training.tuning.spaces import Choice, Dimension, Ground, Space, Value, Values, tidy

_OF_THE_DATA = ("label_count", "height", "width")
_NO_MEMORY = ("RESOURCE_EXHAUSTED", "OOM when allocating", "out of memory")


@dataclass(frozen=True)
class Subject:
    """What all trials of a study have in common. There are no test pictures in it.

    Attributes:
        settings: the recipe's, with what was ordered instead.
        seed: of every trial's training: trials differ by their settings alone.
    """

    recipe: Recipe
    settings: Settings
    space: Space
    train: Split
    validation: Split
    label_count: int
    seed: int

    def changed(self, values: Values) -> tuple[Recipe, Settings]:
        """Return recipe and settings with these values; what is no setting is an option."""
        names = {item.name for item in dataclasses.fields(Settings)}
        options = {name: value for name, value in values.items() if name not in names}
        recipe = dataclasses.replace(
            self.recipe, architecture_options={**self.recipe.architecture_options, **options}
        )
        chosen = {name: value for name, value in values.items() if name in names}
        return recipe, dataclasses.replace(self.settings, **chosen)  # type: ignore[arg-type]


def ground(recipe: Recipe, settings: Settings) -> Ground:
    """Return what can be searched of a recipe: see `spaces.Ground`."""
    taken = inspect.signature(_architecture(recipe).build).parameters.values()
    options = {
        each.name: _alike(recipe.architecture_options.get(each.name, each.default), each.default)
        for each in taken
        if each.name not in _OF_THE_DATA and isinstance(each.default, Value)
    }
    return Ground(settings, options)


def _alike(value: Value, default: Value) -> Value:
    """Return an option as its default is: a recipe may write 0 for what may be 0.5 as well."""
    return float(value) if isinstance(default, float) else value


def words(recipe: Recipe) -> Mapping[str, str]:
    """Return what an architecture itself says of what to search."""
    said: Mapping[str, str] = getattr(_architecture(recipe), "SPACE", {})
    return said


def _architecture(recipe: Recipe) -> ModuleType:
    return importlib.import_module(f"training.architectures.{recipe.architecture}")


def drawn(trial: Trial, space: Space) -> dict[str, Value]:
    """Return the values that the study draws for a trial."""
    return {name: _drawn(trial, name, dimension) for name, dimension in space.items()}


def _drawn(trial: Trial, name: str, dimension: Dimension) -> Value:
    if isinstance(dimension, Choice):
        return cast(Value, trial.suggest_categorical(name, dimension.values))
    low, high, log = dimension.low, dimension.high, dimension.log
    if dimension.whole:
        return trial.suggest_int(name, int(low), int(high), log=log)
    return tidy(trial.suggest_float(name, low, high, log=log))


def value(trial: FrozenTrial, name: str) -> Value:
    """Return what a trial was trained with: what was drawn as above, what was chosen as it is."""
    kept = cast(Value, trial.params[name])
    return kept if isinstance(trial.distributions[name], CategoricalDistribution) else tidy(kept)


class Listener:
    """Tells the study of each epoch, and ends the training once the study sees no hope in it."""

    def __init__(self, trial: Trial, report: Reporter) -> None:
        self.trial, self.report = trial, report

    def __call__(self, event: Progress | Epoch) -> None:
        self.report(event)
        if isinstance(event, Epoch):
            self.trial.report(event.validation_accuracy, event.epoch)
            if self.trial.should_prune():
                raise optuna.TrialPruned


def accuracy(subject: Subject, values: Values, folder: Path, report: Reporter) -> float:
    """Train once with these values; return the best epoch's validation accuracy, 0 to 1.

    Raises:
        TrainingError: values that do not go together, a network that cannot be built or trained,
            or does not fit into memory.
    """
    keras.utils.clear_session()  # what the trial before it left
    try:
        recipe, settings = subject.changed(values)
    except BadSetting as error:
        raise TrainingError(str(error)) from error
    try:
        trainer = _trainer(subject, recipe, settings, folder, report)
        trainer.run()
    except Exception as error:
        if not _is_out_of_memory(error):
            raise
        raise TrainingError(f"It does not fit into memory: {_first_line(error)}") from error
    return max(line.validation_accuracy for line in trainer.history)


def _trainer(
    subject: Subject, recipe: Recipe, settings: Settings, folder: Path, report: Reporter
) -> Trainer:
    try:
        return Trainer(
            recipe,
            settings,
            train=subject.train,
            validation=subject.validation,
            label_count=subject.label_count,
            seed=subject.seed,
            folder=folder,
            report=report,
        )
    except ValueError as error:  # Keras' own: a layer that its input is too small for, say
        raise TrainingError(f"The network cannot be built: {_first_line(error)}") from error


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(word in str(error) for word in _NO_MEMORY)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
