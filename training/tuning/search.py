"""One trial after the other, until there are enough or time is up; and what came of them."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from training import surroundings
from training.progress import Reporter
from training.trainer import Diverged, TrainingError
from training.tuning import studies, trials
from training.tuning.spaces import Values
from training.tuning.studies import StudyError
from training.tuning.trials import Listener, Subject

MOST_FAILURES = 3  # in a row: then it is not the settings
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
_STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "given up",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


class TrialFailed(Exception):
    """A trial could not be trained, for a reason that it could tell."""


@dataclass(frozen=True)
class Budget:
    """How long to search: trials of the study in all, and minutes of this process; None: no end.

    No trial begins once the minutes are over; one that runs is finished.
    """

    trials: int | None
    minutes: float | None


@dataclass(frozen=True)
class Tried:
    """A trial as people read it.

    Attributes:
        state: `finished`, `given up`, `failed`, `running` or `waiting`.
        accuracy: on validation, 0 to 1: of the best epoch, or of the last before it was given up;
            None where no epoch was finished.
        own: whether these are the recipe's own settings.
        epochs: validation accuracy by epoch, from 1.
        process: where it ran, as host/pid.
        reason: why it failed or was given up, where that was not for its accuracy.
    """

    number: int
    state: str
    values: Values
    accuracy: float | None = None
    own: bool = False
    epochs: dict[int, float] = field(default_factory=dict)
    seconds: float | None = None
    process: str = ""
    reason: str = ""


def tried(trial: FrozenTrial) -> Tried:
    """Return a trial as people read it."""
    broken_off = trial.state in (TrialState.FAIL, TrialState.PRUNED)
    return Tried(
        number=trial.number,
        state=_STATES[trial.state],
        values={name: trials.value(trial, name) for name in trial.params},
        accuracy=trial.value,
        own=bool(trial.user_attrs.get("own")),
        epochs=dict(sorted(trial.intermediate_values.items())),
        seconds=trial.duration.total_seconds() if trial.duration else None,
        process=trial.user_attrs.get("process", ""),
        reason=trial.user_attrs.get("reason", "") if broken_off else "",
    )


def every(study: Study) -> list[Tried]:
    """Return the trials of a study, of all machines, by number."""
    return [tried(trial) for trial in study.get_trials(deepcopy=False)]


def best(found: Sequence[Tried]) -> Tried | None:
    """Return the trial of the highest validation accuracy, the first of several."""
    finished = [each for each in found if each.state == "finished"]
    return max(finished, key=lambda each: each.accuracy or 0, default=None)


def own(found: Sequence[Tried]) -> Tried | None:
    """Return the trial of the recipe's own settings, if it was finished."""
    return next((each for each in found if each.own and each.state == "finished"), None)


@dataclass
class _UnderWay:
    """The trial that this process is at, and what it broke off with."""

    trial: Trial | None = None
    raised: Exception | None = None


class Search:
    """Runs trials of a study in this process."""

    def __init__(
        self,
        subject: Subject,
        study: Study,
        folder: Path,
        *,
        report: Reporter,
        tell: Callable[[Tried], None],
    ) -> None:
        self.subject, self.study, self.folder = subject, study, folder
        self.report, self.tell = report, tell
        self._failures = 0
        self._now = _UnderWay()

    def run(self, budget: Budget) -> None:
        """Search until the budget is spent.

        A KeyboardInterrupt goes through; the settings that were being tried are tried again by
        whoever goes on.

        Raises:
            StudyError: trial after trial failed, or the database does not answer.
        """
        end = None if budget.minutes is None else time.monotonic() + 60 * budget.minutes
        while self._wanted(budget.trials) and (end is None or time.monotonic() < end):
            try:
                self._one()
            except KeyboardInterrupt:
                self._put_back()
                raise

    def _wanted(self, count: int | None) -> bool:
        if count is None:
            return True
        studies.give_up_lost(self.study)
        counted = (*ENDED, TrialState.RUNNING)
        return len(self.study.get_trials(deepcopy=False, states=counted)) < count

    def _one(self) -> None:
        """Run one trial, Optuna's heart beating beside it."""
        self._now = _UnderWay()
        self._sweep()
        try:
            self.study.optimize(
                self._try, n_trials=1, catch=(TrialFailed,), callbacks=[self._after]
            )
        except (ValueError, UpdateFinishedTrialError) as error:
            # Not heard of for a minute, as of a laptop that slept, the trial went to another
            # process: Optuna refuses what this one has to say of it.
            if self._now.trial is None or error is self._now.raised:
                raise
            lost = "Nothing was heard of this process: the trial went to another one."
            self.tell(Tried(self._now.trial.number, "failed", self._now.trial.params, reason=lost))

    def _try(self, trial: Trial) -> float:
        self._now.trial = trial
        try:
            return self._accuracy(trial)
        except (optuna.TrialPruned, TrialFailed):
            raise
        except Exception as error:
            self._now.raised = error
            raise

    def _accuracy(self, trial: Trial) -> float:
        trial.set_user_attr("process", f"{surroundings.host()}/{os.getpid()}")
        values = trials.drawn(trial, self.subject.space)
        listener = Listener(trial, self.report)
        prefix = f"trial-{trial.number}-{os.getpid()}-"
        with tempfile.TemporaryDirectory(prefix=prefix, dir=self.folder) as kept:
            try:
                return trials.accuracy(self.subject, values, Path(kept), listener)
            except Diverged as error:
                # No failure: the search must learn that this is no good.
                trial.set_user_attr("reason", str(error))
                raise optuna.TrialPruned from error
            except TrainingError as error:
                trial.set_user_attr("reason", str(error))
                raise TrialFailed(str(error)) from error

    def _sweep(self) -> None:
        """Leave out the weights of trials that are over: a process that is killed leaves them."""
        over = [each for each in every(self.study) if each.state not in ("running", "waiting")]
        for each in over:
            pid = each.process.rpartition("/")[2]
            for left in self.folder.glob(f"trial-{each.number}-{pid}-*"):
                shutil.rmtree(left, ignore_errors=True)

    def _after(self, study: Study, trial: FrozenTrial) -> None:
        done = tried(trial)
        self.tell(done)
        self._failures = self._failures + 1 if done.state == "failed" else 0
        if self._failures == MOST_FAILURES:
            raise StudyError(f"{MOST_FAILURES} trials in a row failed. The last: {done.reason}")

    def _put_back(self) -> None:
        if self._now.trial is None:
            return
        number = self._now.trial.number
        for trial in self.study.get_trials(states=(TrialState.FAIL,)):
            # The recipe's own are known before any is drawn.
            if trial.number == number and (trial.params or tried(trial).own):
                studies.put_back(self.study, trial)
