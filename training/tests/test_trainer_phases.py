"""Transfer in two phases, schedules that follow validation, and what keeps a run honest."""

import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import pytest

from training import augmentation
from training.checkpoints import TrainingError, write_arrays
from training.datasets.dataset import Split
from training.phases import plan_phases
from training.predicting import predict_logits
from training.progress import Epoch, Progress
from training.tests import tiny
from training.tests.full_disk import room_for
from training.tests.pictures import colours, pixels
from training.trainer import Trainer
from training.views import VIEWS, see

Event = Progress | Epoch


def _weights(trainer: Trainer) -> dict[str, np.ndarray]:
    return {
        variable.path: np.array(keras.ops.convert_to_numpy(variable))
        for variable in trainer.network.variables
    }


def _assert_same_weights(one: Trainer, other: Trainer) -> None:
    """Every bit is compared, and dropout's random state too; Keras numbers its path anew."""
    pairs = zip(_weights(one).items(), _weights(other).items(), strict=True)
    for (path, expected), (_, received) in pairs:
        assert np.array_equal(expected, received), path


def _epoch(number: int, loss: float, accuracy: float) -> Epoch:
    return Epoch(number, 0.0, 0.0, loss, accuracy, 0.1, 1.0)


def test_a_killed_run_ends_bit_for_bit_where_an_unbroken_one_does(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "training.tests.tiny", str(tmp_path / "killed")],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        unbroken = tiny.everything(tmp_path / "unbroken")
        unbroken.run()
        assert process.stdout is not None
        for line in process.stdout:
            if line == "step 2 2\n":
                process.send_signal(signal.SIGKILL)
                break
    finally:
        process.kill()
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL

    resumed = tiny.everything(tmp_path / "killed")
    resumed.resume()
    assert 4 <= resumed.done < resumed.total_steps
    resumed.run()

    _assert_same_weights(unbroken, resumed)
    ends = [
        [replace(line, seconds=0.0) for line in trainer.history] for trainer in (unbroken, resumed)
    ]
    assert ends[0] == ends[1]
    with (
        np.load(tmp_path / "unbroken" / "best.npz") as one,
        np.load(tmp_path / "killed" / "best.npz") as other,
    ):
        assert all(np.array_equal(one[name], other[name]) for name in one.files)


@pytest.mark.parametrize("stop", [(1, 3), (2, 1)])
def test_a_run_stopped_at_the_border_of_its_phases_goes_on_in_the_right_one(
    tmp_path: Path, stop: tuple[int, int]
) -> None:
    unbroken = tiny.trainer(tmp_path / "unbroken", head_epochs="1")
    unbroken.run()

    def break_off(event: Event) -> None:
        if isinstance(event, Progress) and (event.epoch, event.step) == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny.trainer(tmp_path / "broken", break_off, head_epochs="1").run()
    resumed = tiny.trainer(tmp_path / "broken", head_epochs="1")
    resumed.resume()
    resumed.run()
    _assert_same_weights(unbroken, resumed)


def test_the_head_learns_first_and_batch_normalisation_never(tmp_path: Path) -> None:
    trainer = tiny.trainer(tmp_path, head_epochs="1", epochs="2")
    seen = [_weights(trainer)]
    trainer.report = lambda event: seen.append(_weights(trainer)) if _is_epoch(event) else None
    trainer.run()

    def moved(before: int, after: int) -> set[str]:
        return {
            path.split("/")[-2]
            for path, value in seen[before].items()
            if "seed" not in path and not np.array_equal(value, seen[after][path])
        }

    assert moved(0, 1) == {"logits"}
    assert moved(1, 2) == {"logits", "stem"}


def _is_epoch(event: Event) -> bool:
    return isinstance(event, Epoch)


def test_each_phase_has_a_schedule_and_a_peak_of_its_own(tmp_path: Path) -> None:
    rates: list[float] = []

    def note(event: Event) -> None:
        if isinstance(event, Progress):
            rates.append(event.learning_rate)

    tiny.trainer(tmp_path, note, head_epochs="2", epochs="4", warmup="0.5").run()
    assert max(rates[:6]) == pytest.approx(0.05)
    assert max(rates[6:]) == pytest.approx(0.02)
    assert rates[6] < max(rates[6:])


