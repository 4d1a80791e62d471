"""How a run shows itself on a terminal, and in a log."""

from __future__ import annotations

import time
from typing import TextIO

from training.evaluation import Evaluation
from training.progress import Epoch, Progress

_LOG_SECONDS = 30.0


class ConsoleReporter:
    """Prints a line per epoch; on a terminal a live line between, in a log one now and then."""

    def __init__(self, stream: TextIO) -> None:
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
    return (
        f"epoch {progress.epoch}/{progress.epochs}  step {progress.step}/{progress.steps}  "
        f"loss {progress.loss:.4f}  accuracy {progress.accuracy:.2%}  "
        f"learning rate {progress.learning_rate:.2g}  {duration(progress.seconds_left)} left"
    )


def _epoch_line(epoch: Epoch) -> str:
    return (
        f"epoch {epoch.epoch:3d}  loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.2%}  "
        f"validation loss {epoch.validation_loss:.4f}  accuracy {epoch.validation_accuracy:.2%}  "
        f"learning rate {epoch.learning_rate:.2g}  {duration(epoch.seconds)}"
    )


def duration(seconds: float) -> str:
    """Write seconds as people do: `42 s`, `3 min 05 s`, `1 h 12 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def summary(evaluation: Evaluation, milliseconds: float, megabytes: float) -> str:
    """Return what was measured on the test split, for the console."""
    low, high = evaluation.as_json()["accuracy_interval"]
    lines = [
        f"test accuracy      {evaluation.accuracy:.2%}  (95 % interval {low:.2%} to {high:.2%}, "
        f"{len(evaluation.labels):,} images)",
        f"test loss          {evaluation.loss:.4f}",
        f"calibration error  {evaluation.ece:.2%}",
        f"time per image     {milliseconds:.2f} ms (median, one thread)",
        f"model size         {megabytes:.1f} MB as served",
        "",
        "label         precision   recall",
    ]
    for key, figures in evaluation.per_class.items():
        lines.append(f"{key:13s} {figures['precision']:9.1%} {figures['recall']:8.1%}")
    return "\n".join(lines)
