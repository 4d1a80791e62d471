"""The report of a cross-validation: Markdown, a page, and what each picture was taken for."""

from __future__ import annotations

import csv
import functools
import html
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from training.cross_validation import SCORES, Measured, Spread, Summary
from training.datasets.dataset import Split
from training.reports import charts, page, words

PAGE, MARKDOWN, FIGURES, ANSWERS = "report.html", "folds.md", "folds-measured.json", "answers.csv"
HEAD = (
    "fold",
    "accuracy",
    "95 % interval",
    "macro F1",
    "loss",
    "ECE",
    "images",
    "epochs",
    "minutes",
)
HEAD_PER_CLASS = ("class", *SCORES, "images")
ABOUT_SPREAD = (
    "Mean and standard deviation over the folds (n - 1). The deviation says how much training on "
    "other pictures and being measured on others changes a figure; it is not the error of the mean."
)
ABOUT_ALL = "Every picture was measured once, by a network that never saw it."
MOST_DRAWN = 40  # classes
_BESIDE = 1.5  # points beyond 0 and 100 %, for the dots there to be whole


def write(folder: Path, summary: Summary, pool: Split, keys: Sequence[str]) -> None:
    """Write everything into a folder that is there. Raises OSError."""
    (folder / FIGURES).write_text(json.dumps(summary.as_json(), indent=1) + "\n")
    (folder / MARKDOWN).write_text(markdown(summary), encoding="utf-8")
    (folder / PAGE).write_text(render(summary), encoding="utf-8")
    _write_answers(folder / ANSWERS, summary.folds, pool, keys)


def rows(summary: Summary) -> list[list[str]]:
    """Return a row of text a fold, for `HEAD`; mean and standard deviation last."""
    folds = [
        [
            str(fold.fold),
            words.percent(fold.accuracy, 2),
            words.interval(fold.interval),
            words.percent(fold.macro_f1, 2),
            f"{fold.loss:.4f}",
            words.percent(fold.ece, 2),
            f"{len(fold.pictures):,}",
            str(fold.epochs),
            f"{fold.minutes:.1f}",
        ]
        for fold in summary.folds
    ]
    return [*folds, _spread_row(summary)]


def _spread_row(summary: Summary) -> list[str]:
    spread = summary.figures
    return [
        "mean",
        share(spread["accuracy"], 2),
        "",
        share(spread["macro_f1"], 2),
        f"{spread['loss'].mean:.4f} ± {spread['loss'].deviation:.4f}",
        share(spread["ece"], 2),
        f"{summary.images:,}",
        "",
        f"{sum(fold.minutes for fold in summary.folds):.1f}",
    ]


def rows_per_class(summary: Summary) -> list[list[str]]:
    """Return a row of text a class, for `HEAD_PER_CLASS`."""
    return [
        [
            key,
            *(share(scores[score]) for score in SCORES),
            f"{sum(int(fold.per_class[key]['images']) for fold in summary.folds):,}",
        ]
        for key, scores in summary.per_class.items()
    ]


def share(spread: Spread, digits: int = 1) -> str:
    """Write `93.1 ± 0.8 %`."""
    return f"{spread.mean * 100:.{digits}f} ± {spread.deviation * 100:.{digits}f} %"


def all_pictures(summary: Summary) -> str:
    """Return the accuracy over all pictures in a sentence."""
    accuracy = words.percent(summary.right / summary.images, 2)
    interval = words.interval(summary.interval, 2)
    images = f"{summary.images:,} images together"
    return f"{accuracy} of {images} are right (95 % interval {interval}). {ABOUT_ALL}"


def markdown(summary: Summary) -> str:
    """Return the tables in Markdown."""
    return "\n\n".join(_markdown(summary)) + "\n"


def _markdown(summary: Summary) -> Iterator[str]:
    yield f"# {summary.title}"
    yield "\n".join(f"- {name}: {value}" for name, value in summary.conditions)
    yield _table(HEAD, rows(summary))
    yield all_pictures(summary)
    yield _table(HEAD_PER_CLASS, rows_per_class(summary))
    yield ABOUT_SPREAD


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    cells = [head, ["---"] * len(head), *lines]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in cells
    )


def _write_answers(path: Path, folds: Sequence[Measured], pool: Split, keys: Sequence[str]) -> None:
    """Write what each picture was taken for: the surest mistakes are often wrong labels."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["picture", "fold", "label", "answer", "confidence"])
        for fold in folds:
            found = zip(fold.pictures, fold.answers, fold.confidence, strict=True)
            for place, answer, confidence in found:
                name = pool.names[place] if pool.names else str(place)
                label = keys[int(pool.labels[place])]
                writer.writerow([name, fold.fold, label, keys[answer], f"{confidence:.4f}"])


# -- the page --------------------------------------------------------------------------------------


def render(summary: Summary) -> str:
    """Return the page's HTML."""
    head = f"<header><h1>{html.escape(summary.title)}</h1></header>" + page.tiles(_tiles(summary))
    return page.document(summary.title, head, _sections(summary))


def _tiles(summary: Summary) -> Iterator[tuple[str, str]]:
    yield share(summary.figures["accuracy"], 2), "accuracy, mean and standard deviation"
    yield share(summary.figures["macro_f1"], 2), "F1, macro average"
    together = f"of {summary.images:,} images, each measured once"
    yield words.percent(summary.right / summary.images, 2), together
    yield share(summary.figures["ece"], 2), "expected calibration error"
    yield f"{summary.figures['milliseconds'].mean:.1f} ms", "per image, median"


def _sections(summary: Summary) -> Iterator[str]:
    folds = [[html.escape(cell) for cell in line] for line in rows(summary)]
    shown = page.table(HEAD, folds[:-1], folds[-1:])
    yield page.section("Folds", shown, f"{ABOUT_ALL} {ABOUT_SPREAD}")
    if len(summary.per_class) <= MOST_DRAWN:
        drawn = charts.svg(functools.partial(classes, summary), "classes")
        about = "Points: the folds. Line: mean and standard deviation."
        yield page.section("F1 by class", drawn, about)
    per_class = [[html.escape(cell) for cell in line] for line in rows_per_class(summary)]
    yield page.section("Per class", page.table(HEAD_PER_CLASS, per_class))
    yield page.section("How", page.facts(summary.conditions))


def classes(summary: Summary) -> Figure:
    """Draw the F1 of every class, its folds as points."""
    keys = list(summary.per_class)
    figure = Figure(figsize=(8, 1.2 + 0.35 * len(keys)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(keys))
    spread = [summary.per_class[key]["f1"] for key in keys]
    axes.errorbar(
        [each.mean * 100 for each in spread],
        places,
        xerr=[each.deviation * 100 for each in spread],
        fmt="|",
        markersize=14,
        color=charts.ACCENT,
        elinewidth=2,
    )
    for fold in summary.folds:
        scores = [fold.per_class[key]["f1"] * 100 for key in keys]
        axes.plot(scores, places, "o", color=charts.SECOND, markersize=4, alpha=0.7)
    axes.set_yticks(places, keys)
    axes.invert_yaxis()
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, -_BESIDE), min(high, 100 + _BESIDE))
    axes.set_xlabel("F1, %")
    charts.tidy(axes)
    return figure
