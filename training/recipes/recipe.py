"""What a recipe declares: data, architecture, schedule. One experiment is one small module."""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal

import training.recipes

Optimizer = Literal["sgd", "adam"]
Precision = Literal["float32", "mixed_bfloat16"]
Views = Literal["one", "mirrored", "mirrored_shifted"]
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "optimizer": ("sgd", "adam"),
    "precision": ("float32", "mixed_bfloat16"),
    "views": ("one", "mirrored", "mirrored_shifted"),
}


class UnknownRecipe(ValueError):
    """No recipe has this name."""


class BadSetting(ValueError):
    """A setting that no recipe has, or a value that it cannot take."""


@dataclass(frozen=True)
class Settings:
    """Everything that `--set key=value` may change. Numbers are per step unless said.

    Attributes:
        epochs: passes over the training split.
        batch_size: pictures in a step.
        optimizer: `sgd` (Nesterov momentum) or `adam`.
        learning_rate: the peak of the schedule, for a loss averaged over the batch.
        momentum: of `sgd`.
        weight_decay: coupled with the gradient (L2), `sgd` only.
        bias_scale: how much faster batch normalisation's biases learn, `sgd` only.
        warmup: the share of all steps over which the learning rate rises.
        start_factor, end_factor: the learning rate at the first and last step, of the peak.
        label_smoothing: the probability mass spread over all labels.
        lookahead: whether weights are pulled to their own moving average every five steps.
        alternating_flip: mirror each picture in turns, else never.
        shift: pixels that a picture is moved by, at most.
        validation: pictures of the training split held out.
        views: of a picture, whose logits the served graph averages; see `training.views`.
        precision: the policy training computes in; the saved network is float32.
    """

    epochs: int
    batch_size: int
    optimizer: Optimizer
    learning_rate: float
    momentum: float = 0.9
    weight_decay: float = 0.0
    bias_scale: float = 1.0
    warmup: float = 0.2
    start_factor: float = 0.2
    end_factor: float = 0.01
    label_smoothing: float = 0.0
    lookahead: bool = False
    alternating_flip: bool = True
    shift: int = 2
    validation: int = 2500
    views: Views = "one"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise BadSetting(
                    f"Expected {name} to be one of {', '.join(choices)}. "
                    f"Received: {getattr(self, name)!r}"
                )
        for name, value in self.as_json().items():
            if isinstance(value, float) and not math.isfinite(value):
                raise BadSetting(f"Expected {name} to be a finite number. Received: {value}")
        for name in ("epochs", "batch_size", "validation", "learning_rate"):
            if getattr(self, name) <= 0:
                raise BadSetting(f"Expected {name} above 0. Received: {getattr(self, name)}")
        for name in ("shift", "weight_decay", "bias_scale", "start_factor", "end_factor"):
            if getattr(self, name) < 0:
                raise BadSetting(f"Expected {name} of at least 0. Received: {getattr(self, name)}")
        for name in ("momentum", "warmup", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise BadSetting(
                    f"Expected {name} from 0 to below 1. Received: {getattr(self, name)}"
                )

    def changed(self, changes: Mapping[str, str]) -> Settings:
        """Return a copy with settings parsed from text, as `--set key=value` gives them.

        Raises:
            BadSetting: a name that is none, or a value of the wrong kind or out of range.
        """
        values = {name: self._parsed(name, text) for name, text in changes.items()}
        return dataclasses.replace(self, **values)

    def _parsed(self, name: str, text: str) -> Any:
        known = {item.name for item in dataclasses.fields(self)}
        if name not in known:
            raise BadSetting(
                f"Expected one of the settings {', '.join(sorted(known))}. Received: {name}"
            )
        kind = type(getattr(self, name))
        if kind is bool:
            return _parsed_bool(name, text)
        try:
            return kind(text)
        except ValueError as error:
            raise BadSetting(f"Expected {name} as {kind.__name__}. Received: {text!r}") from error

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def _parsed_bool(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise BadSetting(f"Expected {name} as true or false. Received: {text!r}")
    return text.lower() == "true"


@dataclass(frozen=True)
class Recipe:
    """An experiment: which data, which network, trained how.

    Attributes:
        name: as `manage.py train` knows it; also the module's name.
        dataset: the module in `training.datasets` that loads the data.
        architecture: the module in `training.architectures` that builds the network.
        model_name, model_title: the registered model that its versions belong to.
        settings: the defaults.
        smoke: settings that show in seconds that it all works; their result means nothing.
    """

    name: str
    title: str
    dataset: str
    architecture: str
    model_name: str
    model_title: str
    settings: Settings
    smoke: Mapping[str, str] = field(default_factory=dict)


def find(name: str) -> Recipe:
    """Return the recipe of this name.

    Raises:
        UnknownRecipe: naming those there are.
    """
    if name not in names():
        raise UnknownRecipe(f"Expected one of the recipes {', '.join(names())}. Received: {name}")
    recipe = _module(name).RECIPE
    if not isinstance(recipe, Recipe):
        raise TypeError(f"Expected RECIPE in {name} to be a Recipe. Received: {recipe!r}")
    return recipe


def names() -> list[str]:
    """Return the names of all recipes, sorted."""
    return sorted(name for name in _module_names() if name != "recipe")


def _module_names() -> Iterable[str]:
    return (module.name for module in pkgutil.iter_modules(training.recipes.__path__))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"training.recipes.{name}")
