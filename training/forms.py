"""The form that a training is started with: a recipe's settings as fields, checked by the recipe.

No Keras here.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from django import forms
from django.conf import settings as django_settings

from training import orders, recipe_words, snapshots
from training.models import DatasetSnapshot
from training.orders import LARGEST_SEED, LONGEST_NAME, Order
from training.recipes import recipe as recipes
from training.recipes.recipe import BadSetting, Recipe
from training.recipes.settings import ClassWeights, Optimizer, Precision, Schedule, Views
from training.runs import RunError

PREFIX = "set_"
MOST_SNAPSHOTS = 200
CHOICES: Mapping[str, tuple[str, ...]] = {
    "optimizer": get_args(Optimizer),
    "schedule": get_args(Schedule),
    "class_weights": get_args(ClassWeights),
    "views": get_args(Views),
    "precision": get_args(Precision),
}
# As a command line calls it, and as this form does.
SAME = {
    "name": "model_name",
    "seed": "seed",
    "weights": "weights",
    "dataset": "dataset",
    "architecture": "architecture",
}
OPTIONS: Mapping[str, str] = {
    "dataset": "Data",
    "name": "Model",
    "architecture": "Network",
    "seed": "Seed",
    "weights": "Weights",
    "group-by": "Group by",
    "register": "Register the result",
    "resume": "Go on from the checkpoint",
}


@dataclasses.dataclass(frozen=True)
class FieldGroup:
    """Fields of settings that belong together, and whether any of them was filled in wrongly."""

    title: str
    fields: tuple[forms.BoundField, ...]

    @property
    def has_errors(self) -> bool:
        return any(field.errors for field in self.fields)


class StartForm(forms.Form):
    """What is to be trained, and how; `order` is what was asked for, once it is valid."""

    dataset = forms.ChoiceField(label="Data", required=False)
    model_name = forms.CharField(
        label="Model",
        required=False,
        max_length=LONGEST_NAME,
        help_text="The registered model that the result is a version of. Left empty: the "
        "recipe's own, or that of the snapshot or the data.",
        widget=forms.TextInput(attrs={"list": "models", "autocomplete": "off"}),
    )
    title = forms.CharField(
        required=False,
        max_length=120,
        help_text="The words people read for a model that is new. Left empty: its name.",
    )
    architecture = forms.ChoiceField(
        label="Network",
        required=False,
        help_text="What learns. The recipe's settings stay what they are, whichever it is. In "
        "brackets: how many million parameters it has. More mostly cost more time.",
    )
    seed = forms.IntegerField(
        min_value=0,
        max_value=LARGEST_SEED - 1,
        initial=0,
        help_text="Decides everything random: the same seed trains the same again.",
    )
    smoke = forms.BooleanField(
        label="Smoke run",
        required=False,
        help_text="Shows in a minute that it all works, on few pictures. Its result means nothing.",
    )
    register = forms.BooleanField(
        label="Register the result",
        required=False,
        initial=True,
        help_text="It becomes a new version of the model. It does not serve before somebody "
        "activates it.",
    )
    weights = forms.ChoiceField(
        required=False,
        choices=[("", "the recipe's own"), ("none", "none: start at random")],
        help_text="What the network starts from.",
    )
    group_by = forms.CharField(
        required=False,
        max_length=200,
        help_text="Keeps what shares a group on one side of the split: a column of a table, or a "
        "regular expression with one group on the file names, such as ^(.+)_[0-9]+",
    )

    def __init__(self, recipe: Recipe, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **options})
        self.recipe = recipe
        self.order: Order | None = None
        for name, choices in (("dataset", data_choices), ("architecture", network_choices)):
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)  # noqa: S101 (a matter of types)
            field.choices = choices(recipe)
        if recipe.weights == "none":
            del self.fields["weights"]
        for group in recipe_words.explained():
            for name, words in group.settings:
                self.fields[PREFIX + name] = setting_field(recipe, name, words)

    @property
    def main(self) -> Iterator[forms.BoundField]:
        """What is trained."""
        names = ("dataset", "architecture", "model_name", "title", "seed", "smoke", "register")
        return (self[name] for name in names)

    @property
    def usual(self) -> Iterator[forms.BoundField]:
        return (self[PREFIX + name] for name in recipe_words.USUAL)

    @property
    def folded(self) -> list[FieldGroup]:
        """The settings that few people change, in groups."""
        groups = [
            FieldGroup(
                group.title,
                tuple(
                    self[PREFIX + name]
                    for name, _ in group.settings
                    if name not in recipe_words.USUAL
                ),
            )
            for group in recipe_words.explained()
        ]
        rest = tuple(self[name] for name in ("weights", "group_by") if name in self.fields)
        return [*groups, FieldGroup("Weights and groups", rest)]

    @property
    def has_folded_errors(self) -> bool:
        return any(group.has_errors for group in self.folded)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        if not (cleaned["dataset"] or self.recipe.dataset or cleaned["smoke"]):
            sentence = f"The recipe {self.recipe.name} has no data of its own: choose some."
            self.add_error("dataset", sentence)
            return cleaned
        order = Order(
            recipe=self.recipe.name,
            dataset=cleaned["dataset"] or None,
            name=cleaned["model_name"] or None,
            title=cleaned["title"] or None,
            architecture=cleaned["architecture"] or None,
            weights=cleaned.get("weights") or None,
            group_by=cleaned["group_by"] or None,
            seed=cleaned["seed"],
            changes=self._changes(cleaned),
            smoke=cleaned["smoke"],
            register=cleaned["register"],
        )
        self._check(order)
        self.order = order
        return cleaned

    def _changes(self, cleaned: Mapping[str, Any]) -> dict[str, str]:
        """Return what differs from the recipe, as text; what was left empty does not."""
        given = {
            name.removeprefix(PREFIX): value
            for name, value in cleaned.items()
            if name.startswith(PREFIX) and value not in (None, "")
        }
        own = self.recipe.settings
        return {
            name: str(value)
            for name, value in given.items()
            if value != setting_value(getattr(own, name))
        }

    def _check(self, order: Order) -> None:
        try:
            orders.settled(order)
        except (BadSetting, RunError) as error:
            self.add_error(self._field_of(str(error)), on_a_page(str(error)))
        own = order.dataset is None
        drawn = own and not recipe_words.is_here(self.recipe, Path(django_settings.DATASETS_ROOT))
        if order.smoke and order.register and drawn:
            self.add_error(
                "register",
                "The recipe's own data are not here: a smoke run learns from pictures that it "
                "draws itself, and those are not worth registering. Choose other data or do not "
                "register it.",
            )

    def _field_of(self, sentence: str) -> str | None:
        match = re.match(r"Expected (?:--)?([a-z0-9_]+)", sentence)
        if match is None:
            return None
        name = SAME.get(match[1], PREFIX + match[1])
        return name if name in self.fields else None


def on_a_page(sentence: str) -> str:
    """Return a sentence with what a page calls the options of `manage.py train`.

    Whoever started a training here has no command line to correct.
    """
    sentence = sentence.replace(" and --activate", "")
    sentence = re.sub(r"--set ([a-z0-9_]+)=\.\.\.", lambda found: _called(found[1]), sentence)
    return re.sub(
        rf"--({'|'.join(OPTIONS)})(?![a-z-])( none\b)?",
        lambda found: f"“{OPTIONS[found[1]]}{':' if found[2] else ''}{found[2] or ''}”",
        sentence,
    )


def _called(setting: str) -> str:
    return f"the setting “{setting.replace('_', ' ').capitalize()}”"


def data_choices(recipe: Recipe) -> list[tuple[str, Any]]:
    """Return what may be trained on: the recipe's own data, snapshots, what DATASETS_ROOT holds.

    A name in a fixed folder or of a row, never a path: what a browser sends opens no other file.
    """
    root = Path(django_settings.DATASETS_ROOT)
    choices: list[tuple[str, Any]] = []
    if recipe.dataset:
        missing = "" if recipe_words.is_here(recipe, root) else " (not on this machine)"
        choices.append(("", f"Recipe's own: {recipe.dataset}{missing}"))
    else:
        choices.append(("", "Choose the data"))
    snapshots_made = DatasetSnapshot.objects.select_related("model")[:MOST_SNAPSHOTS]
    named = [
        (f"{snapshots.PREFIX}{each.name}", f"{each.name}: {each.size:,} pictures of {each.model}")
        for each in snapshots_made
    ]
    if named:
        choices.append(("Dataset snapshots", named))
    if kept := recipe_words.kept(root):
        choices.append(("Folders, zips and tables", [(name, name) for name in kept]))
    return choices


def network_choices(recipe: Recipe) -> list[tuple[str, Any]]:
    """Return the recipe's own network, and which others suit it, with how large each is."""
    others = [name for name in recipe_words.networks(recipe) if name != recipe.architecture]
    own = ("", f"Recipe's own: {recipe_words.sized(recipe.architecture)}")
    return [own, *((name, recipe_words.sized(name)) for name in others)]


