"""`manage.py train`, called as a person does: whole runs on few pictures, and what it says."""

import dataclasses
import importlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError
from django.core.management.base import OutputWrapper
from django.db import DatabaseError
from django.utils import timezone
from pytest_django import Settings

from classifier.bundles import Bundle
from classifier.models import ModelVersion, RegisteredModel
from training import orders, recipe_words, runs
from training.datasets import cifar10
from training.management.commands.train import onwards, order_of
from training.management.terminal import reporter
from training.models import TrainingRun
from training.orders import Order
from training.progress import Progress
from training.recipes import recipe as recipes
from training.recipes.settings import Settings as RecipeSettings
from training.tests.commands import PETS, Train, refused, say, tiny_cifar10

pytestmark = pytest.mark.django_db
# A thread of the run writes its row, over a connection of its own.
trains = pytest.mark.django_db(transaction=True)


# -- whole runs ------------------------------------------------------------------------------------


@trains
def test_it_trains_reports_registers_and_activates_and_can_be_reproduced(
    train: Train, roots: Path, settings: Settings
) -> None:
    folder = roots / "out"
    printed = train(
        *("baseline_cnn", "--smoke", "--output", str(folder), "--activate"),
        *("--override-gate", "--reason", "a smoke run"),
    )

    bundle = Bundle.open(folder / "bundle")
    bundle.verify()
    assert {"model_card.md", "history.csv"} <= {path.name for path in bundle.files("report")}
    assert bundle.manifest.recipe["command"] == (
        "python manage.py train baseline_cnn --seed 0 --smoke"
    )
    measured = bundle.manifest.metrics["test"]
    assert measured["images"] == 100
    assert f"{measured['accuracy']:.2%}" in printed

    version = ModelVersion.objects.get()
    assert version.bundle_digest == bundle.digest
    assert RegisteredModel.objects.get(name="cifar10").active_version == version

    run = TrainingRun.objects.get()
    assert (run.state, run.why, run.version, run.smoke) == ("finished", "", version, True)
    assert run.test_accuracy == measured["accuracy"]
    assert run.counts == {"train": 200, "validation": 200, "test": 100}
    assert run.dataset_digest == bundle.manifest.dataset["digest"]
    assert run.hardware["backend"] == "tensorflow"
    assert [line["epoch"] for line in run.history] == [1]
    ending = runs.read_ending(folder)
    assert ending is not None
    assert ending.outcome == "finished"

    printed = say("reproduce", "cifar10:1", "--output", str(roots / "again"))
    assert "Reproduced: every figure is the same." in printed
    assert ModelVersion.objects.count() == 1

    # Without the row, as of a bundle that came from elsewhere: the manifest tells as much.
    TrainingRun.objects.all().delete()
    printed = say("reproduce", "cifar10", "1", "--dry-run")
    assert "The data set is the same" in printed
    cifar10.save(tiny_cifar10(seed=1), settings.DATASETS_ROOT)
    assert "is not the one that was trained on" in refused("reproduce", "cifar10:1")


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("My Pets", "my-pets"),
        ("mes photos été ☀", "mes-photos-ete"),
        ("Straße_2", "strae-2"),
        ("роза", "pictures"),
    ],
)
def test_a_model_is_named_after_the_data_set_in_latin_letters(name: str, model: str) -> None:
    assert orders.slug(name) == model


