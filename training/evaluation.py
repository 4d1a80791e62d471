"""What a version gets right, measured through the runtime that serves it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from classifier.bundles import Thresholds
from classifier.runtimes.base import Runtime
from training.calibration import cross_entropy, expected_calibration_error
from training.datasets.dataset import Images, Split

LEVELS = ("high", "medium", "low")


@dataclass(frozen=True)
class Evaluation:
    """Measured on one split.

    Attributes:
        keys: label keys; rows and columns of `confusion` are in this order.
        probabilities: float, (N, K). labels: int64, (N,).
        confusion: int, (K, K), rows are the truth.
        levels: per confidence level, the share of answers and their precision (None: no answers).
    """

    keys: tuple[str, ...]
    probabilities: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    confusion: npt.NDArray[np.int64]
    accuracy: float
    loss: float
    ece: float
    per_class: Mapping[str, Mapping[str, float]]
    levels: Mapping[str, Mapping[str, float | None]]

    def as_json(self) -> dict[str, Any]:
        """Return what goes into the manifest's and the report's metrics."""
        return {
            "images": len(self.labels),
            "accuracy": self.accuracy,
            "accuracy_interval": list(wilson_interval(self.accuracy, len(self.labels))),
            "loss": self.loss,
            "ece": self.ece,
            "per_class": {key: dict(figures) for key, figures in self.per_class.items()},
            "levels": {level: dict(figures) for level, figures in self.levels.items()},
            "confusion": self.confusion.tolist(),
        }


def evaluate(
    probabilities: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    keys: Sequence[str],
    thresholds: Mapping[str, Thresholds],
) -> Evaluation:
    """Compare probabilities (N, K) with labels (N,)."""
    answers = probabilities.argmax(axis=1)
    return Evaluation(
        keys=tuple(keys),
        probabilities=probabilities,
        labels=labels,
        confusion=confusion_matrix(labels, answers, labels=np.arange(len(keys))),
        accuracy=float((answers == labels).mean()),
        loss=cross_entropy(probabilities, labels),
        ece=expected_calibration_error(probabilities, labels),
        per_class=_per_class(answers, labels, keys),
        levels=_levels(probabilities, labels, keys, thresholds),
    )


def predict(runtime: Runtime, images: Images, batch_size: int = 100) -> npt.NDArray[np.float32]:
    """Return the runtime's probabilities (N, K) for pictures (N, H, W, 3)."""
    parts = [
        runtime.predict(images[start : start + batch_size])
        for start in range(0, len(images), batch_size)
    ]
    return np.concatenate(parts)


def milliseconds_per_image(runtime: Runtime, split: Split, images: int = 200) -> dict[str, float]:
    """Return median and 95th percentile of single-image inference, after a warm-up."""
    chosen = split.images[:images]
    for image in chosen[:10]:
        runtime.predict(image[None])
    times = []
    for image in chosen:
        started = time.perf_counter()
        runtime.predict(image[None])
        times.append((time.perf_counter() - started) * 1000)
    return {"median": float(np.median(times)), "p95": float(np.percentile(times, 95))}


def wilson_interval(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % interval of a share measured on `count` draws (Wilson 1927)."""
    centre = share + z * z / (2 * count)
    spread = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return float((centre - spread) / scale), float((centre + spread) / scale)


def _per_class(
    answers: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], keys: Sequence[str]
) -> dict[str, dict[str, float]]:
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, answers, labels=np.arange(len(keys)), zero_division=0.0
    )
    return {
        key: {
            "precision": float(precision[index]),
            "recall": float(recall[index]),
            "f1": float(f1[index]),
            "images": int(support[index]),
        }
        for index, key in enumerate(keys)
    }


def _levels(
    probabilities: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    keys: Sequence[str],
    thresholds: Mapping[str, Thresholds],
) -> dict[str, dict[str, float | None]]:
    answers = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    high = np.array([thresholds[key].high for key in keys])[answers]
    medium = np.array([thresholds[key].medium for key in keys])[answers]
    level = np.where(confidence >= high, "high", np.where(confidence >= medium, "medium", "low"))
    right = answers == labels
    return {
        name: {
            "share": float((level == name).mean()),
            "precision": float(right[level == name].mean()) if (level == name).any() else None,
        }
        for name in LEVELS
    }
