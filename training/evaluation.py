"""What a version gets right, measured through the runtime that serves it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    precision_recall_fscore_support,
    roc_auc_score,
)

from classifier.bundles import Thresholds
from classifier.manifest import UNMEASURED
from classifier.measured import LEVELS, MeasuredLevel
from classifier.runtimes.base import Runtime
from training.calibration import cross_entropy, expected_calibration_error
from training.datasets.dataset import Images, Pictures, Split

__all__ = ["LEVELS", "Evaluation", "OneView", "evaluate", "milliseconds_per_image", "predict"]

TOP = 3
BINS = 15  # of a reliability diagram, as many as the calibration error has
_PREDICTED_PIXELS = 4_000_000  # that go through the runtime at a time: 80 pictures of 224x224


@dataclass(frozen=True)
class OneView:
    """What the network gives without test-time augmentation, where the served graph has some."""

    accuracy: float
    loss: float
    images: int

    def as_json(self) -> dict[str, Any]:
        interval = wilson_interval(self.accuracy, self.images)
        return {
            "accuracy": self.accuracy,
            "accuracy_interval": list(interval),
            "loss": self.loss,
        }


@dataclass(frozen=True)
class Evaluation:
    """Measured on one split; shares are 0 to 1, the loss is in nats.

    Attributes:
        keys: label keys; rows and columns of `confusion` are in this order.
        probabilities: float, (N, K). labels: int64, (N,).
        confusion: int, (K, K), rows are the truth.
        top3_accuracy: how often the truth is among the three likeliest; None for 3 labels or less.
        per_class: `precision`, `recall`, `f1` and `images` per label key.
        averages: the same three by `macro` (every label counts alike) and `weighted` (by images).
        levels: what the answers of each confidence level were worth.
        roc_auc, pr_auc: for two labels that both occur; the area under the ROC curve, and per
            label key the average precision with that label as the positive one.
        one_view: where the served graph averages several views of a picture.
    """

    keys: tuple[str, ...]
    probabilities: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    confusion: npt.NDArray[np.int64]
    accuracy: float
    loss: float
    ece: float
    per_class: Mapping[str, Mapping[str, float]]
    averages: Mapping[str, Mapping[str, float]]
    levels: Mapping[str, MeasuredLevel]
    top3_accuracy: float | None = None
    roc_auc: float | None = None
    pr_auc: Mapping[str, float] = field(default_factory=dict)
    one_view: OneView | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy."""
        return wilson_interval(self.accuracy, len(self.labels))

    @property
    def answers(self) -> npt.NDArray[np.int64]:
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def reliability(self) -> list[dict[str, float]]:
        """Of answers of about one confidence: how many, how sure on average, how often right.

        In bins of equal width (Guo et al. 2017), the empty ones left out.
        """
        confidence = self.probabilities.max(axis=1)
        right = self.answers == self.labels
        which = np.minimum((confidence * BINS).astype(int), BINS - 1)
        return [
            {
                "images": int((which == index).sum()),
                "confidence": min(1.0, float(confidence[which == index].mean())),
                "accuracy": float(right[which == index].mean()),
            }
            for index in np.unique(which)
        ]

    def as_json(self) -> dict[str, Any]:
        """Return what goes into the manifest's and the report's metrics; None is left out."""
        figures = {
            "images": len(self.labels),
            "accuracy": self.accuracy,
            "accuracy_interval": list(self.interval),
            "top3_accuracy": self.top3_accuracy,
            "loss": self.loss,
            "ece": self.ece,
            "reliability": self.reliability,
            "roc_auc": self.roc_auc,
            "pr_auc": dict(self.pr_auc) or None,
            **{name: dict(value) for name, value in self.averages.items()},
            "per_class": {key: dict(figures) for key, figures in self.per_class.items()},
            "levels": {level: measured.to_json() for level, measured in self.levels.items()},
            "confusion": self.confusion.tolist(),
            "one_view": self.one_view.as_json() if self.one_view else None,
        }
        return {name: value for name, value in figures.items() if value is not None}


def evaluate(
    probabilities: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    keys: Sequence[str],
    thresholds: Mapping[str, Thresholds],
    one_view: OneView | None = None,
) -> Evaluation:
    """Compare probabilities (N, K) with labels (N,).

    Raises ValueError for no pictures, or for labels and probabilities that do not fit each other.
    """
    if not len(labels) or probabilities.shape != (len(labels), len(keys)):
        raise ValueError(
            f"Expected probabilities of {len(keys)} labels for at least one picture. Received: "
            f"{probabilities.shape} for {len(labels)}"
        )
    answers = probabilities.argmax(axis=1)
    per_class, averages = _scores(answers, labels, keys)
    roc_auc, pr_auc = _areas(probabilities, labels, keys)
    return Evaluation(
        keys=tuple(keys),
        probabilities=probabilities,
        labels=labels,
        confusion=confusion_matrix(labels, answers, labels=np.arange(len(keys))),
        accuracy=float((answers == labels).mean()),
        loss=cross_entropy(probabilities, labels),
        ece=expected_calibration_error(probabilities, labels),
        per_class=per_class,
        averages=averages,
        levels=_levels(probabilities, labels, keys, thresholds),
        top3_accuracy=_top(probabilities, labels) if len(keys) > TOP else None,
        roc_auc=roc_auc,
        pr_auc=pr_auc,
        one_view=one_view,
    )


