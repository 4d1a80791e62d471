"""`manage.py train --folds`: who is measured where, what is kept, and what is registered."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from classifier.imaging import InputSpec
from classifier.models import ModelVersion
from training import cross_validation, drawing, loading
from training.console import ConsoleReporter
from training.cross_validation import CrossValidation, Measured
from training.datasets import folding, sources
from training.datasets.dataset import DatasetError, Split
from training.datasets.sources import SourceOptions
from training.management import folds
from training.orders import Order
from training.progress import Epoch, Progress
from training.tests.folders import classes, image
from training.tests.folders import folder as written

PETS = ("cat", "dog")


# -- who is measured where -------------------------------------------------------------------------


def divided(
    labels: np.ndarray, together: np.ndarray, count: int = 5, seed: int = 0
) -> list[folding.Fold]:
    keys = tuple("abc"[: labels.max() + 1])
    return folding.folds(labels, together, count, seed=seed, validation=0.2, keys=keys)


LABELS = np.array([0] * 60 + [1] * 30 + [2] * 11, dtype=np.int64)
ALONE = np.arange(len(LABELS))


def test_every_picture_is_measured_once_and_never_by_what_learnt_it() -> None:
    found = divided(LABELS, ALONE)
    measured = np.concatenate([fold.measured for fold in found])
    assert sorted(measured.tolist()) == ALONE.tolist()
    for fold in found:
        sides = [*fold.train, *fold.validation, *fold.measured]
        assert sorted(sides) == ALONE.tolist()


def test_every_fold_has_its_share_of_every_label() -> None:
    for fold in divided(LABELS, ALONE):
        assert np.bincount(LABELS[fold.measured]).tolist()[:2] == [12, 6]
        assert np.bincount(LABELS[fold.measured])[2] in (2, 3)
        held = len(fold.validation) / (len(fold.validation) + len(fold.train))
        assert held == pytest.approx(0.2, abs=0.05)


def test_what_belongs_together_stays_together() -> None:
    together = np.arange(len(LABELS)) // 3
    for fold in divided(LABELS, together, count=3):
        sides = [set(together[part]) for part in (fold.train, fold.validation, fold.measured)]
        assert sum(map(len, sides)) == len(set.union(*sides))


def test_the_seed_decides_the_folds() -> None:
    first, again, other = (divided(LABELS, ALONE, seed=seed) for seed in (3, 3, 4))
    assert [fold.measured.tolist() for fold in first] == [fold.measured.tolist() for fold in again]
    assert [fold.measured.tolist() for fold in first] != [fold.measured.tolist() for fold in other]


@pytest.mark.parametrize(
    ("together", "count", "sentence"),
    [
        (ALONE, 1, "at least 2"),
        (ALONE, 12, "'c' has 11 pictures .*; 12 folds need 12"),
        (np.minimum(ALONE, 93), 5, "hang together as 4; 5 folds need 5.*--folds 4"),
    ],
    ids=["one fold", "few pictures", "few groups"],
)
def test_too_few_pictures_are_refused(together: np.ndarray, count: int, sentence: str) -> None:
    with pytest.raises(DatasetError, match=sentence):
        divided(LABELS, together, count)


def test_groups_and_near_duplicates_of_a_source_are_known(tmp_path: Path) -> None:
    files = classes({"cat": 24, "dog": 24})
    out = io.BytesIO()
    image(0).resize((30, 30)).save(out, "PNG")
    files["cat/again.png"] = out.getvalue()  # the first cat, a little larger
    root = written(tmp_path / "pets", files)
    dataset = sources.load(
        str(root), root=tmp_path, input=InputSpec(16, 16), options=SourceOptions(cache_bytes=0)
    )
    splits = [dataset.train, dataset.validation, dataset.test]
    numbers = {
        name: number
        for split in splits
        if split is not None and split.clusters is not None
        for name, number in zip(split.names, split.clusters.tolist(), strict=True)
    }
    assert len(numbers) == 49
    assert numbers["cat/again.png"] == numbers["cat/00000.png"]
    assert sorted(Counter(numbers.values()).values())[-2:] == [1, 2]


def test_pictures_of_which_nobody_knows_are_looked_at() -> None:
    pictures = [np.asarray(image(seed, 32)) for seed in range(6)]
    brighter = np.clip(pictures[2].astype(int) + 6, 0, 255).astype(np.uint8)
    split = Split(np.stack([*pictures, brighter]), np.zeros(7, np.int64))
    assert folding.together(split).tolist() == [0, 1, 2, 3, 4, 5, 2]
    told = Split(split.images, split.labels, clusters=np.arange(7))
    assert folding.together(told.take(np.array([4, 2]))).tolist() == [4, 2]


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture
def pets(tmp_path: Path, settings: Settings) -> Path:
    settings.RUNS_ROOT = tmp_path / "runs"
    settings.DATASETS_ROOT = tmp_path / "datasets"
    return drawing.draw(tmp_path / "pets", per_label=24, side=32, label_keys=PETS)


def train(*words: str) -> str:
    stdout = io.StringIO()
    call_command("train", *words, stdout=stdout, no_color=True)
    return stdout.getvalue()


def refused(*words: str) -> str:
    with pytest.raises(CommandError) as refusal:
        train(*words)
    assert refusal.value.returncode == 2
    return str(refusal.value)


def _order(pets: Path) -> list[str]:
    return [
        *("baseline_cnn", "--dataset", str(pets), "--epochs", "2", "--folds", "2"),
        *("--set", "batch_size=8"),
    ]


@pytest.mark.django_db(transaction=True)
def test_folds_are_measured_kept_and_followed_by_the_version_that_is_registered(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    order = [*_order(pets), "--output", str(out)]
    with monkeypatch.context() as patch:
        patch.setattr(ConsoleReporter, "__call__", _InterruptedIn(3))
        with pytest.raises(CommandError, match="The same command goes on") as stopped:
            train(*order)
    assert stopped.value.returncode == 130
    kept = out / "fold-1" / "result.json"
    before = kept.stat().st_mtime_ns
    (out / "fold-2" / "graph-of-one-that-was-killed").mkdir()

    printed = train(*order, "--register")
    assert kept.stat().st_mtime_ns == before
    assert "Fold 1 of 2" not in printed
    assert "Fold 2 of 2" in printed
    assert "No fold is registered" in printed
    version = ModelVersion.objects.get()
    assert f"Registered as {version}" in printed
    assert (out / "version" / "bundle" / "manifest.json").is_file()
    assert version.open_bundle().manifest.recipe["settings"]["epochs"] == 2

    found = json.loads((out / "folds-measured.json").read_text())
    accuracies = [fold["accuracy"] for fold in found["folds"]]
    assert found["figures"]["accuracy"]["mean"] == pytest.approx(np.mean(accuracies))
    assert found["figures"]["accuracy"]["deviation"] == pytest.approx(np.std(accuracies, ddof=1))
    assert set(found["per_class"]) == set(PETS)
    _check_answers(out, pets, found["all_pictures"], version)

    page = (out / "report.html").read_text()
    assert "<svg" in page
    assert f"<h1>{pets.name}, baseline_cnn: 2 folds</h1>" in page
    assert f"- Data set: {pets.name}, SHA-256 " in (out / "folds.md").read_text()
    assert str(tmp_path) not in page + (out / "folds.md").read_text()
    assert not list(out.glob("fold-*/*.npz"))
    assert not list(out.glob("fold-*/graph-*"))

    again = train(*order)
    assert "epoch " not in again
    assert again.strip().splitlines()[:-1] == [
        *again.strip().splitlines()[:2],
        *_tables(printed),
    ]
    assert "other settings" in refused(*order, "--seed", "1")


def _tables(printed: str) -> list[str]:
    """Return what was printed from the first table to the line before the report's path."""
    lines = printed.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("fold "))
    end = next(at for at, line in enumerate(lines) if line.startswith("Report: "))
    return lines[start - 1 : end]


