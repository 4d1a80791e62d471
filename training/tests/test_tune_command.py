"""`manage.py tune`, called as a person does: a study, its page and its recipe."""

import io
import re
import signal
from pathlib import Path
from typing import Any

import optuna
import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

import training.recipes
from training import drawing, loading, orders, tuned
from training.management.commands.tune import Command, Console, request_of
from training.orders import Order
from training.recipes import recipe as recipes
from training.tests import tuners
from training.trainer import Trainer
from training.tuning import search, studies

PETS = ("cat", "dog")
NUMBER = "^([0-9]{4})"  # of a picture, in the names of its files


@pytest.fixture
def pets(tmp_path: Path, settings: Settings) -> Path:
    """A folder of cats and dogs, twenty of each; studies are kept beside it."""
    settings.RUNS_ROOT = tmp_path / "runs"
    return drawing.draw(tmp_path / "My Pets", per_label=20, side=16, label_keys=PETS)


def tune(*words: str) -> str:
    stdout = io.StringIO()
    call_command("tune", *words, stdout=stdout, no_color=True)
    return stdout.getvalue()


def refused(*words: str) -> str:
    with pytest.raises(CommandError) as refusal:
        tune(*words)
    assert refusal.value.returncode == 2
    return str(refusal.value)


class Untouchable:
    """A test split that fails whoever looks at it."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"somebody asked the test pictures for {name}")


@pytest.fixture
def no_test_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    split = loading.split

    def without(*arguments: Any) -> tuple[Any, Any, Any]:
        train, validation, _ = split(*arguments)
        return train, validation, Untouchable()

    monkeypatch.setattr(loading, "split", without)


@pytest.fixture
def recipes_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where recipes are written to and found, besides the real ones."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    monkeypatch.setattr(
        training.recipes, "__path__", [str(folder), *list(training.recipes.__path__)]
    )
    return folder


def test_it_searches_reports_goes_on_and_writes_a_recipe_that_trains_alike(
    pets: Path, settings: Settings, no_test_pictures: None, recipes_of_ones_own: Path
) -> None:
    grouped = ("--group-by", NUMBER)
    printed = tune(*tuners.words(pets, *grouped, "--trials", "1"))
    assert "Study baseline_cnn-my-pets in sqlite:///" in printed
    assert re.search(
        r"trial   0 .*the recipe's own  learning_rate 0.002, dropout 0.5, dep", printed
    )
    assert "Best: trial" in printed
    folder = Path(settings.RUNS_ROOT) / "tune" / "baseline_cnn-my-pets"
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "study.sqlite3"]
    page = (folder / "report.html").read_text()
    assert page.count("<svg") == 3
    assert not re.search(r"<script|(src|href)=\"?http", page)
    assert "No test image was looked at" in page
    assert "<h1>My Pets, baseline_cnn: settings searched</h1>" in page
    assert "Data set: My Pets, SHA-256 " in page

    words = tuners.words(pets, *grouped, "--trials", "2", "--write-recipe", "pets_tuned")
    printed = tune(*words)
    assert "1 trial so far" in printed
    assert re.search(r"^trial   1 .*(finished|given up)", printed, re.MULTILINE)
    assert not re.search("^trial   0", printed, re.MULTILINE)
    assert "python manage.py train pets_tuned" in printed
    module = recipes_of_ones_own / "pets_tuned.py"
    assert f"Recipe: {module}" in printed

    found = studies.storage(studies.address(studies.in_file(folder / "study.sqlite3")))
    study = optuna.load_study(storage=found, study_name="baseline_cnn-my-pets")
    best = search.best(search.every(study))
    assert best is not None
    recipe = recipes.find("pets_tuned")
    assert recipe.title == "My Pets, baseline_cnn, tuned"
    assert recipe.settings.learning_rate == best.values["learning_rate"]
    assert recipe.settings.epochs == 2
    assert recipe.architecture_options["depth"] == best.values["depth"]
    text = module.read_text()
    command = "python manage.py train pets_tuned --dataset SOURCE --group-by '{}' --seed 0"
    assert command.format(NUMBER) in text
    assert str(pets.parent) not in text
    assert f"Trial {best.number} was right on" in " ".join(text.split())

    # `train pets_tuned` learns what the trial has learnt.
    with orders.prepared(Order("pets_tuned", dataset=str(pets), group_by=NUMBER)) as session:
        trainer = Trainer(
            session.recipe,
            session.plan.settings,
            train=session.train,
            validation=session.validation,
            label_count=len(PETS),
            seed=0,
            folder=session.folder,
            report=lambda event: None,
        )
        trainer.run()
    shares = [line.validation_accuracy for line in trainer.history]
    assert shares == pytest.approx(list(best.epochs.values()))

    assert "a name that is not taken" in refused(*words)
    sentence = refused(*tuners.words(pets, *grouped, "--trials", "9", "--seed", "1"))
    assert "baseline_cnn-my-pets is of something else: seed 0, now 1" in sentence


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--space", "speed=1:2"), "Expected --space of one of"),
        (("--space", "shift"), "Expected --space NAME=LOW:HIGH"),
        (("--only", "speed"), "Expected --only of"),
        (("--trials", "0"), "--trials of at least 1"),
        (("--minutes", "0"), "--minutes above 0"),
        (("--minutes", "nan"), "--minutes above 0"),
        (("--images", "0"), "--images of at least 1"),
        (("--smoke", "--images", "3"), "--images of at least 10, one a class"),
        (("--study", " x"), "Expected --study of"),
        (("--storage", "mysql://h/x"), "Expected --storage"),
        (("--write-recipe", "A"), "lower-case"),
        (("--write-recipe", "transfer"), "not taken"),
        (("--set", "x"), "Expected --set KEY=VALUE"),
        (("--dataset", "nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_tried(
    more: tuple[str, ...], sentence: str, settings: Settings, tmp_path: Path
) -> None:
    settings.RUNS_ROOT = tmp_path / "runs"
    assert sentence in refused("baseline_cnn", *more)
    assert not settings.RUNS_ROOT.exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("cifar10_cnn",), True),
        (("cifar10_cnn", "--pruner", "none"), False),
        (("cifar10_cnn", "--space", "optimizer=sgd,adam"), False),
        (("baseline_cnn", "--space", "optimizer=adam,muon"), True),
        (("baseline_cnn",), False),
    ],
)
def test_giving_up_trials_of_muon_is_remarked_on(
    pets: Path, words: tuple[str, ...], told: bool
) -> None:
    command = Command()
    options = vars(
        command.create_parser("manage.py", "tune").parse_args(["--dataset", str(pets), *words])
    )
    with tuned.prepared(request_of(options)) as tuning:
        assert (tuned.GIVEN_UP_TOO_EARLY in tuning.notes) == told


def test_an_unknown_recipe_is_answered_with_those_there_are() -> None:
    assert "baseline_cnn" in refused("nonsense")


def test_ctrl_c_ends_it_with_a_word_on_how_to_go_on(
    pets: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(*arguments: object) -> None:
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Console, "report", press)
        with pytest.raises(CommandError) as stopped:
            tune(*tuners.words(pets, "--trials", "2"))
    assert stopped.value.returncode == 130
    assert "The same command goes on with the study baseline_cnn-my-pets" in str(stopped.value)
    folder = Path(settings.RUNS_ROOT) / "tune" / "baseline_cnn-my-pets"
    assert (folder / "report.html").is_file()

    # What was being tried is tried again by whoever goes on.
    kept = studies.storage(studies.address(studies.in_file(folder / "study.sqlite3")))
    study = optuna.load_study(storage=kept, study_name="baseline_cnn-my-pets")
    broken_off, waiting = search.every(study)
    assert (broken_off.state, waiting.state) == ("failed", "waiting")
    study.optimize(lambda trial: trial.suggest_float("learning_rate", 0.0002, 0.01, log=True), 1)
    again = search.every(study)[1]
    assert (again.number, again.state) == (1, "finished")
    assert again.values == broken_off.values
