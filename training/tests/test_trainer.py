from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from training.datasets.dataset import hold_out
from training.progress import Epoch, Progress
from training.recipes import recipe as recipes
from training.tests import tiny
from training.tests.pictures import KEYS, colours
from training.trainer import Trainer, TrainingError, fitting_batch

SMALL = {"epochs": "2", "small_epochs": "0", "batch_size": "16", "validation": "12"}
# What is tried does not hang on how many filters there are.
NARROW = {"widths": (16, 32, 32)}
Event = Progress | Epoch


def _ignore(event: Event) -> None:
    pass


def _trainer(
    folder: Path,
    report: Callable[[Event], None] = _ignore,
    /,
    recipe_name: str = "tiny",
    **changes: str,
) -> Trainer:
    recipe = tiny.RECIPE if recipe_name == "tiny" else _narrow(recipe_name)
    train, validation = hold_out(colours(60), 12)
    folder.mkdir(parents=True, exist_ok=True)
    return Trainer(
        recipe,
        recipe.settings.changed(SMALL | changes),
        train=train,
        validation=validation,
        label_count=len(KEYS),
        seed=7,
        folder=folder,
        report=report,
    )


def _narrow(name: str) -> recipes.Recipe:
    recipe = recipes.find(name)
    wide = recipe.architecture in ("cifar10_fast", "cifar10_strong")
    return replace(recipe, architecture_options=NARROW) if wide else recipe


def _weights(trainer: Trainer) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in trainer.network.variables]


@pytest.mark.parametrize(
    ("recipe_name", "changes"), [("tiny", {"optimizer": "adam"}), ("cifar10_fast", {})]
)
def test_a_run_broken_off_mid_epoch_ends_where_an_unbroken_one_does(
    tmp_path: Path, recipe_name: str, changes: dict[str, str]
) -> None:
    unbroken = _trainer(tmp_path / "unbroken", recipe_name=recipe_name, **changes)
    unbroken.run()

    def break_off(event: Event) -> None:
        if isinstance(event, Progress) and (event.epoch, event.step) == (2, 2):
            raise KeyboardInterrupt

    broken = _trainer(tmp_path / "broken", break_off, recipe_name=recipe_name, **changes)
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    resumed = _trainer(tmp_path / "broken", recipe_name=recipe_name, **changes)
    resumed.resume()
    assert resumed.done == 5
    resumed.run()

    for expected, received in zip(_weights(unbroken), _weights(resumed), strict=True):
        assert np.array_equal(expected, received)
    assert resumed.history[0] == broken.history[0]
    assert resumed.history[1].loss == unbroken.history[1].loss


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_run_broken_off_while_an_epoch_is_validated_ends_where_an_unbroken_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    changes = {"optimizer": "adam", "ema": "0.5"}
    unbroken = _trainer(tmp_path / "unbroken", **changes)
    unbroken.run()

    broken = _trainer(tmp_path / "broken", **changes)
    validate = broken._validate

    def break_off() -> tuple[float, float]:
        if len(broken.history) == epoch - 1:
            raise KeyboardInterrupt
        return validate()

    monkeypatch.setattr(broken, "_validate", break_off)
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    resumed = _trainer(tmp_path / "broken", **changes)
    resumed.resume()
    resumed.run()

    for expected, received in zip(_weights(unbroken), _weights(resumed), strict=True):
        assert np.array_equal(expected, received)
    assert [replace(line, seconds=0) for line in resumed.history] == [
        replace(line, seconds=0) for line in unbroken.history
    ]


def test_it_learns_to_tell_colours_apart(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, recipe_name="cifar10_fast", epochs="6")
    trainer.run()
    assert max(epoch.validation_accuracy for epoch in trainer.history) == 1.0


