"""How a run shows itself on a terminal, and in a log."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Protocol

from classifier.measured import Acceptance, NotSure
from classifier.wording import duration
from training.evaluation import Evaluation
from training.progress import Epoch, Progress
from training.reports import words

_LOG_SECONDS = 30.0


class Stream(Protocol):
    """What is written to: a file, or a command's output as one."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...
    def isatty(self) -> bool: ...


class ConsoleReporter:
    """Prints a line per epoch; on a terminal a live line between, in a log one now and then."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.live = stream.isatty()
        self.last = float("-inf")

    def __call__(self, event: Progress | Epoch) -> None:
        if isinstance(event, Epoch):
            self._line(_epoch_line(event))
        elif self.live or time.monotonic() - self.last > _LOG_SECONDS:
            self.last = time.monotonic()
            self._line(_progress_line(event), end="\r" if self.live else "\n")

    def _line(self, text: str, end: str = "\n") -> None:
        clear = "\x1b[2K" if self.live else ""
        self.stream.write(f"{clear}{text}{end}")
        self.stream.flush()


def _progress_line(progress: Progress) -> str:
    known = math.isfinite(progress.seconds_left)
    left = f"  {duration(progress.seconds_left)} left" if known else ""
    return (
        f"epoch {progress.epoch}/{progress.epochs}  step {progress.step}/{progress.steps}  "
        f"loss {progress.loss:.4f}  accuracy {progress.accuracy:.2%}  "
        f"learning rate {progress.learning_rate:.2g}{left}"
    )


def _epoch_line(epoch: Epoch) -> str:
    return (
        f"epoch {epoch.epoch:3d}  loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.2%}  "
        f"validation loss {epoch.validation_loss:.4f}  accuracy {epoch.validation_accuracy:.2%}  "
        f"learning rate {epoch.learning_rate:.2g}  {duration(epoch.seconds)}"
    )


def summary(
    evaluation: Evaluation,
    milliseconds: float,
    megabytes: float,
    *,
    p95: float | None = None,
    acceptance: Acceptance | None = None,
    not_sure: NotSure | None = None,
    images: str = "test images",
) -> str:
    """Return what was measured on a split, for the console; plain text.

    Args:
        milliseconds, p95: median and 95th percentile for one image; megabytes: of model.onnx.
        images: what was measured, as in "13 % of the test images".
    """
    lines = [f"{name:18s} {value}" for name, value in _figures(evaluation, images)]
    tail = "" if p95 is None else f", 95th percentile {p95:.2f} ms"
    lines += [
        f"time per image     {milliseconds:.2f} ms (median{tail})",
        f"model size         {megabytes:.1f} MB as served",
    ]
    if not_sure:
        lines.append(f"not sure           {words.not_sure(not_sure, images)}")
    lines += ["", *_per_class(evaluation), "", *_levels(evaluation)]
    return "\n".join([*lines, "", *verdict(acceptance)] if acceptance else lines)


def _figures(evaluation: Evaluation, images: str) -> Iterator[tuple[str, str]]:
    low, high = evaluation.interval
    on = images.removesuffix("images")
    yield (
        f"{on}accuracy",
        f"{evaluation.accuracy:.2%}  (95 % interval {low:.2%} to {high:.2%}, "
        f"{len(evaluation.labels):,} images)",
    )
    if evaluation.one_view:
        yield "  with one view", f"{evaluation.one_view.accuracy:.2%}"
    if evaluation.top3_accuracy is not None:
        yield "top-3 accuracy", f"{evaluation.top3_accuracy:.2%}"
    yield f"{on}loss", f"{evaluation.loss:.4f}"
    yield "calibration error", f"{evaluation.ece:.2%}"
    if evaluation.roc_auc is not None:
        yield "ROC area", f"{evaluation.roc_auc:.4f}"
        areas = ", ".join(f"{area:.4f} for {key}" for key, area in evaluation.pr_auc.items())
        yield "PR area", areas


def _per_class(evaluation: Evaluation) -> Iterator[str]:
    """Yield a table of labels; recall is a label's accuracy."""
    width = max(13, *(len(key) for key in evaluation.keys))
    yield f"{'label':{width}s} precision   recall       F1   images"
    for key, figures in evaluation.per_class.items():
        if not figures["images"]:
            yield f"{key:{width}s} {'-':>9s} {'-':>8s} {'-':>8s} {0:8,}"
            continue
        yield (
            f"{key:{width}s} {figures['precision']:9.1%} {figures['recall']:8.1%} "
            f"{figures['f1']:8.1%} {figures['images']:8,}"
        )
    for name, scores in evaluation.averages.items():
        yield (
            f"{name:{width}s} {scores['precision']:9.1%} {scores['recall']:8.1%} "
            f"{scores['f1']:8.1%}"
        )


def _levels(evaluation: Evaluation) -> Iterator[str]:
    for level, measured in evaluation.levels.items():
        yield f"{level:18s} {words.level(measured)}"
    yield f"{'':18s} ({words.ABOUT_LEVELS})"


def verdict(acceptance: Acceptance) -> Iterator[str]:
    """Yield what the acceptance rule says, and a line for each check that failed."""
    said = "accepted" if acceptance.accepted else "NOT ACCEPTED"
    yield f"{said:18s} the rule: {words.rule(acceptance.rule)}"
    for failure in acceptance.failures:
        yield f"  failed           {failure}"