def batches(images: Pictures) -> Iterator[Images]:
    """Yield pictures (n, H, W, 3) that together are those of a split, a few megapixels a time."""
    _, height, width, _ = images.shape
    size = min(100, max(1, _PREDICTED_PIXELS // (height * width)))
    for start in range(0, len(images), size):
        yield images[start : start + size]


def predict(runtime: Runtime, images: Pictures) -> npt.NDArray[np.float32]:
    """Return the runtime's probabilities (N, K) for a split's pictures (N, H, W, 3)."""
    return np.concatenate([runtime.predict(batch) for batch in batches(images)])


def milliseconds_per_image(runtime: Runtime, split: Split, images: int = 200) -> dict[str, float]:
    """Return median and 95th percentile of single-image inference, after a warm-up.

    Decoding is not part of it.
    """
    chosen = np.ascontiguousarray(split.images[:images])
    for image in chosen[:10]:
        runtime.predict(image[None])
    times = []
    for image in chosen:
        started = time.perf_counter()
        runtime.predict(image[None])
        times.append((time.perf_counter() - started) * 1000)
    return {"median": float(np.median(times)), "p95": float(np.percentile(times, 95))}


def wilson_interval(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % interval of a share measured on `count` draws (Wilson 1927).

    Of no draws nothing is known: 0 to 1.
    """
    if not count:
        return 0.0, 1.0
    centre = share + z * z / (2 * count)
    spread = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    low, high = (centre - spread) / scale, (centre + spread) / scale
    # Rounding would leave it a hair short of a share of 0 or 1 itself.
    return min(share, max(0.0, float(low))), max(share, min(1.0, float(high)))


def _scores(
    answers: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], keys: Sequence[str]
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Return precision, recall and F1 per label, and their averages over labels with pictures."""
    indices = np.arange(len(keys))
    columns = precision_recall_fscore_support(labels, answers, labels=indices, zero_division=0.0)
    per_class = {
        key: {
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
            "images": int(support),
        }
        for key, precision, recall, f1, support in zip(keys, *columns, strict=True)
    }
    # Labels of which nothing was measured, as of a data set with some of them, count for nothing.
    seen = np.unique(labels)
    averages = {}
    for name in ("macro", "weighted"):
        precision, recall, f1, _ = precision_recall_fscore_support(
            labels, answers, labels=seen, average=name, zero_division=0.0
        )
        averages[name] = {"precision": float(precision), "recall": float(recall), "f1": float(f1)}
    return per_class, averages


def _areas(
    probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], keys: Sequence[str]
) -> tuple[float | None, dict[str, float]]:
    """Return the areas under the ROC and precision-recall curves; nothing unless for two labels."""
    if len(keys) != 2 or len(np.unique(labels)) != 2:
        return None, {}
    areas = {
        key: float(average_precision_score(labels == index, probabilities[:, index]))
        for index, key in enumerate(keys)
    }
    return float(roc_auc_score(labels, probabilities[:, 1])), areas


def _top(probabilities: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    best = np.argpartition(-probabilities, TOP - 1, axis=1)[:, :TOP]
    return float((best == labels[:, None]).any(axis=1).mean())


def _levels(
    probabilities: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    keys: Sequence[str],
    thresholds: Mapping[str, Thresholds],
) -> dict[str, MeasuredLevel]:
    answers = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    begins = [thresholds.get(key, UNMEASURED) for key in keys]
    high = np.array([each.high for each in begins])[answers]
    medium = np.array([each.medium for each in begins])[answers]
    level = np.where(confidence >= high, "high", np.where(confidence >= medium, "medium", "low"))
    right = answers == labels
    return {name: _measured(right, level == name) for name in LEVELS}


def _measured(right: npt.NDArray[np.bool_], here: npt.NDArray[np.bool_]) -> MeasuredLevel:
    answers = int(here.sum())
    if not answers:
        return MeasuredLevel(0, 0.0, None, None)
    precision = float(right[here].mean())
    interval = wilson_interval(precision, answers)
    return MeasuredLevel(answers, float(here.mean()), precision, interval)
