import dataclasses
import re
import subprocess
import sys

import pytest

from training.recipes import recipe as recipes
from training.recipes.recipe import BadSetting, Recipe, Settings, UnknownRecipe

SETTINGS = Settings(epochs=2, batch_size=8, optimizer="sgd", learning_rate=0.1)


def test_both_cifar10_recipes_are_found() -> None:
    assert {"cifar10_cnn", "cifar10_fast"} <= set(recipes.names())


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_carries_its_modules_name_and_says_its_command_and_result(name: str) -> None:
    recipe = recipes.find(name)
    assert isinstance(recipe, Recipe)
    assert recipe.name == name
    docstring = sys.modules[f"training.recipes.{name}"].__doc__ or ""
    assert f"manage.py train {name}" in docstring
    assert "%" in docstring


def test_an_unknown_recipe_is_answered_with_those_there_are() -> None:
    with pytest.raises(UnknownRecipe, match=r"cifar10_fast.*Received: cifar11"):
        recipes.find("cifar11")


def test_settings_are_changed_from_text() -> None:
    changed = SETTINGS.changed(
        {"epochs": "5", "learning_rate": "0.5", "lookahead": "true", "optimizer": "adam"}
    )
    assert (changed.epochs, changed.learning_rate) == (5, 0.5)
    assert changed.lookahead is True
    assert changed.optimizer == "adam"
    assert SETTINGS.epochs == 2


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("speed", "3", "one of the settings"),
        ("epochs", "many", "epochs as int"),
        ("epochs", "0", "epochs above 0"),
        ("epochs", "1.5", "epochs as int"),
        ("learning_rate", "-1", "learning_rate above 0"),
        ("learning_rate", "nan", "learning_rate"),
        ("learning_rate", "inf", "learning_rate"),
        ("lookahead", "yes", "true or false"),
        ("optimizer", "rmsprop", "one of sgd, adam, adamw, muon"),
        ("schedule", "linear", "one of triangle, cosine, constant, plateau"),
        ("class_weights", "some", "one of none, balanced"),
        ("precision", "float16", "one of float32"),
        ("momentum", "1", "from 0 to below 1"),
        ("shift", "-2", "at least 0"),
        ("rotation", "181", "rotation from 0 to 180"),
        ("crop", "0", "crop from 0.05 to 1"),
        ("cutout", "1", "cutout from 0 to below 1"),
        ("mixup", "-1", "mixup of at least 0"),
        ("ema", "1", "ema from 0 to below 1"),
        ("patience", "-1", "patience of at least 0"),
        ("plateau_factor", "1", "plateau_factor from 0.01 to 0.99"),
        ("fine_tune_learning_rate", "0", "fine_tune_learning_rate above 0"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_with_what_was_expected(
    key: str, value: str, sentence: str
) -> None:
    with pytest.raises(BadSetting, match=sentence):
        SETTINGS.changed({key: value})


@pytest.mark.parametrize(
    "fields", [{"epochs": "3"}, {"epochs": True}, {"lookahead": 1}, {"views": 2}, {"l2": None}]
)
def test_a_setting_of_the_wrong_kind_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(BadSetting, match=f"Expected {next(iter(fields))} as "):
        Settings(**SETTINGS.as_json() | fields)


def test_every_setting_is_described() -> None:
    described = Settings.__doc__ or ""
    for item in dataclasses.fields(Settings):
        assert re.search(rf"^ +([a-z0-9_]+, )*{item.name}(, [a-z0-9_]+)*:", described, re.M)


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_has_a_quick_form(name: str) -> None:
    recipe = recipes.find(name)
    settings = recipe.settings.changed(recipe.smoke)
    assert settings.epochs <= 2
    assert settings.batch_size <= 64
    assert settings.head_epochs < settings.epochs


def test_recipes_can_be_read_without_django_and_keras() -> None:
    code = (
        "import sys; from training.recipes import recipe; "
        "[recipe.find(name) for name in recipe.names()]; "
        "sys.exit(any(name in sys.modules for name in ('django', 'keras', 'tensorflow')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
