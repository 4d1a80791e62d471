"""What a study searches: words to ranges and choices, what is usual, and what is refused."""

import dataclasses
import subprocess
import sys
from typing import Any

import pytest

from training.recipes import recipe as recipes
from training.recipes.recipe import BadSetting, Recipe
from training.tuning import spaces
from training.tuning.spaces import Choice, Ground, Range

OPTIONS = {"dropout": 0.5, "widen": 1.0, "depth": 3, "dense": 128}
GROUND = Ground(recipes.find("baseline_cnn").settings, OPTIONS)
FLOWERS = Ground(recipes.find("flowers").settings, {})


def test_words_become_ranges_and_choices() -> None:
    words = {
        "learning_rate": "0.0003:0.03:log",
        "dropout": "0.0:0.5",
        "depth": "2:5",
        "batch_size": "32, 64,128",
        "lookahead": "true,false",
        "optimizer": "adam,adamw",
        "cutout": "",
    }
    found = spaces.space(GROUND, words, only=[name for name in words if name != "cutout"])
    assert found == {
        "learning_rate": Range(0.0003, 0.03, log=True),
        "dropout": Range(0, 0.5),
        "depth": Range(2, 5, whole=True),
        "batch_size": Choice((32, 64, 128)),
        "lookahead": Choice((True, False)),
        "optimizer": Choice(("adam", "adamw")),
    }
    assert [str(found[name]) for name in ("learning_rate", "depth", "lookahead")] == [
        "0.0003:0.03:log",
        "2:5",
        "true,false",
    ]


def test_what_is_usual_lies_around_the_recipes_own_settings() -> None:
    found = spaces.space(GROUND)
    assert found["learning_rate"] == Range(0.0002, 0.01, log=True)
    assert found["batch_size"] == Choice((64, 128, 256))
    assert found["depth"] == Range(2, 4, whole=True)
    assert found["dense"] == Range(32, 256, log=True, whole=True)
    assert found["shift"] == Range(0, 6, whole=True)
    assert "rotation" not in found  # whether pictures may be turned is not for a search to find
    assert "fine_tune_learning_rate" not in found

    found = spaces.space(FLOWERS)
    assert found["fine_tune_learning_rate"] == Range(3e-5, 0.0015, log=True)
    assert found["rotation"] == Range(0, 30)
    assert found["crop"] == Range(0.175, 1)
    assert "dropout" not in found


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_has_a_space_that_holds_its_own_settings(name: str) -> None:
    recipe = recipes.find(name)
    ground = Ground(recipe.settings, OPTIONS)
    found = spaces.space(ground, recipe.space)
    own = spaces.own(ground, found)
    assert own is not None
    assert own["learning_rate"] == recipe.settings.learning_rate


def test_a_later_layer_wins_and_an_empty_one_takes_out() -> None:
    found = spaces.space(GROUND, {"shift": "0:2", "widen": ""}, {"shift": "0,1"})
    assert found["shift"] == Choice((0, 1))
    assert "widen" not in found


def test_a_space_without_the_recipes_own_settings_is_known() -> None:
    assert spaces.own(GROUND, spaces.space(GROUND, {"dropout": "0:0.4"})) is None
    assert spaces.own(GROUND, spaces.space(GROUND, {"batch_size": "64,128"})) is not None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("speed=1:2", "Expected --space of one of .*dropout.*Received: speed"),
        ("epochs=1:9", "epochs is not searched: every trial trains as long"),
        ("validation=100,200", "validation is not searched"),
        ("learning_rate", "Expected --space NAME=LOW:HIGH"),
        ("learning_rate=0:1:log", "above 0 where the range is log"),
        ("learning_rate=2:1", "a lower and a higher end"),
        ("learning_rate=1:2:linear", "LOW:HIGH:log for learning_rate"),
        ("learning_rate=1:inf", "a finite number"),
        ("learning_rate=-1:1", "learning_rate above 0. Received: -1"),
        ("batch_size=1.5,2", "batch_size as int"),
        ("batch_size=8,8", "each value of batch_size once"),
        ("optimizer=adam:sgd", "NAME=A,B for optimizer"),
        ("optimizer=rmsprop", "one of sgd, adam"),
        ("lookahead=yes", "true or false"),
        ("cutout=0:2", "cutout from 0 to below 1"),
        ("dropout=some", "dropout as float"),
    ],
)
def test_words_that_make_no_sense_are_refused(words: str, sentence: str) -> None:
    with pytest.raises(BadSetting, match=sentence):
        spaces.space(GROUND, spaces.given([words]))


def test_only_names_what_is_searched() -> None:
    assert list(spaces.space(GROUND, only=["dropout", "shift", "dropout"])) == ["dropout", "shift"]
    with pytest.raises(BadSetting, match=r"Expected --only of .* Received: speed"):
        spaces.space(GROUND, only=["speed"])
    with pytest.raises(BadSetting, match="at least one setting"):
        spaces.space(GROUND, only=[])


def test_drawn_numbers_are_as_long_as_people_write_them() -> None:
    assert spaces.tidy(0.00123456789) == 0.001235
    assert (spaces.tidy(12345), spaces.tidy("adam"), spaces.tidy(True)) == (12345, "adam", True)


def test_spaces_are_read_without_keras_and_optuna() -> None:
    code = (
        "import sys; from training.tuning import spaces; "
        "sys.exit(any(name in sys.modules for name in ('django', 'keras', 'optuna')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_that_is_written_is_the_recipe(name: str) -> None:
    from training.tuning import written

    options: dict[str, Any] = {"dropout": 0.3123, "depth": 4, "sizes": (1, 2)}
    recipe = dataclasses.replace(
        recipes.find(name), name="tuned", title='A "tuned" one', architecture_options=options
    )
    text = written.source(
        recipe, ["What it is.", "    python manage.py train tuned", "Words. " * 40]
    )
    read: dict[str, Any] = {}
    exec(compile(text, "tuned.py", "exec"), read)  # noqa: S102 (what we have just written)
    assert read["RECIPE"] == recipe
    assert isinstance(read["RECIPE"], Recipe)
    assert "\n    python manage.py train tuned\n" in read["__doc__"]
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Tuned", "lower-case letters"),
        ("1st", "a letter first"),
        ("a-b", "lower-case letters"),
        ("../evil", "lower-case letters"),
        ("class", "lower-case letters"),
        ("a" * 61, "at most 60"),
        ("baseline_cnn", "a name that is not taken"),
        ("settings", "a name that is not taken"),
        ("__init__", "a letter first"),
    ],
)
def test_a_recipe_is_not_written_under_such_a_name(name: str, sentence: str) -> None:
    from training.tuning import written

    with pytest.raises(BadSetting, match=sentence):
        written.check_name(name)