@pytest.mark.parametrize(
    ("changes", "pretrained", "expected"),
    [
        ({}, False, [(0, 3, 0.05, None)]),
        ({"fine_tune_layers": "20"}, True, [(0, 3, 0.05, 20)]),
        ({"head_epochs": "1"}, True, [(0, 1, 0.05, 0), (1, 3, 0.02, 1000)]),
        ({"head_epochs": "9"}, True, [(0, 3, 0.05, 0)]),
    ],
)
def test_phases_follow_from_settings(
    changes: dict[str, str], pretrained: bool, expected: list[tuple[object, ...]]
) -> None:
    phases = plan_phases(tiny.RECIPE.settings.changed(changes), pretrained=pretrained)
    assert [
        (phase.first, phase.end, phase.learning_rate, phase.thawed) for phase in phases
    ] == expected


def test_an_architecture_without_a_backbone_has_no_head_epochs(tmp_path: Path) -> None:
    recipe = replace(tiny.RECIPE, architecture="baseline_cnn")
    with pytest.raises(TrainingError, match="no backbone to freeze"):
        _other(tmp_path, recipe=recipe, settings=recipe.settings.changed({"head_epochs": "1"}))


def test_an_architecture_without_pretrained_weights_says_so(tmp_path: Path) -> None:
    recipe = replace(tiny.RECIPE, weights="imagenet")
    with pytest.raises(TrainingError, match=r"starts from nothing: leave out --weights"):
        _other(tmp_path, recipe=recipe)


def _other(folder: Path, **changes: object) -> Trainer:
    fields: dict[str, object] = {
        "recipe": tiny.RECIPE, "settings": tiny.RECIPE.settings, "train": colours(12),
        "validation": colours(6), "label_count": 3, "seed": 0, "folder": folder,
        "report": lambda event: None,
    }  # fmt: skip
    return Trainer(**fields | changes)  # type: ignore[arg-type]


def test_a_run_stops_early_when_nothing_gets_better(tmp_path: Path) -> None:
    trainer = tiny.trainer(tmp_path, epochs="50", patience="2", learning_rate="0.000000001")
    trainer.run()
    assert 3 <= len(trainer.history) < 50
    resumed = tiny.trainer(tmp_path, epochs="50", patience="2", learning_rate="0.000000001")
    resumed.resume()
    resumed.run()
    assert len(resumed.history) == len(trainer.history)


def test_patience_counts_epochs_without_a_better_accuracy_or_loss(tmp_path: Path) -> None:
    trainer = tiny.trainer(tmp_path, patience="2")
    trainer.history.extend([_epoch(1, 1.0, 0.5), _epoch(2, 1.1, 0.5), _epoch(3, 0.9, 0.5)])
    assert not trainer.out_of_patience()
    trainer.history.append(_epoch(4, 0.95, 0.5))
    assert not trainer.out_of_patience()
    trainer.history.append(_epoch(5, 0.95, 0.5))
    assert trainer.out_of_patience()


def test_the_rate_falls_when_validation_stands_still(tmp_path: Path) -> None:
    trainer = tiny.trainer(
        tmp_path, epochs="5", schedule="plateau", plateau_patience="1", learning_rate="1e-9"
    )
    trainer.run()
    rates = [line.learning_rate for line in trainer.history]
    assert rates[0] == pytest.approx(1e-9)
    assert rates == sorted(rates, reverse=True)
    losses = [line.validation_loss for line in trainer.history]
    stood_still = any(after >= before for before, after in pairwise(losses[:-1]))
    assert (rates[-1] < rates[0]) is stood_still


def test_the_average_of_the_weights_is_what_is_validated_and_kept(tmp_path: Path) -> None:
    trainer = tiny.trainer(tmp_path, ema="0.99", epochs="1")
    trainer.run()
    best = trainer.best_network().get_layer("logits").get_weights()[0]
    own = trainer.network.get_layer("logits").get_weights()[0]
    assert not np.allclose(best, own)
    assert trainer.average is not None
    assert any(np.array_equal(best, value) for value in trainer.average.values)
    logits = predict_logits(trainer.best_network(), trainer.validation.images)
    right = float((logits.argmax(1) == trainer.validation.labels).mean())
    assert trainer.history[0].validation_accuracy == right


