"""What a study found, as one page that needs nothing else to be read."""

from __future__ import annotations

import functools
import html
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.study import Study
from optuna.trial import TrialState

from classifier.wording import counted
from training.evaluation import wilson_interval
from training.reports import charts as drawing
from training.reports import page, words
from training.tuning import charts, search
from training.tuning.search import Tried
from training.tuning.spaces import Space, Value, Values

FEWEST_TO_WEIGH = 8  # finished trials: of fewer nobody can say which setting mattered
_TOP = 0.25  # of the trials: what sets these apart is what mattered


@dataclass(frozen=True)
class Found:
    """What a study found so far.

    Attributes:
        title, data: what is trained, and the data set with its digest.
        values: the recipe's own, by name.
        epochs: that a trial trains, where it is not given up.
        command: that goes on with the study.
        importances: what share of the differences each setting accounts for, the largest first;
            empty with too few trials.
    """

    study: str
    title: str
    data: str
    space: Space
    values: Values
    tried: Sequence[Tried]
    training_images: int
    validation_images: int
    epochs: int
    seed: int
    command: str
    importances: Mapping[str, float]

    @property
    def best(self) -> Tried | None:
        return search.best(self.tried)

    @property
    def own(self) -> Tried | None:
        return search.own(self.tried)

    def count(self, *states: str) -> int:
        """Return how many trials are in one of these states."""
        return sum(each.state in states for each in self.tried)

    def interval(self, each: Tried) -> tuple[float, float]:
        """Return the 95 % interval of a trial's accuracy, as if it had been the only one."""
        return wilson_interval(each.accuracy or 0, self.validation_images)


def importances(study: Study) -> dict[str, float]:
    """Return each setting's share in what sets the best quarter of the trials apart.

    By PED-ANOVA (Watanabe et al. 2023). Empty with too few trials, or if all are as good.
    """
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(finished) < FEWEST_TO_WEIGH or len({trial.value for trial in finished}) == 1:
        return {}
    evaluator = PedAnovaImportanceEvaluator(target_quantile=_TOP)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # of ties at the top
        return optuna.importance.get_param_importances(study, evaluator=evaluator)


def write(path: Path, found: Found) -> None:
    """Write the page. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes of this machine may end together.
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(render(found), encoding="utf-8")
    part.replace(path)


def render(found: Found) -> str:
    """Return the page's HTML."""
    title = f"{found.title}: settings searched"
    lead = (
        f"The study {found.study}: every trial learns from {found.training_images:,} images for "
        f"at most {counted(found.epochs, 'epoch')}, with the seed {found.seed}, and is worth "
        f"its best epoch's accuracy on {found.validation_images:,} validation images. No test "
        f"image was looked at. Data set: {found.data}"
    )
    head = (
        f'<header><h1>{html.escape(title)}</h1><p class="lead">{html.escape(lead)}</p></header>'
        + page.tiles(_tiles(found))
    )
    return page.document(title, head, list(_sections(found)))


def _tiles(found: Found) -> Iterator[tuple[str, str]]:
    if found.best:
        yield (
            words.percent(found.best.accuracy, 2),
            f"the best on validation, trial {found.best.number}; 95 % interval "
            f"{words.interval(found.interval(found.best))}",
        )
    if found.own:
        yield words.percent(found.own.accuracy, 2), "the recipe's own settings"
    yield f"{found.count('finished', 'given up')}", "trials"
    yield f"{found.count('given up')}", "of them given up early"
    if found.count("failed"):
        yield f"{found.count('failed')}", "failed or broken off besides"
    seconds = sum(each.seconds or 0 for each in found.tried)
    yield f"{seconds / 60:.0f} min", "of training in all"


_OPTIMISTIC = (
    "The best of many is better on validation than it is: what it was picked by includes its luck. "
    "Train it to the end and look at the test images to know what it is worth."
)
_WEIGHED = (
    "What sets the best quarter of the trials apart (PED-ANOVA). With a few dozen trials a hint, "
    "not a finding."
)


def _sections(found: Found) -> Iterator[str]:
    draw = functools.partial
    if found.best is None:
        yield page.section("Nothing yet", "<p>No trial was finished.</p>")
    else:
        yield page.section("The best settings", _settings(found, found.best), _OPTIMISTIC)
    if found.tried:
        drawn = drawing.svg(draw(charts.history, found.tried, found.best), "tune-history")
        yield page.section("Trial by trial", drawn)
        drawn = drawing.svg(draw(charts.epochs, found.tried, found.best), "tune-epochs")
        yield page.section("Epoch by epoch", drawn)
    if found.importances:
        drawn = drawing.svg(draw(charts.importances, found.importances), "tune-importances")
        yield page.section("What mattered", drawn, _WEIGHED)
    if found.best:
        drawn = drawing.svg(draw(charts.slices, found.tried, found.space, found.best), "slices")
        yield page.section("Setting by setting", drawn, "The ring is the best trial.")
    yield page.section("All trials", _table(found))
    command = f"<p><code>{html.escape(found.command)}</code></p>"
    yield page.section(
        "Go on", command, "The same command goes on with this study; a larger --trials adds to it."
    )


def _settings(found: Found, best: Tried) -> str:
    rows = [
        [
            html.escape(name),
            html.escape(shown(found.values[name])),
            f"<b>{html.escape(shown(best.values[name]))}</b>",
            html.escape(str(found.space[name])),
        ]
        for name in found.space
    ]
    return page.table(["setting", "the recipe's own", "best", "searched"], rows, prose=(3,))


def _table(found: Found) -> str:
    rows = [
        [
            str(each.number),
            html.escape(state(each)),
            words.percent(each.accuracy, 2),
            *(html.escape(shown(each.values.get(name))) for name in found.space),
            "" if each.seconds is None else f"{each.seconds:.0f}",
            html.escape(each.process),
        ]
        for each in found.tried
    ]
    head = ["trial", "", "accuracy", *found.space, "seconds", "process"]
    return page.table(head, rows, prose=(1, len(head) - 1))


def state(each: Tried) -> str:
    """Return what became of a trial in words."""
    said = each.state
    if each.state == "given up" and each.epochs:
        said = f"given up after epoch {max(each.epochs)}"
    if each.own:
        said = f"{said}, the recipe's own"
    return f"{said}: {each.reason}" if each.reason else said


def shown(value: Value | None) -> str:
    """Return a value as it is written on a command line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