def test_it_reports_each_step_and_each_epoch(tmp_path: Path) -> None:
    events: list[Event] = []
    _trainer(tmp_path, events.append).run()
    steps = [(event.epoch, event.step) for event in events if isinstance(event, Progress)]
    assert steps == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    assert [event.epoch for event in events if isinstance(event, Epoch)] == [1, 2]
    assert (tmp_path / "history.csv").read_text().count("\n") == 3


def test_the_learning_rate_rises_and_falls(tmp_path: Path) -> None:
    rates: list[float] = []

    def note(event: Event) -> None:
        if isinstance(event, Progress):
            rates.append(event.learning_rate)

    _trainer(tmp_path, note, epochs="4", warmup="0.5").run()
    peak = rates.index(max(rates))
    assert 0 < peak < len(rates) - 1
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_the_best_epochs_network_is_kept(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path)
    trainer.run()
    best = max(trainer.history, key=lambda epoch: (epoch.validation_accuracy, epoch.epoch))
    network = trainer.best_network()
    if best.epoch == 2:
        for expected, received in zip(trainer.network.variables, network.variables, strict=True):
            assert np.array_equal(*map(keras.ops.convert_to_numpy, (expected, received)))
    assert network.dtype_policy.name == "float32"


def test_a_loss_that_is_no_number_stops_the_run_with_advice(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, recipe_name="cifar10_fast", learning_rate="1e30", epochs="3")
    with pytest.raises(TrainingError, match=r"loss became .*learning_rate"):
        trainer.run()


def test_resuming_without_a_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no checkpoint to resume from"):
        _trainer(tmp_path).resume()


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    _trainer(tmp_path).save_checkpoint()
    with pytest.raises(TrainingError, match="another network"):
        _trainer(tmp_path, recipe_name="cifar10_fast").resume()


def test_mixed_precision_trains_and_gives_a_float32_network(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, precision="mixed_bfloat16", epochs="1")
    trainer.run()
    assert trainer.network.get_layer("logits").compute_dtype == "float32"
    assert {layer.compute_dtype for layer in trainer.best_network().layers} == {"float32"}


def test_a_run_that_starts_with_small_pictures_ends_with_a_network_for_whole_ones(
    tmp_path: Path,
) -> None:
    running = _trainer(
        tmp_path, recipe_name="cifar10_fast", small_epochs="1", small_side="0.5", epochs="2"
    )
    sides: list[int] = []
    learn = running.learning.train_on_batch

    def watched(images: np.ndarray, *rest: object, **more: object) -> object:
        sides.append(images.shape[1])
        return learn(images, *rest, **more)

    running.learning.train_on_batch = watched
    running.run()

    assert sides == [16] * running.steps + [32] * running.steps
    assert running.best_network().input_shape == (None, 32, 32, 3)


def test_a_network_of_one_size_cannot_start_with_small_pictures(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"cifar10_cnn takes pictures of one size only"):
        _trainer(tmp_path, recipe_name="cifar10_cnn", small_epochs="1")


def test_branches_learn_apart_and_answer_together(tmp_path: Path) -> None:
    running = _trainer(tmp_path, recipe_name="cifar10_strong", epochs="1")
    images = running.validation.images[:4].astype(np.float32)

    running.run()

    apart = keras.ops.convert_to_numpy(running.learning.predict_on_batch(images))
    together = keras.ops.convert_to_numpy(running.network.predict_on_batch(images))
    assert apart.shape == (4, 3, len(KEYS))
    assert np.allclose(apart.mean(axis=1), together, atol=1e-5)
    assert not np.allclose(apart[:, 0], apart[:, 1], atol=1e-3)


@pytest.mark.parametrize(
    ("asked", "images", "devices", "received"),
    [(32, 59, 1, 29), (32, 59, 4, 28), (32, 20, 1, 20), (32, 64, 1, 32), (32, 890, 1, 32)],
)
def test_few_images_are_not_left_out_of_an_epoch(
    asked: int, images: int, devices: int, received: int
) -> None:
    assert fitting_batch(asked, images, devices) == received