def test_rare_classes_weigh_more(tmp_path: Path) -> None:
    train = colours(90)
    kept = np.flatnonzero((train.labels > 0) | (np.arange(90) < 15))
    trainer = _other(
        tmp_path,
        train=train.take(kept),
        settings=tiny.RECIPE.settings.changed({"class_weights": "balanced"}),
    )
    assert trainer.class_weights is not None
    assert trainer.class_weights == pytest.approx([65 / 15, 65 / 90, 65 / 90])
    images, targets, weights = next(trainer._batches(0, 0))
    assert np.array_equal(weights, trainer.class_weights[targets.argmax(1)])
    assert len(images) == len(weights)


def test_l2_adds_the_squares_of_kernels_to_the_loss_and_is_not_saved(tmp_path: Path) -> None:
    trainer = tiny.trainer(tmp_path, l2="0.5")
    kernels = [value for path, value in _weights(trainer).items() if path.endswith("kernel")]
    expected = 0.5 * sum(float((kernel**2).sum()) for kernel in kernels)
    assert float(sum(trainer.network.losses)) == pytest.approx(expected, rel=1e-5)
    assert "L2" not in str(trainer.network.get_config())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"label_count": 4}, "none of class 3"),
        ({"label_count": 2}, "labels from 0 to 1"),
        ({"label_count": 1}, "at least 2 classes"),
        ({"validation": Split(np.zeros((2, 16, 16, 3), np.uint8), np.zeros(2, np.int64))}, "shape"),
        ({"validation": colours(6).take(np.arange(0))}, "Expected validation pictures"),
    ],
)
def test_splits_that_do_not_fit_are_refused(
    tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(TrainingError, match=sentence):
        _other(tmp_path, **changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"label_count": 2}, "labels 3, now 2"),
        ({"seed": 8}, "seed 7, now 8"),
        ({"train": colours(30)}, "training_images 48, now 30"),
        ({"settings": tiny.RECIPE.settings.changed({"mixup": "1"})}, r"mixup 0\.0, now 1\.0"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_with_what_differs(
    tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    first = tiny.trainer(tmp_path)
    first.save_checkpoint()
    two = colours(60)
    fields: dict[str, object] = {
        "seed": 7, "train": first.train, "validation": first.validation
    }  # fmt: skip
    if "label_count" in changes:
        pair = two.take(np.flatnonzero(two.labels < 2))
        fields |= {"train": pair, "validation": pair}
    with pytest.raises(TrainingError, match=sentence):
        _other(tmp_path, **fields | changes).resume()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"no zip at all"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    trainer = tiny.trainer(tmp_path)
    (tmp_path / "checkpoint.npz").write_bytes(content)
    with pytest.raises(TrainingError, match="is damaged or was written by another version"):
        trainer.resume()


def test_a_full_disk_ends_the_run_and_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    trainer = tiny.trainer(tmp_path)
    trainer.save_checkpoint()
    before = (tmp_path / "checkpoint.npz").read_bytes()
    with (
        room_for(1000),
        pytest.raises(TrainingError, match=r"could not be written.*go on with --resume"),
    ):
        trainer.run()
    assert (tmp_path / "checkpoint.npz").read_bytes() == before
    assert not list(tmp_path.glob("*.part"))
    trainer.resume()
    assert trainer.done == 0


def test_a_folder_that_is_gone_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="No such file or directory"):
        write_arrays(tmp_path / "gone" / "file.npz", {"a": np.zeros(1)})


def test_logits_are_averaged_over_views_batch_by_batch(tmp_path: Path) -> None:
    network, images = tiny.build(3, height=32, width=32), pixels(7)
    views = VIEWS["mirrored_shifted"]
    logits = [predict_logits(network, see(images, view)) for view in views]
    expected = np.average(logits, axis=0, weights=[view.weight for view in views])
    received = predict_logits(network, images, 3, views="mirrored_shifted")
    assert np.allclose(expected, received, atol=1e-5)


def test_an_exception_while_a_batch_is_made_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise OSError("the disk is gone")

    trainer = tiny.trainer(tmp_path)
    monkeypatch.setattr(augmentation, "augment", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        trainer.run()
