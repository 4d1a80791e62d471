"""Small data and folders of its own for a test that calls `manage.py train`, and how to call it."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from training import drawing
from training.datasets import cifar10
from training.datasets.dataset import Dataset, Split

Train = Callable[..., str]
PETS = ("cat", "dog")


def tiny_cifar10(seed: int = 0) -> Dataset:
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
    cifar10.save(tiny_cifar10(), settings.DATASETS_ROOT)
    return tmp_path


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A folder of cats and dogs, twenty of each, larger than any network takes them."""
    return drawing.draw(tmp_path / "My Pets", per_label=20, side=80, label_keys=PETS)


@pytest.fixture
def no_data(settings: Settings, tmp_path: Path) -> Path:
    """Folders of this test's own, with no data set in them."""
    settings.DATASETS_ROOT = tmp_path / "empty"
    settings.RUNS_ROOT = tmp_path / "runs"
    return tmp_path


@pytest.fixture
def train(roots: Path) -> Train:
    """`manage.py train`, which returns what it printed."""
    return lambda *words: say("train", *words)


def say(*words: str) -> str:
    """Call `manage.py` with these words; return what it printed."""
    stdout = io.StringIO()
    call_command(*words, stdout=stdout, no_color=True)
    return stdout.getvalue()


def refused(*words: str) -> str:
    """Call it with words that are to end with exit code 2; return the sentence it said."""
    with pytest.raises(CommandError) as refusal:
        say(*words)
    assert refusal.value.returncode == 2
    return str(refusal.value)