@trains
def test_a_folder_of_ones_own_becomes_a_model_of_its_name(
    train: Train, roots: Path, pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("training.recipes.baseline_cnn")
    told = dataclasses.replace(module.RECIPE, card="Of drawn shapes.")  # not of these pictures
    monkeypatch.setattr(module, "RECIPE", told)
    train("baseline_cnn", "--dataset", str(pets), "--smoke", "--register")

    version = ModelVersion.objects.select_related("model").get()
    assert version.model.name == "my-pets"
    assert set(version.model.label_names()) == set(PETS)
    assert str(roots) not in str(version.manifest)
    assert "--dataset" in refused("train", "transfer")
    bundle = version.open_bundle()
    card = (bundle.root / "report/model_card.md").read_text()
    assert card.startswith("# My Pets, baseline_cnn")
    assert "Of drawn shapes." not in card

    # What it learned from was decoded as what it serves is: measured again, it is as it was.
    # Where that lay the run remembers, of which the bundle has the name alone.
    for where in ((), ("--dataset", str(pets))):
        said = json.loads(say("evaluate", "my-pets:1", *where, "--json"))
        assert said["loss"] == bundle.manifest.metrics["test"]["loss"]

    # The same model again, with other labels: refused before anything is trained.
    (pets / "dog").rename(pets / "horse")
    sentence = refused("train", "baseline_cnn", "--dataset", str(pets), "--smoke", "--register")
    assert "Expected the labels of My Pets: cat, dog. Received: cat, horse" in sentence
    folder = TrainingRun.objects.get().folder
    sentence = refused("train", "baseline_cnn", "--resume", folder)
    assert "was trained on: cat, dog. Received: cat, horse" in sentence
    (pets / "horse").rename(pets / "dog")
    (pets / "dog" / "0000.png").unlink()
    assert "its digest differs" in refused("train", "baseline_cnn", "--resume", folder)


@trains
def test_a_finished_run_resumed_makes_the_same_bundle_again(train: Train, roots: Path) -> None:
    folder = roots / "out"
    train("baseline_cnn", "--smoke", "--output", str(folder))
    first = Bundle.open(folder / "bundle").manifest
    started = TrainingRun.objects.get().started_at

    train("baseline_cnn", "--resume", str(folder))

    second = Bundle.open(folder / "bundle").manifest
    assert second.temperature == pytest.approx(first.temperature)
    assert second.metrics["test"] == first.metrics["test"]
    run = TrainingRun.objects.get()
    assert (run.state, run.started_at) == ("finished", started)
    with pytest.raises(CommandError, match=r"run of cifar10_cnn .* Received: baseline_cnn"):
        train("cifar10_cnn", "--resume", str(folder))

    # Where somebody is at it, nobody else may begin; one that was killed a moment ago is not.
    TrainingRun.objects.update(outcome="running", pid=os.getpid(), heard_at=timezone.now())
    with runs.held(folder):
        assert "is being trained now" in refused("train", "baseline_cnn", "--resume", str(folder))
    with orders.resumed("baseline_cnn", folder) as session:
        assert session.folder == folder
    TrainingRun.objects.update(host="another")
    assert "is being trained now" in refused("train", "baseline_cnn", "--resume", str(folder))


@trains
def test_without_a_database_it_trains_all_the_same(
    train: Train, roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*args: object, **options: object) -> None:
        raise DatabaseError("could not connect to server")

    with monkeypatch.context() as patch:
        patch.setattr("django.db.models.sql.compiler.SQLCompiler.execute_sql", gone)
        patch.setattr("django.db.models.sql.compiler.SQLInsertCompiler.execute_sql", gone)
        train("baseline_cnn", "--smoke", "--output", str(roots / "out"))

    Bundle.open(roots / "out" / "bundle").verify()
    assert not TrainingRun.objects.exists()


# -- what an order becomes, without training it ----------------------------------------------------


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_smokes_on_a_machine_without_data_and_weights(
    no_data: Path, name: str
) -> None:
    with orders.prepared(Order(recipe=name, smoke=True)) as session:
        assert session.recipe.weights == "none"
        assert all(0 < count <= 1500 for count in session.counts().values())
        height, width = session.train.images.shape[1:3]
        if session.recipe.input:
            assert (height, width) == (session.recipe.input.height, session.recipe.input.width)
        assert session.train.images[:2].dtype == np.uint8


def test_what_a_smoke_run_does_without_is_said(no_data: Path) -> None:
    with orders.prepared(Order(recipe="transfer", smoke=True)) as session:
        assert session.plan.drawn
        assert any("draws itself" in note for note in session.notes)
        assert any("random ones" in note for note in session.notes)
    assert "not worth registering" in refused("train", "baseline_cnn", "--smoke", "--register")


def test_a_backbone_frozen_at_random_is_remarked_on(roots: Path, pets: Path) -> None:
    order = Order("transfer", dataset=str(pets), weights="none")
    with orders.material(order) as (_, _, notes):
        assert orders.FROZEN_AT_RANDOM in notes
    order = Order("transfer", dataset=str(pets), weights="none", changes={"head_epochs": "0"})
    with orders.material(order) as (_, _, notes):
        assert orders.FROZEN_AT_RANDOM not in notes


@pytest.mark.parametrize(("epochs", "told"), [("3", True), ("4", False)])
def test_a_run_of_the_head_alone_is_remarked_on(
    roots: Path, pets: Path, epochs: str, told: bool
) -> None:
    changes = {"epochs": epochs, "head_epochs": "3"}
    order = Order("transfer", dataset=str(pets), weights="none", changes=changes)
    with orders.material(order) as (_, _, notes):
        assert any("train the head alone" in note for note in notes) == told


@pytest.mark.parametrize(
    ("recipe", "patience", "told"),
    [("cifar10_cnn", "3", True), ("cifar10_cnn", "0", False), ("baseline_cnn", "3", False)],
)
def test_patience_with_muon_is_remarked_on(
    roots: Path, pets: Path, recipe: str, patience: str, told: bool
) -> None:
    order = Order(recipe, dataset=str(pets), changes={"patience": patience})
    with orders.material(order) as (_, _, notes):
        assert (orders.STOPPED_TOO_EARLY in notes) == told


def test_settings_and_choices_of_the_command_line_reach_the_run(roots: Path, pets: Path) -> None:
    options = {
        "recipe": "cifar10_cnn", "dataset": str(pets), "name": "pets", "title": "Our pets",
        "architecture": "baseline_cnn", "weights": None, "group_by": None, "max_bad": 0.2,
        "epochs": 2, "seed": 5,
        "set": ["batch_size=8", "learning_rate=0.01"], "smoke": False, "output": roots / "out",
    }  # fmt: skip
    with orders.prepared(order_of(options)) as session:
        plan = runs.read(roots / "out")
        assert plan == session.plan
        assert (plan.seed, plan.settings.batch_size, plan.settings.epochs) == (5, 8, 2)
        assert (plan.model_name, plan.model_title, plan.max_bad) == ("pets", "Our pets", 0.2)
        assert (session.recipe.model_title, plan.architecture) == ("Our pets", "baseline_cnn")
    assert plan.command == (
        f"python manage.py train cifar10_cnn --dataset '{pets}' --name pets --title 'Our pets' "
        "--architecture baseline_cnn --max-bad 0.2 --seed 5 --set batch_size=8 "
        "--set learning_rate=0.01 --epochs 2"
    )
    with orders.resumed("cifar10_cnn", roots / "out") as session:
        assert session.recipe.architecture == "baseline_cnn"


def test_a_group_stays_on_one_side(roots: Path, pets: Path) -> None:
    order = Order(recipe="baseline_cnn", dataset=str(pets), group_by=r"(\d)\.png$")
    with orders.prepared(order) as session:
        sides = [
            {Path(name).stem[-1] for name in split.names}
            for split in (session.train, session.validation, session.test)
        ]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]


