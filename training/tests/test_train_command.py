import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from classifier.bundles import Bundle
from classifier.models import ModelVersion, RegisteredModel
from training.datasets import cifar10
from training.datasets.dataset import Dataset, Split

Train = Callable[..., str]


def _tiny_cifar10() -> Dataset:
    """Ten labels, told apart by brightness: 40 training and 10 test pictures of each."""
    rng = np.random.default_rng(0)

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
def train(roots: Path) -> Train:
    def run(*arguments: str) -> str:
        stdout = io.StringIO()
        call_command("train", *arguments, stdout=stdout)
        return stdout.getvalue()

    return run


@pytest.mark.django_db
def test_it_trains_reports_registers_and_activates(train: Train, roots: Path) -> None:
    folder = roots / "out"
    printed = train("cifar10_fast", "--smoke", "--output", str(folder), "--activate")

    bundle = Bundle.open(folder / "bundle")
    bundle.verify()
    names = {path.name for path in bundle.files("report")}
    assert {"curves.png", "confusion_matrix.png", "model_card.md", "history.csv"} <= names
    assert bundle.manifest.recipe["command"] == (
        "python manage.py train cifar10_fast --seed 0 --smoke"
    )
    measured = bundle.manifest.metrics["test"]
    assert measured["images"] == 100
    assert f"test accuracy      {measured['accuracy']:.2%}" in printed

    version = ModelVersion.objects.get()
    assert version.bundle_digest == bundle.digest
    assert RegisteredModel.objects.get(name="cifar10").active_version == version


def test_settings_of_the_command_line_reach_the_run(train: Train, roots: Path) -> None:
    folder = roots / "out"
    train(
        "cifar10_cnn", "--smoke", "--seed", "5", "--set", "batch_size=100",
        "--set", "learning_rate=0.01", "--epochs", "2", "--output", str(folder),
    )  # fmt: skip
    plan = json.loads((folder / "run.json").read_text())
    assert plan["seed"] == 5
    assert plan["settings"]["batch_size"] == 100
    assert plan["settings"]["learning_rate"] == 0.01
    assert (folder / "history.csv").read_text().count("\n") == 3


def test_a_finished_run_resumed_makes_the_same_bundle_again(train: Train, roots: Path) -> None:
    folder = roots / "out"
    train("cifar10_fast", "--smoke", "--output", str(folder))
    first = Bundle.open(folder / "bundle").manifest
    train("cifar10_fast", "--resume", str(folder))
    second = Bundle.open(folder / "bundle").manifest
    assert second.temperature == pytest.approx(first.temperature)
    assert second.metrics["test"] == first.metrics["test"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["cifar11"], r"one of the recipes .*cifar10_fast"),
        (["cifar10_fast", "--set", "speed=3"], "one of the settings"),
        (["cifar10_fast", "--set", "epochs"], "KEY=VALUE"),
        (["cifar10_fast", "--epochs", "0"], "epochs above 0"),
        (["cifar10_fast", "--seed", "-1"], "--seed of at least 0"),
        (["cifar10_fast", "--set", "validation=100000"], "hold out between"),
        (["cifar10_fast", "--resume"], "no run of cifar10_fast to resume"),
        (["cifar10_fast", "--resume", "nowhere"], "no run in nowhere"),
        (["cifar10_fast", "--resume", "--epochs", "3"], "keeps its settings"),
    ],
)
def test_bad_input_is_answered_with_what_was_expected(
    train: Train, arguments: list[str], sentence: str
) -> None:
    with pytest.raises(CommandError, match=sentence) as refusal:
        train(*arguments)
    assert refusal.value.returncode == 2


def test_without_data_it_names_the_command_that_fetches_them(
    train: Train, settings: Settings, tmp_path: Path
) -> None:
    settings.DATASETS_ROOT = tmp_path / "empty"
    with pytest.raises(CommandError, match=r"manage\.py fetch_dataset cifar10"):
        train("cifar10_fast")


def test_options_are_checked_before_data_are_asked_for(
    train: Train, settings: Settings, tmp_path: Path
) -> None:
    settings.DATASETS_ROOT = tmp_path / "empty"
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="one of the settings"):
        train("cifar10_fast", "--set", "speed=3")
    with pytest.raises(CommandError, match="which is a file"):
        train("cifar10_fast", "--output", str(tmp_path / "file"))


def test_a_folder_that_holds_a_run_is_not_overwritten(train: Train, roots: Path) -> None:
    folder = roots / "out"
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    with pytest.raises(CommandError, match="holds a run already"):
        train("cifar10_fast", "--output", str(folder))
    with pytest.raises(CommandError, match="is not a run's description"):
        train("cifar10_fast", "--resume", str(folder))


def test_a_run_is_not_resumed_as_another_recipe(train: Train, roots: Path) -> None:
    folder = roots / "out"
    train("cifar10_fast", "--smoke", "--output", str(folder))
    with pytest.raises(CommandError, match=r"run of cifar10_cnn .* Received: cifar10_fast"):
        train("cifar10_cnn", "--resume", str(folder))


def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_go_on(roots: Path) -> None:
    folder = roots / "out"
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "classifyme.settings",
        "DATASETS_ROOT": str(roots / "datasets"),
        "PYTHONUNBUFFERED": "1",
    }
    command = [
        sys.executable, "manage.py", "train", "cifar10_fast", "--smoke",
        "--epochs", "100000", "--output", str(folder),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
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


def _wait_for(path: Path, process: "subprocess.Popen[str]", seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
