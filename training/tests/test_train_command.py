"""`manage.py train`, called as a person does: whole runs on few pictures, and what it refuses."""

import dataclasses
import importlib
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import OutputWrapper
from django.db import DatabaseError
from pytest_django import Settings

from classifier.bundles import Bundle
from classifier.models import ModelVersion, RegisteredModel
from training import checkpoints, drawing, orders, recipe_words, requests, runs
from training.datasets import cifar10
from training.datasets.dataset import Dataset, Split
from training.management.commands.train import onwards, order_of
from training.management.stopping import sigterm_as_interrupt
from training.management.terminal import reporter
from training.models import TrainingRun
from training.orders import Order
from training.progress import Progress
from training.recipes import recipe as recipes
from training.recipes.settings import Settings as RecipeSettings
from training.tests.full_disk import room_for

pytestmark = pytest.mark.django_db
# A thread of the run writes its row, over a connection of its own.
trains = pytest.mark.django_db(transaction=True)

Train = Callable[..., str]
PETS = ("cat", "dog")


def _tiny_cifar10(seed: int = 0) -> Dataset:
    """Ten labels, told apart by brightness: 40 training and 10 test pictures of each."""
    rng = np.random.default_rng(seed)

    def split(per_label: int) -> Split:
        labels = np.arange(10, dtype=np.int64).repeat(per_label)
        noise = rng.integers(0, 12, (len(labels), 32, 32, 3))
        return Split((labels[:, None, None, None] * 24 + noise).astype(np.uint8), labels)

    train, test = split(40).in_canonical_order(), split(10).in_canonical_order()
    return Dataset(cifar10.NAME, cifar10.LABEL_KEYS, train, test)


