"""The charts of a report, drawn by matplotlib: once for a page (SVG), once for the admin (PNG)."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import precision_recall_curve, roc_curve

from training.evaluation import Evaluation

mpl.use("Agg")

ACCENT, SECOND = "#6366f1", "#d97706"
MAX_LABELS_WITH_NUMBERS = 30
FEW_LABELS = 4  # of so few a cell says 0 too
MAX_LABELS_WITH_NAMES = 60
BINS = 15
History = Sequence[Mapping[str, float]]

# Stands for the page's text colour in an SVG, whatever that is.
_INK = "#010203"
_INKED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
_SHADES = ListedColormap(
    [(*mpl.colors.to_rgb(ACCENT), opacity) for opacity in np.linspace(0, 1, 256)]
)


def svg(draw: Callable[[], Figure], name: str) -> str:
    """Return what `draw` draws as an SVG element in the text colour of the page around it."""
    # Text stays text: it is small, can be searched, and takes the page's font.
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": name} | dict.fromkeys(_INKED, _INK)
    with mpl.rc_context(style):
        file = io.StringIO()
        draw().savefig(file, format="svg", transparent=True, metadata={"Date": None})
    drawn = file.getvalue()[file.getvalue().index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", drawn, count=1)
    drawn = re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1 class="chart"', drawn, count=1)
    return drawn.replace(_INK, "currentColor")


def png(draw: Callable[[], Figure], path: Path) -> None:
    """Write what `draw` draws on white."""
    draw().savefig(path, dpi=110, metadata={"Software": None})


def curves(history: History) -> Figure:
    """Draw accuracy and loss over the epochs (columns as in `training.progress.Epoch`)."""
    epochs = [line["epoch"] for line in history]
    figure, (left, right) = _canvas(9, 3.2, columns=2)
    marker = "o" if len(history) < 40 else ""
    for axes, name, scale in ((left, "accuracy", 100), (right, "loss", 1)):
        for prefix, colour, label in (
            ("", SECOND, "training"),
            ("validation_", ACCENT, "validation"),
        ):
            values = [line[prefix + name] * scale for line in history]
            axes.plot(epochs, values, color=colour, label=label, marker=marker, markersize=3)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        tidy(axes)
    left.set_title("Accuracy, %", fontsize=10)
    right.set_title("Loss, nats (training: as it was learnt from)", fontsize=10)
    left.legend(frameon=False)
    return figure


def confusion_matrix(evaluation: Evaluation) -> Figure:
    """Draw what was answered (columns) for what was true (rows), shaded by share of the row."""
    count = len(evaluation.keys)
    # Not smaller than the chart beside it on the page, or its letters would be larger.
    size = min(12.0, max(4.4, 2.0 + 0.42 * count))
    figure, (axes,) = _canvas(size, size)
    rows = np.maximum(evaluation.confusion.sum(axis=1, keepdims=True), 1)
    shares = evaluation.confusion / rows
    axes.imshow(shares, cmap=_SHADES, vmin=0, vmax=1, interpolation="none")
    if count <= MAX_LABELS_WITH_NAMES:
        axes.set_xticks(range(count), evaluation.keys, rotation=60, ha="right")
        axes.set_yticks(range(count), evaluation.keys)
    axes.tick_params(length=0)
    axes.set_xlabel("answered")
    axes.set_ylabel("true")
    axes.spines[:].set_visible(False)
    axes.set_title(
        f"{len(evaluation.labels):,} images, {evaluation.accuracy:.2%} right", fontsize=10
    )
    if count <= MAX_LABELS_WITH_NUMBERS:
        _number_cells(axes, evaluation.confusion, shares)
    return figure


def _number_cells(axes: Axes, confusion: Any, shares: Any) -> None:
    for (row, column), images in np.ndenumerate(confusion):
        if images or len(confusion) <= FEW_LABELS:
            colour = "white" if shares[row, column] > 0.5 else mpl.rcParams["text.color"]
            axes.text(column, row, images, ha="center", va="center", color=colour, fontsize=8)


def reliability(evaluation: Evaluation) -> Figure:
    """Draw how often answers of a confidence are right, and how many there are of it."""
    confidence = evaluation.probabilities.max(axis=1)
    right = evaluation.answers == evaluation.labels
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    filled, counts = np.unique(which, return_counts=True)
    figure = Figure(figsize=(4.4, 4.8), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
    middles = (filled + 0.5) / BINS
    shares = [right[which == index].mean() for index in filled]
    upper.bar(middles, shares, width=0.9 / BINS, color=ACCENT, alpha=0.85)
    upper.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle="--")
    upper.set_ylabel("share that is right")
    upper.set_title(f"Expected calibration error {evaluation.ece:.2%}", fontsize=10)
    lower.bar(middles, counts / len(which), width=0.9 / BINS, color="grey", alpha=0.6)
    lower.set_ylabel("of images")
    lower.set_xlabel("confidence")
    lower.set_xlim(0, 1)
    for axes in (upper, lower):
        tidy(axes)
    return figure


def roc_and_precision_recall(evaluation: Evaluation) -> Figure:
    """Draw both curves of a version with two labels, the second being the positive one."""
    truth, scores = evaluation.labels == 1, evaluation.probabilities[:, 1]
    figure, (left, right) = _canvas(8.4, 4, columns=2)
    false, true, _ = roc_curve(truth, scores)
    left.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle="--")
    left.plot(false, true, color=ACCENT)
    left.set(xlabel="false positive rate", ylabel="true positive rate")
    left.set_title(f"ROC, area {evaluation.roc_auc:.4f}", fontsize=10)
    for index, colour in ((1, ACCENT), (0, SECOND)):
        key = evaluation.keys[index]
        precision, recall, _ = precision_recall_curve(
            evaluation.labels == index, evaluation.probabilities[:, index]
        )
        label = f"{key}, area {evaluation.pr_auc[key]:.4f}"
        right.plot(recall, precision, color=colour, label=label)
    right.set(xlabel="recall", ylabel="precision", ylim=(0, 1.03))
    right.set_title("Precision and recall", fontsize=10)
    right.legend(frameon=False)
    for axes in (left, right):
        tidy(axes)
    return figure


def tidy(axes: Axes) -> None:
    """Give axes the look of all charts here: a faint grid, no box around."""
    axes.grid(alpha=0.2)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _canvas(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(1, columns)))
