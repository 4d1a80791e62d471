"""All that a report tells of a version: what its page, its files and its card are made of."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from classifier.measured import Acceptance, NotSure
from training.evaluation import Evaluation
from training.reports.card import Card
from training.reports.charts import History
from training.reports.mistakes import Mistake
from training.reports.network import Layer


@dataclass(frozen=True)
class Report:
    """What was measured of a version, on which images, and what it is.

    Attributes:
        subtitle: one sentence under the title, such as how the version was made.
        measured_on: the images in words, such as "10,000 test images of cifar10".
        images: which they are, as in "leaves 13 % of the test images unanswered".
        acceptance: what the rule says; None where it was not applied.
        facts: (name, value) pairs about the version, in the order to be shown.
        card: the model card in Markdown.
        milliseconds: `median` and `p95` of one picture through the runtime.
        sizes: bytes by file name.
        validation: what was measured on validation; None where only one split was.
        history: a row an epoch, with the columns of `training.progress.Epoch` that are numbers.
        mistakes: pictures of the data set; empty in whatever leaves this machine.
    """

    title: str
    subtitle: str
    measured_on: str
    evaluation: Evaluation
    acceptance: Acceptance | None
    not_sure: NotSure | None
    milliseconds: Mapping[str, float]
    sizes: Mapping[str, int]
    images: str = "test images"
    card: str = ""
    facts: Sequence[tuple[str, str]] = ()
    validation: Evaluation | None = None
    history: History = ()
    layers: Sequence[Layer] = ()
    mistakes: Sequence[Mistake] = field(default=())


def of_card(
    card: Card,
    *,
    sizes: Mapping[str, int],
    facts: Sequence[tuple[str, str]],
    validation: Evaluation,
    history: History = (),
    layers: Sequence[Layer] = (),
) -> Report:
    """Return the report of a version that was just made: its card, and what a card leaves out."""
    return Report(
        title=card.title,
        subtitle=f"Made by `{card.command}` on {card.date}.",
        measured_on=f"{card.counts['test']:,} test images of {card.dataset}",
        evaluation=card.test,
        acceptance=card.acceptance,
        not_sure=card.not_sure,
        milliseconds=card.milliseconds,
        sizes=sizes,
        card=card.markdown(),
        facts=facts,
        validation=validation,
        history=history,
        layers=layers,
    )


def read_history(path: Path) -> History:
    """Return the rows of a run's history.csv; cells that are no numbers are left out."""
    with path.open(newline="") as file:
        return [
            {name: _number(cell) for name, cell in line.items() if _is_number(cell)}
            for line in csv.DictReader(file)
        ]


def _number(cell: str) -> float:
    return int(cell) if cell.isdigit() else float(cell)


def _is_number(cell: Any) -> bool:
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    return True
