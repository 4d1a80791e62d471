import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from classifier import registry
from classifier.models import ModelVersion
from classifier.tests.bundles import make_bundle
from training.datasets import cifar10
from training.datasets.dataset import Dataset, Split

pytestmark = pytest.mark.django_db
Evaluate = Callable[..., str]


@pytest.fixture
def evaluate(settings: Settings, tmp_path: Path) -> Evaluate:
    settings.DATASETS_ROOT = tmp_path / "datasets"
    settings.DATASETS_ROOT.mkdir()
    labels = np.arange(10, dtype=np.int64).repeat(3)
    images = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3)).astype(np.uint8)
    split = Split(images, labels)
    dataset = Dataset(cifar10.NAME, cifar10.LABEL_KEYS, split, split)
    cifar10.save(dataset, settings.DATASETS_ROOT)

    def run(*arguments: str) -> str:
        stdout = io.StringIO()
        call_command("evaluate", *arguments, stdout=stdout)
        return stdout.getvalue()

    return run


@pytest.fixture
def version(tmp_path: Path) -> ModelVersion:
    bundle = make_bundle(tmp_path / "bundle", name="tens", labels=cifar10.LABEL_KEYS)
    return registry.register(bundle.root, activate=True)


def test_it_measures_the_active_version_on_the_test_images(
    evaluate: Evaluate, version: ModelVersion
) -> None:
    measured = json.loads(evaluate("tens", "--dataset", "cifar10", "--json"))
    assert measured["images"] == 30
    assert np.trace(measured["confusion"]) == round(measured["accuracy"] * 30)
    assert np.sum(measured["confusion"]) == 30


def test_it_prints_what_people_read(evaluate: Evaluate, version: ModelVersion) -> None:
    printed = evaluate("tens", str(version.number), "--dataset", "cifar10")
    assert "test accuracy" in printed
    assert "time per image" in printed
    assert "airplane" in printed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing"], "Expected a registered model: tens. Received: nothing"),
        (["tens", "7", "--dataset", "cifar10"], "no version 7"),
        (["tens", "--dataset", "mnist"], "one of cifar10. Received: mnist"),
    ],
)
def test_bad_input_is_answered_with_what_was_expected(
    evaluate: Evaluate, version: ModelVersion, arguments: list[str], sentence: str
) -> None:
    with pytest.raises(CommandError, match=sentence) as refusal:
        evaluate(*arguments)
    assert refusal.value.returncode == 2


def test_a_version_of_other_labels_is_not_measured(evaluate: Evaluate, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "other", name="colours", labels=("red", "blue"))
    registry.register(bundle.root, activate=True)
    with pytest.raises(CommandError, match="data set with the labels"):
        evaluate("colours", "--dataset", "cifar10")