@pytest.fixture
def roots(settings: Settings, tmp_path: Path) -> Path:
    """Folders of this test's own, with a small CIFAR-10 in them."""
    settings.DATASETS_ROOT = tmp_path / "datasets"
    settings.RUNS_ROOT = tmp_path / "runs"
    settings.DATASETS_ROOT.mkdir()
    cifar10.save(_tiny_cifar10(), settings.DATASETS_ROOT)
    return tmp_path


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A folder of cats and dogs, twenty of each, larger than any network takes them."""
    return drawing.draw(tmp_path / "My Pets", per_label=20, side=80, label_keys=PETS)


@pytest.fixture
def train(roots: Path) -> Train:
    return lambda *words: say("train", *words)


def say(*words: str) -> str:
    stdout = io.StringIO()
    call_command(*words, stdout=stdout, no_color=True)
    return stdout.getvalue()


def refused(*words: str) -> str:
    with pytest.raises(CommandError) as refusal:
        say(*words)
    assert refusal.value.returncode == 2
    return str(refusal.value)


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
    cifar10.save(_tiny_cifar10(seed=1), settings.DATASETS_ROOT)
    assert "is not the one that was trained on" in refused("reproduce", "cifar10:1")


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
    said = json.loads(say("evaluate", "my-pets:1", "--dataset", str(pets), "--json"))
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

    # Where it says that somebody is at it, nobody else may begin.
    TrainingRun.objects.update(outcome="running", pid=os.getpid())
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


@pytest.fixture
def no_data(settings: Settings, tmp_path: Path) -> Path:
    settings.DATASETS_ROOT = tmp_path / "empty"
    settings.RUNS_ROOT = tmp_path / "runs"
    return tmp_path


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


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Expected a recipe: .*cifar10_fast"),
        (["cifar11"], r"one of the recipes .*cifar10_fast"),
        (["cifar10_fast", "--set", "speed=3"], "one of the settings"),
        (["cifar10_fast", "--set", "epochs"], "KEY=VALUE"),
        (["cifar10_fast", "--set", "learning_rate=fast"], "learning_rate as float"),
        (["cifar10_fast", "--epochs", "0"], "epochs above 0"),
        (["cifar10_fast", "--epochs", "3"], "small_epochs below epochs"),
        (["cifar10_fast", "--seed", "-1"], "--seed from 0 to 4294967295"),
        (["cifar10_fast", "--seed", "4294967296"], "--seed from 0 to 4294967295"),
        (["cifar10_fast", "--smoke", "--weights", "nowhere.h5"], "Received: nowhere.h5"),
        (["cifar10_fast", "--max-bad", "2"], "--max-bad from 0 to 1"),
        (["cifar10_fast", "--activate", "--override-gate"], "expected --reason"),
        (["cifar10_fast", "--activate", "--reason", "x" * 501], "500 characters"),
        (["transfer", "--architecture", "vgg17"], "--architecture as one of .*vgg16.*: vgg17"),
        (["cifar10_fast", "--name", "My Model"], "lower-case"),
        (["cifar10_fast", "--set", "validation=100000"], "hold out between"),
        (["cifar10_fast", "--dataset", "nowhere"], "There is no data set nowhere"),
        (["cifar10_fast", "--dataset", "snapshot:june"], "there are: none yet"),
        (["cifar10_mobilenetv2", "--weights", "nowhere.h5"], "Received: nowhere.h5"),
        (["cifar10_fast", "--resume"], "no run of cifar10_fast to resume"),
        (["cifar10_fast", "--resume", "nowhere"], "no run in nowhere"),
        (["cifar10_fast", "--resume", "--epochs", "3"], "keeps its settings"),
        (["cifar10_fast", "--resume", "--dataset", "cifar10"], "keeps its settings"),
        (["cifar10_fast", "--resume", "--architecture", "cifar10_cnn"], "keeps its settings"),
    ],
)
def test_bad_input_is_answered_with_what_was_expected(
    train: Train, arguments: list[str], sentence: str
) -> None:
    with pytest.raises(CommandError, match=sentence) as refusal:
        train(*arguments)
    assert refusal.value.returncode == 2
    assert not TrainingRun.objects.exists()


def test_without_data_it_names_the_command_that_fetches_them(no_data: Path) -> None:
    assert "manage.py fetch_dataset cifar10" in refused("train", "cifar10_fast")


def test_options_are_checked_before_data_are_asked_for(no_data: Path) -> None:
    (no_data / "file").touch()
    assert "one of the settings" in refused("train", "cifar10_fast", "--set", "speed=3")
    for output in ("file", "file/inside"):
        sentence = refused("train", "cifar10_fast", "--smoke", "--output", str(no_data / output))
        assert "which is a file" in sentence or "cannot be written" in sentence


def _one_picture_in_a_class(pets: Path) -> None:
    for picture in sorted((pets / "dog").iterdir())[1:]:
        picture.unlink()


def _an_empty_class(pets: Path) -> None:
    shutil.rmtree(pets / "dog")
    (pets / "dog").mkdir()


def _unreadable_files(pets: Path) -> None:
    for picture in sorted((pets / "dog").iterdir())[:10]:
        picture.write_bytes(b"no picture")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_one_picture_in_a_class, "dog"),
        (_an_empty_class, "dog holds no pictures"),
        (_unreadable_files, "10 of 40 files cannot be read"),
    ],
)
def test_a_folder_that_cannot_be_learnt_from_is_refused(
    train: Train, pets: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    spoil(pets)
    assert sentence in refused("train", "baseline_cnn", "--dataset", str(pets))


def test_some_unreadable_files_are_skipped_and_said(roots: Path, pets: Path) -> None:
    _unreadable_files(pets)
    order = Order(recipe="baseline_cnn", dataset=str(pets), max_bad=0.5)
    with orders.prepared(order) as session:
        assert any("10 corrupt" in note for note in session.notes)


def test_a_folder_that_holds_a_run_is_not_overwritten(train: Train, roots: Path) -> None:
    folder = roots / "out"
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    assert "holds a run already" in refused("train", "cifar10_fast", "--output", str(folder))
    assert "not a run's description" in refused("train", "cifar10_fast", "--resume", str(folder))


@trains
def test_weights_of_another_network_are_refused_and_the_run_is_not_to_go_on(
    train: Train, roots: Path, pets: Path
) -> None:
    wrong = roots / "wrong.weights.h5"
    wrong.write_bytes(b"no weights")
    sentence = refused(
        "train", "transfer", "--dataset", str(pets), "--weights", str(wrong), "--smoke"
    )
    assert "wrong.weights.h5" in sentence
    run = TrainingRun.objects.get()
    assert run.state == "refused"
    assert "wrong.weights.h5" in run.why
    assert not requests.may_go_on(run)


@trains
def test_a_run_whose_loss_is_no_number_is_not_to_go_on(train: Train, roots: Path) -> None:
    sentence = refused("train", "baseline_cnn", "--smoke", "--set", "learning_rate=1e30")
    run = TrainingRun.objects.get()
    assert (run.state, run.why) == ("diverged", sentence)
    assert not requests.may_go_on(run)


def test_weights_that_changed_stop_a_resumed_run(roots: Path, pets: Path) -> None:
    weights = roots / "start.weights.h5"
    weights.write_bytes(b"one")
    order = Order(recipe="transfer", dataset=str(pets), weights=str(weights), output=roots / "out")
    with orders.prepared(order):
        weights.write_bytes(b"other")
    assert "are not those" in refused("train", "transfer", "--resume", str(roots / "out"))


# -- runs that are broken off ----------------------------------------------------------------------


@pytest.fixture
def program(roots: Path) -> dict[str, str]:
    """The variables of a process of its own, with a database of its own."""
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "classifyme.settings",
        "DATASETS_ROOT": str(roots / "datasets"),
        "DATABASE_URL": f"sqlite:///{roots / 'db.sqlite3'}",
        "PYTHONUNBUFFERED": "1",
    }
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"], env=environment, check=True
    )
    return environment


def outcomes(roots: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(roots / "db.sqlite3") as database:
        found = database.execute("SELECT outcome, reason FROM training_trainingrun").fetchall()
    database.close()
    return found


def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_go_on(
    roots: Path, program: dict[str, str]
) -> None:
    folder = roots / "out"
    command = [
        sys.executable, "manage.py", "train", "baseline_cnn", "--smoke",
        "--epochs", "90000", "--output", str(folder),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, env=program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        _wait_for(folder / "checkpoint.npz", process)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    assert f"--resume {folder}" in output
    assert "Traceback" not in output
    with np.load(folder / "checkpoint.npz") as arrays:
        assert arrays["done"] > 0
    assert outcomes(roots) == [("stopped", "Stopped by a person, or by the machine.")]


def test_sigterm_ends_a_run_as_ctrl_c_does() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), sigterm_as_interrupt():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


@trains
def test_a_full_disk_ends_a_run_with_a_sentence(
    train: Train, roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = checkpoints.write_arrays

    def without_room(path: Path, arrays: Mapping[str, Any]) -> None:
        with room_for(500_000):
            write(path, arrays)

    monkeypatch.setattr(checkpoints, "write_arrays", without_room)
    sentence = refused("train", "baseline_cnn", "--smoke", "--output", str(roots / "out"))
    assert "could not be written: File too large" in sentence
    run = TrainingRun.objects.get()
    assert (run.state, run.why) == ("failed", sentence)


def _wait_for(path: Path, process: "subprocess.Popen[str]", seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)


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