def _check_answers(
    out: Path, pets: Path, all_pictures: dict[str, float], version: ModelVersion
) -> None:
    """Every picture outside of the test split was answered once, as its row says."""
    with (out / "answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [row["picture"] for row in rows]
    counts = version.open_bundle().manifest.dataset["counts"]
    assert len(names) == len(set(names)) == counts["train"] + counts["validation"]
    assert all((pets / name).is_file() for name in names)
    right = sum(row["label"] == row["answer"] for row in rows)
    assert all(row["picture"].startswith(row["label"]) for row in rows)
    assert all_pictures["accuracy"] == pytest.approx(right / len(rows))
    assert all_pictures["images"] == len(rows)


class _InterruptedIn:
    """Stands for a terminal at which Ctrl-C is pressed in the n-th epoch of all folds together."""

    def __init__(self, epoch: int) -> None:
        self.left = epoch

    def __call__(self, event: Progress | Epoch) -> None:
        self.left -= isinstance(event, Epoch)
        if not self.left:
            raise KeyboardInterrupt


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--folds", "1"], "--folds of at least 2"),
        (["--folds", "40"], "40 folds need 40"),
        (["--folds", "3", "--resume"], "the same command goes on by itself"),
        (["--folds", "3", "--set", "speed=1"], "one of the settings"),
    ],
)
def test_bad_input_is_answered_with_what_was_expected(
    pets: Path, words: list[str], sentence: str
) -> None:
    given = [] if "--resume" in words else ["--dataset", str(pets)]
    assert sentence in refused("baseline_cnn", *given, *words)
    assert not (pets.parent / "runs").exists()


