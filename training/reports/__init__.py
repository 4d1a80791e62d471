"""The report of a version: a page to open, figures as JSON and CSV, charts, and a model card."""

from __future__ import annotations

import csv
import dataclasses
import functools
import json
from collections.abc import Sequence
from pathlib import Path

from training.evaluation import Evaluation
from training.reports import charts, page
from training.reports.card import Card
from training.reports.mistakes import Mistake, worst
from training.reports.network import Layer, layers
from training.reports.report import Report, of_card, read_history
from training.reports.words import size

__all__ = [
    "FOLDER",
    "NETWORK",
    "PAGE",
    "Card",
    "Layer",
    "Mistake",
    "Report",
    "layers",
    "of_card",
    "read_history",
    "read_layers",
    "size",
    "worst",
    "write",
    "write_page",
]

FOLDER = "report"  # in a bundle, and in a run's folder
PAGE = "report.html"
NETWORK = "network.json"
SCORES = ("precision", "recall", "f1")


def write(folder: Path, report: Report) -> None:
    """Write what travels in a bundle, into a folder that is made if need be.

    Never a picture of the data set: the report's mistakes are left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draw, test = functools.partial, report.evaluation
    _write_figures(folder / "metrics.json", report)
    _write_history(folder / "history.csv", report)
    _write_per_class(folder / "per_class.csv", test)
    if report.history:
        charts.png(draw(charts.curves, report.history), folder / "curves.png")
    charts.png(draw(charts.confusion_matrix, test), folder / "confusion_matrix.png")
    charts.png(draw(charts.reliability, test), folder / "reliability.png")
    (folder / "model_card.md").write_text(report.card, encoding="utf-8")
    described = [dataclasses.asdict(layer) for layer in report.layers]
    (folder / NETWORK).write_text(json.dumps(described) + "\n")
    write_page(folder / PAGE, dataclasses.replace(report, mistakes=()))


def write_page(path: Path, report: Report) -> None:
    """Write the page alone, the worst mistakes on it where the report has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page.render(report), encoding="utf-8")


def read_layers(path: Path) -> Sequence[Layer]:
    """Return the layers that `write` left; none if the file is missing or of another shape."""
    try:
        return [Layer.from_json(item) for item in json.loads(path.read_text())]
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _write_figures(path: Path, report: Report) -> None:
    splits = {"validation": report.validation, "test": report.evaluation}
    figures = {name: split.as_json() for name, split in splits.items() if split}
    path.write_text(json.dumps(figures, indent=1) + "\n")


def _write_history(path: Path, report: Report) -> None:
    with path.open("w", newline="") as file:
        columns = list(report.history[0]) if report.history else ["epoch"]
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(report.history)


def _write_per_class(path: Path, evaluation: Evaluation) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label", *SCORES, "images"])
        for key, figures in evaluation.per_class.items():
            writer.writerow([key, *(f"{figures[name]:.4f}" for name in SCORES), figures["images"]])
