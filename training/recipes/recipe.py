"""What a recipe declares: data, architecture, schedule. One experiment is one small module."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import training.recipes
from classifier.imaging import InputSpec
from classifier.measured import AcceptanceRule
from training.recipes.settings import (
    BadSetting,
    ClassWeights,
    Optimizer,
    Precision,
    Schedule,
    Settings,
    Views,
)

__all__ = [
    "BadSetting",
    "ClassWeights",
    "Optimizer",
    "Precision",
    "Recipe",
    "Schedule",
    "Settings",
    "UnknownRecipe",
    "Views",
    "find",
    "names",
]

NOT_RECIPES = frozenset({"recipe", "settings"})


class UnknownRecipe(ValueError):
    """No recipe has this name."""


@dataclass(frozen=True)
class Recipe:
    """An experiment: which data, which network, trained how.

    Attributes:
        name: as `manage.py train` knows it; also the module's name.
        dataset: the source that is loaded where no other is asked for; empty for a recipe that
            has none of its own and needs `--dataset`.
        architecture: the module in `training.architectures` that builds the network.
        model_name, model_title: the registered model that its versions belong to.
        settings: the defaults.
        smoke: settings that show in seconds that it all works; their result means nothing.
        input: what pictures are decoded to; None for the data set's own size (CIFAR-10).
        architecture_options: further arguments of the architecture's `build`.
        weights: what the backbone starts from: `imagenet`, a file's path, or `none`.
        group_by: what pictures share that must stay on one side of the split, as
            `training.datasets.sources.SourceOptions` has it.
        acceptance: what a version must reach on test images before one should let it serve.
        card: paragraphs for the model card that only this recipe can say, in Markdown: what the
            pictures are, what was measured besides, where not to use the model.
        space: what `manage.py tune` searches, where that is not what follows from the settings;
            in the words of `training.tuning.spaces`.
    """

    name: str
    title: str
    dataset: str
    architecture: str
    model_name: str
    model_title: str
    settings: Settings
    smoke: Mapping[str, str] = field(default_factory=dict)
    input: InputSpec | None = None
    architecture_options: Mapping[str, Any] = field(default_factory=dict)
    weights: str = "none"
    group_by: str = ""
    acceptance: AcceptanceRule = field(default_factory=AcceptanceRule)
    card: str = ""
    space: Mapping[str, str] = field(default_factory=dict)

    def on(self, architecture: str) -> Recipe:
        """Return the recipe with this network; options of another one do not go with it."""
        if architecture == self.architecture:
            return self
        return dataclasses.replace(self, architecture=architecture, architecture_options={})


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
    return sorted(name for name in _module_names() if name not in NOT_RECIPES)


def _module_names() -> Iterable[str]:
    return (module.name for module in pkgutil.iter_modules(training.recipes.__path__))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"training.recipes.{name}")