def setting_field(recipe: Recipe, name: str, words: str) -> forms.Field:
    """Return the field of one setting, filled with what the recipe has."""
    initial = getattr(recipe.settings, name)
    known: dict[str, Any] = {
        "label": name.replace("_", " ").capitalize(),
        "help_text": words,
        "initial": setting_value(initial),
        "required": False,
    }
    if name in CHOICES:
        return forms.ChoiceField(choices=[(value, value) for value in CHOICES[name]], **known)
    if isinstance(initial, bool):
        return forms.ChoiceField(choices=[("true", "yes"), ("false", "no")], **known)
    if _kind(recipe, name) == "int":
        return forms.IntegerField(**known)
    return forms.FloatField(widget=forms.NumberInput(attrs={"step": "any"}), **known)


def setting_value(value: Any) -> Any:
    """Return a setting as its field has it: yes and no are chosen, so that neither is left out."""
    return str(value).lower() if isinstance(value, bool) else value


def _kind(recipe: Recipe, name: str) -> str:
    kinds = {item.name: str(item.type) for item in dataclasses.fields(recipe.settings)}
    return kinds[name]


class SnapshotForm(forms.Form):
    """The name of a snapshot that is to be made."""

    name = forms.CharField(
        max_length=snapshots.LONGEST_NAME,
        help_text="Lower-case letters and digits, joined by single hyphens or underscores.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )


def recipe_named(name: str) -> Recipe | None:
    """Return the recipe of this name, None where there is none."""
    return recipes.find(name) if name in recipes.names() else None
