"""The model card: what a version is, how good it is, and what it is not, in Markdown.

After Mitchell et al. 2019, "Model Cards for Model Reporting".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from classifier.manifest import UNMEASURED, Thresholds
from classifier.measured import LEVELS, Acceptance, NotSure
from training.evaluation import Evaluation
from training.reports import words


@dataclass(frozen=True)
class Card:
    """What a model card is written from.

    Attributes:
        summary: what it does, in a sentence or two.
        facts: sentences about the network, its input, its temperature; without a full stop.
        counts: images by split; `digest` is the data set's.
        thresholds: where the levels of each label begin.
        own: what only the recipe can say, in Markdown; may be empty.
    """

    title: str
    command: str
    date: str
    summary: str
    facts: Sequence[str]
    dataset: str
    digest: str
    counts: Mapping[str, int]
    test: Evaluation
    acceptance: Acceptance
    not_sure: NotSure
    milliseconds: Mapping[str, float]
    thresholds: Mapping[str, Thresholds]
    own: str = ""

    def markdown(self) -> str:
        """Return the card's text."""
        parts = [
            f"# {self.title}",
            f"Made by `{self.command}` on {self.date}.",
            "## What it is",
            self.summary,
            "\n".join(f"- {fact}." for fact in self.facts),
            "## What it was trained on",
            self._trained_on(),
            *([self.own.strip()] if self.own.strip() else []),
            "## How good it is",
            f"Measured on {len(self.test.labels):,} test images of {self.dataset}, which neither "
            "training nor calibration saw, through the graph that serves.",
            "\n".join(self._figures()),
            "\n".join(self._levels()),
            f"{words.ABOUT_LEVELS.capitalize()}. Where they begin stands with each label below.",
            f"*Not sure*: {words.not_sure(self.not_sure)}.",
            "\n".join(self._per_class()),
            "## What it was accepted by",
            self._accepted(),
            "## What it is not",
            f"It knows {len(self.test.keys)} labels and nothing else: a picture of anything else "
            "gets one of them all the same, and may get it with high confidence. Its figures hold "
            f"for pictures like those of {self.dataset}, and for no others.",
        ]
        return "\n\n".join(parts) + "\n"

    def _trained_on(self) -> str:
        counts = ", ".join(f"{count:,} for {name}" for name, count in self.counts.items())
        return f"Images of {self.dataset}: {counts}. SHA-256 of the data set: `{self.digest}`."

    def _figures(self) -> Iterator[str]:
        test = self.test
        yield "| figure | value |"
        yield "| --- | --- |"
        interval = words.interval(test.interval, 2)
        yield f"| accuracy | {words.percent(test.accuracy, 2)} (95 % interval {interval}) |"
        if test.one_view:
            yield f"| accuracy with one view | {words.percent(test.one_view.accuracy, 2)} |"
        if test.top3_accuracy is not None:
            yield f"| truth among the three likeliest | {words.percent(test.top3_accuracy, 2)} |"
        if test.roc_auc is not None:
            yield f"| area under the ROC curve | {test.roc_auc:.4f} |"
        yield f"| F1, macro average | {words.percent(test.averages['macro']['f1'], 2)} |"
        yield f"| cross-entropy | {test.loss:.4f} nats |"
        yield f"| expected calibration error | {words.percent(test.ece, 2)} |"
        time = words.milliseconds(self.milliseconds)
        yield f"| one image, on the processor that trained it | {time} |"

    def _levels(self) -> Iterator[str]:
        yield "| confidence level | share of answers | right | 95 % interval |"
        yield "| --- | --- | --- | --- |"
        for level in LEVELS:
            measured = self.test.levels[level]
            yield (
                f"| {level} | {words.percent(measured.share)} | "
                f"{words.percent(measured.precision)} | {words.interval(measured.interval)} |"
            )

    def _per_class(self) -> Iterator[str]:
        scores = ("precision", "recall", "f1")
        yield "| label | precision | recall | F1 | images | high from | medium from |"
        yield "| --- | --- | --- | --- | --- | --- | --- |"
        for key, figures in self.test.per_class.items():
            cells = " | ".join(words.percent(figures[score]) for score in scores)
            begin = self.thresholds.get(key, UNMEASURED)
            levels = f"{begin.high:.3f} | {begin.medium:.3f}"
            yield f"| {key} | {cells} | {figures['images']:,} | {levels} |"

    def _accepted(self) -> str:
        rule = f"The rule: {words.rule(self.acceptance.rule)}."
        if self.acceptance.accepted:
            return f"{rule} It is met."
        failed = "\n".join(f"- {failure}" for failure in self.acceptance.failures)
        return f"{rule} It is not met:\n\n{failed}"
