"""Several devices that share each batch: on JAX two virtual ones, on TensorFlow a plain refusal."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from training import hardware
from training.hardware import DevicesError
from training.trainer import TrainingError, check_shared


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of a tiny run on one device and on two."""
    environment = os.environ | {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    done = subprocess.run(
        [sys.executable, "-m", "training.tests.sharing", str(tmp_path_factory.mktemp("sharing"))],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_two_devices_train_what_one_does(measured: dict[str, Any]) -> None:
    assert measured["backend"] == "jax"
    alone, together = measured["histories"]
    assert len(alone) == len(together) == 2
    for one, two in zip(alone, together, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-3)
        assert two["accuracy"] == pytest.approx(one["accuracy"], abs=0.03)
        assert two["validation_loss"] == pytest.approx(one["validation_loss"], rel=1e-2)
    assert measured["largest"] > 0.1
    assert measured["apart"] < 0.01


def test_each_device_holds_all_weights(measured: dict[str, Any]) -> None:
    alone, together = measured["holding"]
    assert set(alone) == {1}
    assert set(together) == {2}


def test_a_batch_that_devices_cannot_share_is_refused(measured: dict[str, Any]) -> None:
    assert "that 2 devices can share" in measured["uneven"]
    assert "--set batch_size=14" in measured["uneven"]
    with pytest.raises(TrainingError, match="--set batch_size=4"):
        check_shared(3, 4)
    check_shared(64, 4)


def test_tensorflow_trains_on_one_device_and_says_so() -> None:
    assert len(hardware.devices("1")) == 1
    with pytest.raises(DevicesError, match=r"on jax only: set KERAS_BACKEND=jax.* 2 on tensorflow"):
        hardware.devices("2")


@pytest.mark.parametrize("asked", ["0", "-1", "two", "", "1.5", "\u00b2"])
def test_a_number_of_devices_that_is_none_is_refused(asked: str) -> None:
    with pytest.raises(DevicesError, match="Expected --devices as a number or all"):
        hardware.devices(asked)


def test_train_refuses_devices_before_it_reads_any_picture(
    settings: Settings, tmp_path: Path
) -> None:
    settings.DATASETS_ROOT = tmp_path / "empty"
    with pytest.raises(CommandError, match="KERAS_BACKEND=jax") as refusal:
        call_command("train", "baseline_cnn", "--devices", "2")
    assert refusal.value.returncode == 2


@pytest.mark.parametrize(
    "words",
    [
        ("train", "baseline_cnn", "--folds", "3"),
        ("search_architectures", "--dataset", "x", "--backbones", "baseline_cnn"),
    ],
    ids=lambda words: str(words[0]),
)
def test_what_exports_as_soon_as_it_has_trained_is_refused_on_jax(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(CommandError, match="expected KERAS_BACKEND=tensorflow") as refusal:
        call_command(*words)
    assert refusal.value.returncode == 2