@pytest.mark.django_db
def test_groups_make_other_folds_though_the_data_are_the_same(
    tmp_path: Path, settings: Settings
) -> None:
    settings.RUNS_ROOT = tmp_path / "runs"
    files = {
        f"{split}/{name}": content
        for split, first, count in (("train", 0, 8), ("val", 20, 4), ("test", 40, 4))
        for name, content in classes({"cat": count, "dog": count}, first).items()
    }
    source = str(written(tmp_path / "pets", files))
    alone, grouped = (
        _planned(Order("baseline_cnn", dataset=source, group_by=pattern))
        for pattern in (None, "^([0-9]{4})")
    )
    assert alone.about["dataset"] == grouped.about["dataset"]
    assert alone.folder != grouped.folder


def _planned(order: Order) -> CrossValidation:
    with folds._planned(order, 2, lambda done, total: None) as (planned, _, _):
        return planned


@pytest.mark.django_db
def test_documents_are_left_out_by_design_which_is_said_before_they_are_drawn(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "loaded", None)
    sentence = refused("front_back", "--smoke", "--folds", "3")
    assert "manage.py hold_out_designs" in sentence


# -- all folds together ----------------------------------------------------------------------------


def _fold(number: int, answers: list[int], pictures: list[int]) -> Measured:
    scores = {"precision": 0.5 + number / 10, "recall": 0.5, "f1": 0.5, "images": len(answers)}
    return Measured(
        fold=number,
        accuracy=number / 10,
        macro_f1=0.5,
        loss=1.0,
        ece=0.1,
        milliseconds=2.0,
        per_class={"cat": scores},
        pictures=pictures,
        answers=answers,
        confidence=[0.9] * len(answers),
        epochs=2,
        minutes=0.5,
    )


def test_the_spread_is_that_of_a_sample_and_pictures_count_alike() -> None:
    pool = Split(np.zeros((5, 1, 1, 3), np.uint8), np.array([0, 0, 0, 1, 1]))
    found = [_fold(2, [0, 0, 1], [0, 1, 2]), _fold(4, [1, 1], [3, 4])]
    summary = cross_validation.summarised("Pets", [], pool, found)
    accuracy = summary.figures["accuracy"]
    assert (accuracy.mean, accuracy.deviation) == pytest.approx((0.3, 0.02**0.5))
    assert summary.per_class["cat"]["precision"].mean == pytest.approx(0.8)
    assert (summary.right, summary.images) == (4, 5)
    with pytest.raises(ValueError, match="at least one fold"):
        cross_validation.summarised("Pets", [], pool, [])