def test_a_relative_path_is_found_again_from_another_folder(
    roots: Path, pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pets.parent)
    order = Order(recipe="baseline_cnn", dataset=pets.name, output=roots / "out")
    with orders.prepared(order):
        pass
    monkeypatch.chdir("/")
    with orders.resumed("baseline_cnn", roots / "out") as session:
        assert session.dataset.name == "My Pets"


def test_a_run_whose_pictures_would_be_decoded_otherwise_does_not_go_on(
    roots: Path, pets: Path
) -> None:
    with orders.prepared(Order("baseline_cnn", dataset=str(pets), output=roots / "out")):
        pass
    written = json.loads((roots / "out/run.json").read_text())
    written["input"]["interpolation"] = "bicubic"
    (roots / "out/run.json").write_text(json.dumps(written))
    assert "decoded otherwise" in refused("train", "baseline_cnn", "--resume", str(roots / "out"))


def test_relative_weights_are_found_again_from_another_folder(
    roots: Path, pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (roots / "start.weights.h5").write_bytes(b"some")
    monkeypatch.chdir(roots)
    with orders.prepared(
        Order("transfer", dataset=str(pets), weights="start.weights.h5", output=roots / "out")
    ):
        pass
    monkeypatch.chdir("/")
    with orders.resumed("transfer", roots / "out") as session:
        assert session.plan.weights == str(roots / "start.weights.h5")


def test_a_network_that_starts_from_nothing_takes_no_weights_in_a_smoke_run_either() -> None:
    said = refused("train", "cifar10_fast", "--smoke", "--weights", "imagenet")
    assert "cifar10_fast starts from nothing" in said


def test_how_to_go_on_keeps_what_was_to_become_of_the_result() -> None:
    chosen = {"register": True, "activate": True, "override_gate": True, "reason": "it is better"}
    assert onwards(chosen) == [
        "--register", "--activate", "--override-gate", "--reason", "it is better",
    ]  # fmt: skip
    assert onwards(dict.fromkeys(chosen, "")) == []


def test_the_list_of_recipes_says_what_each_is_for() -> None:
    lines = say("train", "--list").splitlines()
    for name in recipes.names():
        recipe = recipes.find(name)
        (line,) = (line for line in lines if line.startswith(f"{name} "))
        assert recipe.title in line
        assert recipe.architecture in line
        assert line.endswith(recipe.dataset or "--dataset, your own")


def test_a_recipe_tells_its_results_and_every_setting_with_its_value() -> None:
    printed = say("train", "flowers", "--about")
    assert "93.63 % on 204 test pictures" in printed
    assert "  head_epochs=3\n" in printed
    for name in recipes.find("flowers").settings.as_json():
        assert f"\n  {name}=" in printed
    assert "one of the recipes" in refused("train", "nope", "--about")


def test_the_reference_explains_every_setting_as_the_code_does() -> None:
    page = Path("docs/reference/settings.md").read_text(encoding="utf-8")
    explained = [row for group in recipe_words.explained() for row in group.settings]
    defaults = {item.name: item.default for item in dataclasses.fields(RecipeSettings)}
    assert {name for name, _ in explained} == set(recipes.find("flowers").settings.as_json())
    for name, meaning in explained:
        default = defaults[name]
        cell = "each recipe says" if default is dataclasses.MISSING else f"`{_shown(default)}`"
        assert f"| `{name}` | {cell} | {meaning} |\n" in page


def _shown(value: object) -> str:
    return json.dumps(value).strip('"')


def test_on_a_terminal_each_step_is_written_over_the_one_before() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    said = Terminal()
    tell = reporter(OutputWrapper(said))
    for step, left in ((1, float("nan")), (2, 60.0)):
        tell(
            Progress(
                epoch=1, epochs=2, step=step, steps=2, loss=1.0, accuracy=0.5, learning_rate=0.1,
                seconds_left=left,
            )
        )  # fmt: skip
        assert said.getvalue().endswith(" left\r") is (step == 2)
    assert "step 2/2" in said.getvalue()
    assert "\n" not in said.getvalue()
