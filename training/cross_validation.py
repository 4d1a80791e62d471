"""A recipe trained and measured in folds: what to expect of it, and how much that varies.

Every picture but those of the test split is measured once, by a network that never saw it, through
the graph that would serve it. Each fold trains from scratch with the same settings. What a fold
measured is kept in its folder, so that an interrupted cross-validation goes on where it stopped.
The spread over folds is that of training on other pictures and being measured on other pictures;
it is not the error of the mean, which no estimate from one cross-validation has without bias
(Bengio & Grandvalet 2004, "No Unbiased Estimator of the Variance of K-Fold Cross-Validation").
"""

from __future__ import annotations

import contextlib
import json
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from classifier.imaging import InputSpec
from training import calibration, export, measuring, runs
from training.datasets import folding
from training.datasets.dataset import Split
from training.datasets.folding import Fold
from training.evaluation import Evaluation, wilson_interval
from training.predicting import predict_logits
from training.progress import Reporter
from training.recipes.recipe import Recipe, Settings
from training.trainer import Trainer

ASKED, RESULT = "folds.json", "result.json"
GRAPH = "graph-"  # begins the name of the folder where a network is exported
SCORES = ("precision", "recall", "f1")
FIGURES = ("accuracy", "macro_f1", "loss", "ece", "milliseconds")


@dataclass(frozen=True)
class Measured:
    """What the network of one fold does on the pictures it never saw.

    Attributes:
        accuracy, macro_f1, ece: shares from 0 to 1; the loss is in nats, `milliseconds` the
            median of one picture through the serving runtime.
        per_class: precision, recall, f1 and images by label key.
        pictures: their places in the pool, in order.
        answers, confidence: of each of them.
        epochs, minutes: that training took.
    """

    fold: int
    accuracy: float
    macro_f1: float
    loss: float
    ece: float
    milliseconds: float
    per_class: Mapping[str, Mapping[str, float]]
    pictures: Sequence[int]
    answers: Sequence[int]
    confidence: Sequence[float]
    epochs: int
    minutes: float

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy (Wilson 1927)."""
        return wilson_interval(self.accuracy, len(self.pictures))


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over folds, the latter as of a sample (n - 1)."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0)


@dataclass(frozen=True)
class CrossValidation:
    """What is trained in which folds.

    Attributes:
        pool: all pictures but those of the test split.
        validation: the share of what a fold does not measure that chooses its epoch.
        input: what pictures are decoded to.
        about: what decides the result besides, such as the digests of data and weights.
    """

    recipe: Recipe
    settings: Settings
    pool: Split
    keys: tuple[str, ...]
    count: int
    validation: float
    seed: int
    input: InputSpec
    folder: Path
    about: Mapping[str, Any]

    def results(self, report: Reporter, started: Callable[[Fold], None]) -> Iterator[Measured]:
        """Train and measure each fold that is not known; yield each result when it is there.

        A KeyboardInterrupt leaves a checkpoint of the fold that it breaks off.

        Raises:
            DatasetError: the pictures cannot be divided so.
            runs.RunError: the folder holds another cross-validation, or is in use.
            training.checkpoints.TrainingError: a fold cannot be trained.
        """
        folds = folding.folds(
            self.pool.labels,
            folding.together(self.pool),
            self.count,
            seed=self.seed,
            validation=self.validation,
            keys=self.keys,
        )
        self._claim()
        with runs.held(self.folder):
            for fold in folds:
                known = read(self._folder_of(fold))
                if known is None:
                    started(fold)
                    known = self._measured(fold, report)
                yield known

    def _claim(self) -> None:
        """Note what is asked in the folder; RunError if it holds anything else."""
        asked = json.dumps(self._asked(), indent=1) + "\n"
        path = self.folder / ASKED
        if not path.exists():
            runs.check_unused(self.folder)
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                path.write_text(asked)
            except OSError as error:
                raise runs.RunError(
                    f"{self.folder} cannot be written: {error.strerror}."
                ) from error
        elif path.read_text() != asked:
            raise runs.RunError(
                f"{self.folder} holds folds of other settings, data or weights. Choose another "
                "--output."
            )

    def _asked(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe.name,
            "architecture": self.recipe.architecture,
            "options": {
                name: str(value) for name, value in self.recipe.architecture_options.items()
            },
            "settings": self.settings.as_json(),
            "seed": self.seed,
            "folds": self.count,
            **self.about,
        }

    def _folder_of(self, fold: Fold) -> Path:
        return self.folder / f"fold-{fold.number}"

    def _measured(self, fold: Fold, report: Reporter) -> Measured:
        folder = self._folder_of(fold)
        folder.mkdir(exist_ok=True)
        keras.utils.clear_session()  # else each fold's graph stays in memory until the last ends
        trainer = self._trainer(fold, folder, report)
        if (folder / runs.CHECKPOINT).is_file():
            trainer.resume()
        trainer.run()
        evaluation, milliseconds = self._evaluated(fold, trainer, folder)
        found = Measured(
            fold=fold.number,
            accuracy=evaluation.accuracy,
            macro_f1=evaluation.averages["macro"]["f1"],
            loss=evaluation.loss,
            ece=evaluation.ece,
            milliseconds=milliseconds,
            per_class={key: dict(scores) for key, scores in evaluation.per_class.items()},
            pictures=fold.measured.tolist(),
            answers=evaluation.answers.tolist(),
            confidence=[round(float(each), 6) for each in evaluation.probabilities.max(axis=1)],
            epochs=len(trainer.history),
            minutes=sum(line.seconds for line in trainer.history) / 60,
        )
        write(folder, found)
        return found

    def _trainer(self, fold: Fold, folder: Path, report: Reporter) -> Trainer:
        return Trainer(
            self.recipe,
            self.settings,
            train=self.pool.take(fold.train),
            validation=self.pool.take(fold.validation),
            label_count=len(self.keys),
            seed=self.seed,
            folder=folder,
            report=report,
        )

    def _evaluated(self, fold: Fold, trainer: Trainer, folder: Path) -> tuple[Evaluation, float]:
        """Export the best epoch's network and measure it; as `training.packaging` does."""
        network, views = trainer.best_network(), self.settings.views
        validation, measured = trainer.validation, self.pool.take(fold.measured)
        logits = predict_logits(network, validation.images, views=views)
        temperature = calibration.fit_temperature(logits, validation.labels)
        with tempfile.TemporaryDirectory(dir=folder, prefix=GRAPH) as made:
            root = Path(made)
            export.write_graphs(network, root, self.input, temperature=temperature, views=views)
            rule = self.recipe.acceptance
            served = root / "model.onnx"
            found = measuring.measure(served, validation, measured, self.keys, rule)
        return found.test, found.milliseconds["median"]


