"""What `manage.py train` refuses, and in which words."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import CommandError

from training import orders, requests
from training.models import TrainingRun
from training.orders import Order
from training.tests.commands import Train, refused

pytestmark = pytest.mark.django_db
# A thread of the run writes its row, over a connection of its own.
trains = pytest.mark.django_db(transaction=True)


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
        (["cifar10_fast", "--epochs", "9", "--set", "epochs=8"], "Received: both, 9 and 8"),
        (["cifar10_fast", "--set", "head_epochs=2"], "cifar10_fast has no backbone to freeze"),
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


def test_weights_of_no_known_format_are_refused_before_pictures_are_read(no_data: Path) -> None:
    weights = no_data / "weights.zip"
    weights.touch()
    sentence = refused("train", "cats_dogs", "--weights", str(weights))
    assert ".weights.h5, .h5, .keras. Received: " in sentence


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
        assert any("10 unreadable" in note for note in session.notes)


def test_few_validation_images_are_remarked_on(roots: Path, pets: Path) -> None:
    with orders.prepared(Order(recipe="baseline_cnn", dataset=str(pets))) as session:
        few = f"Validation has {len(session.validation)} images"
        assert any(note.startswith(few) for note in session.notes)


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
