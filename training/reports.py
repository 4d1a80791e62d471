"""The report folder of a version: figures as JSON and CSV, charts, and a model card."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.evaluation import LEVELS, Evaluation

mpl.use("Agg")

ACCENT, SECOND = "#4338ca", "#d97706"
MAX_LABELS_WITH_NUMBERS = 30
SCORES = ("precision", "recall", "f1")


def write(
    folder: Path,
    *,
    title: str,
    history: Path,
    validation: Evaluation,
    test: Evaluation,
    facts: Mapping[str, Any],
) -> None:
    """Write the report.

    Args:
        folder: made if need be.
        history: the run's history.csv.
        facts: what the model card says besides the figures; see `_card`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(history, folder / "history.csv")
    figures = {"validation": validation.as_json(), "test": test.as_json()}
    (folder / "metrics.json").write_text(json.dumps(figures, indent=1) + "\n")
    _write_per_class(folder / "per_class.csv", test)
    _save(_curves(history), folder / "curves.png")
    _save(_confusion_matrix(test), folder / "confusion_matrix.png")
    _save(_reliability(test), folder / "reliability.png")
    (folder / "model_card.md").write_text(_card(title, test, facts))


def _write_per_class(path: Path, evaluation: Evaluation) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label", *SCORES, "images"])
        for key, figures in evaluation.per_class.items():
            writer.writerow([key, *(f"{figures[name]:.4f}" for name in SCORES), figures["images"]])


def _curves(history: Path) -> Figure:
    with history.open(newline="") as file:
        lines = list(csv.DictReader(file))
    epochs = [int(line["epoch"]) for line in lines]
    figure, (left, right) = _canvas(9, 3.4, columns=2)
    for axes, name, scale in ((left, "accuracy", 100), (right, "loss", 1)):
        for prefix, colour, label in (
            ("", SECOND, "training"),
            ("validation_", ACCENT, "validation"),
        ):
            values = [float(line[prefix + name]) * scale for line in lines]
            axes.plot(epochs, values, color=colour, label=label, marker="o", markersize=3)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.25)
    left.set_title("Accuracy, %")
    right.set_title("Loss, nats (training: with augmentation and label smoothing)", fontsize=9)
    left.legend(frameon=False)
    return figure


def _confusion_matrix(evaluation: Evaluation) -> Figure:
    count = len(evaluation.keys)
    size = min(14.0, 2.5 + 0.55 * count)
    figure, (axes,) = _canvas(size, size)
    rows = np.maximum(evaluation.confusion.sum(axis=1, keepdims=True), 1)
    shares = evaluation.confusion / rows
    axes.imshow(shares, cmap="Purples", vmin=0, vmax=1)
    axes.set_xticks(range(count), evaluation.keys, rotation=60, ha="right")
    axes.set_yticks(range(count), evaluation.keys)
    axes.set_xlabel("answered")
    axes.set_ylabel("true")
    axes.set_title(f"{len(evaluation.labels):,} test images, {evaluation.accuracy:.2%} right")
    if count <= MAX_LABELS_WITH_NUMBERS:
        _number_cells(axes, evaluation.confusion, shares)
    return figure


def _number_cells(axes: Axes, confusion: Any, shares: Any) -> None:
    for (row, column), images in np.ndenumerate(confusion):
        if images:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, images, ha="center", va="center", color=colour, fontsize=8)


def _reliability(evaluation: Evaluation, bins: int = 15) -> Figure:
    confidence = evaluation.probabilities.max(axis=1)
    right = evaluation.probabilities.argmax(axis=1) == evaluation.labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    figure, (axes,) = _canvas(4.2, 4)
    filled = np.unique(which)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle="--")
    axes.bar(
        (filled + 0.5) / bins,
        [right[which == index].mean() for index in filled],
        width=0.9 / bins,
        color=ACCENT,
    )
    axes.set_xlabel("confidence")
    axes.set_ylabel("share that is right")
    axes.set_title(f"Expected calibration error {evaluation.ece:.2%}")
    return figure


def _canvas(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(1, columns)))


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _card(title: str, test: Evaluation, facts: Mapping[str, Any]) -> str:
    low, high = test.as_json()["accuracy_interval"]
    lines = [
        f"# {title}",
        "",
        f"Made by `{facts['command']}` on {facts['date']}.",
        "",
        "## What it is",
        "",
        facts["summary"],
        "",
        f"- {facts['parameters']:,} parameters; {facts['input']}.",
        f"- Temperature {facts['temperature']:.3f}, fitted on {facts['validation_images']:,} "
        "validation images cut from the training split.",
        "",
        "## How good it is",
        "",
        f"Measured on {len(test.labels):,} test images of {facts['dataset']}, through the "
        "served graph.",
        "",
        "| figure | value |",
        "| --- | --- |",
        f"| accuracy | {test.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}) |",
        f"| cross-entropy | {test.loss:.4f} nats |",
        f"| expected calibration error | {test.ece:.2%} |",
        f"| one image, this machine's CPU | {facts['milliseconds']['median']:.1f} ms median, "
        f"{facts['milliseconds']['p95']:.1f} ms 95th percentile |",
        "",
        "| confidence level | share of answers | right |",
        "| --- | --- | --- |",
        *(_level_row(level, test) for level in LEVELS),
        "",
        "| label | precision | recall | F1 |",
        "| --- | --- | --- | --- |",
        *(
            f"| {key} | " + " | ".join(f"{figures[name]:.1%}" for name in SCORES) + " |"
            for key, figures in test.per_class.items()
        ),
        "",
        "## What it is not",
        "",
        facts["limits"],
        "",
    ]
    return "\n".join(lines)


def _level_row(level: str, test: Evaluation) -> str:
    figures = test.levels[level]
    precision = figures["precision"]
    right = "no answers" if precision is None else f"{precision:.1%}"
    return f"| {level} | {figures['share']:.1%} | {right} |"