def write(folder: Path, found: Measured) -> None:
    """Keep a fold's result, whole or not at all; its networks are no longer needed then."""
    part = folder / f"{RESULT}.part"
    part.write_text(json.dumps(asdict(found)) + "\n")
    part.replace(folder / RESULT)
    for name in (runs.CHECKPOINT, "best.npz"):
        with contextlib.suppress(OSError):
            (folder / name).unlink(missing_ok=True)
    for left in folder.glob(f"{GRAPH}*"):  # by a process that was killed meanwhile
        shutil.rmtree(left, ignore_errors=True)


def read(folder: Path) -> Measured | None:
    """Return what is kept of a fold, None if nothing is or it cannot be read."""
    try:
        return Measured(**json.loads((folder / RESULT).read_text()))
    except (OSError, ValueError, TypeError):
        return None


# -- all folds together ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Summary:
    """All folds together.

    Attributes:
        title, conditions: what was done, the latter as (name, value) pairs.
        figures: the spread of each of `FIGURES` over the folds.
        per_class: the spread of each of `SCORES` by label key.
        right, images: over all folds, each picture measured once.
    """

    title: str
    conditions: Sequence[tuple[str, str]]
    folds: Sequence[Measured]
    figures: Mapping[str, Spread]
    per_class: Mapping[str, Mapping[str, Spread]]
    right: int
    images: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy over all pictures (Wilson 1927)."""
        return wilson_interval(self.right / self.images, self.images)

    def as_json(self) -> dict[str, Any]:
        left_out = ("pictures", "answers", "confidence")
        return {
            "title": self.title,
            "conditions": dict(self.conditions),
            "folds": [
                {name: value for name, value in asdict(fold).items() if name not in left_out}
                | {"images": len(fold.pictures), "interval": list(fold.interval)}
                for fold in self.folds
            ],
            "figures": {name: asdict(spread) for name, spread in self.figures.items()},
            "per_class": {
                key: {name: asdict(spread) for name, spread in scores.items()}
                for key, scores in self.per_class.items()
            },
            "all_pictures": {
                "images": self.images,
                "accuracy": self.right / self.images,
                "interval": list(self.interval),
            },
        }


def summarised(
    title: str, conditions: Sequence[tuple[str, str]], pool: Split, found: Sequence[Measured]
) -> Summary:
    """Return what the folds come to. Raises ValueError for none."""
    if not found:
        raise ValueError("Expected at least one fold. Received: none")
    right = sum(
        int((np.asarray(fold.answers) == pool.labels[np.asarray(fold.pictures)]).sum())
        for fold in found
    )
    return Summary(
        title=title,
        conditions=conditions,
        folds=found,
        figures={name: Spread.of([getattr(fold, name) for fold in found]) for name in FIGURES},
        per_class={
            key: {
                score: Spread.of([fold.per_class[key][score] for fold in found]) for score in SCORES
            }
            for key in found[0].per_class
        },
        right=right,
        images=sum(len(fold.pictures) for fold in found),
    )
