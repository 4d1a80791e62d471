"""How a training stands right now, in words and figures, from its request and its run."""

from __future__ import annotations

from dataclasses import dataclass

from classifier.wording import duration
from training import curves, requests
from training.curves import Chart
from training.models import Outcome, RequestState, TrainingRequest, TrainingRun

KINDS = {
    "waiting": "quiet",
    "running": "warning",
    "stopping": "warning",
    "finished": "active",
    "stopped": "quiet",
    "cancelled": "quiet",
    "failed": "error",
    "crashed": "error",
    "refused": "error",
    "diverged": "error",
    "stopped answering": "error",
}
PHASES = {
    "preparing": "Building the network",
    "training": "Training",
    "measuring": "Exporting and measuring on the test images",
}


@dataclass(frozen=True)
class Live:
    """What the page of a training shows of it, again and again while it goes on.

    Attributes:
        goes_on: whether there will be something new.
        state, kind: in a word, and the colour for it.
        words: what it does now, as a sentence; empty when it has ended.
        share: of the epochs, between 0 and 1; None while nobody can tell.
        figures: loss, accuracy and the like, by name.
        log: the last lines of what the session said.
    """

    goes_on: bool
    state: str
    kind: str
    words: str
    share: float | None
    figures: tuple[tuple[str, str], ...]
    curves: tuple[Chart, ...]
    log: str

    @property
    def percent(self) -> int:
        return int(100 * (self.share or 0))


def of(run: TrainingRun | None, request: TrainingRequest | None) -> Live:
    """Return how a run or a request, or both, stand; one of them is there."""
    state = _state(run, request)
    goes_on = _goes_on(run, request)
    return Live(
        goes_on=goes_on,
        state=state,
        kind=KINDS[state],
        words=_words(run, request) if goes_on else "",
        share=_share(run) if goes_on else None,
        figures=_figures(run, goes_on),
        curves=_curves(run, goes_on),
        log=request.log if request else "",
    )


def of_run(run: TrainingRun) -> Live:
    return of(run, request_of(run))


def request_of(run: TrainingRun) -> TrainingRequest | None:
    """Return the last request for this run; None for one that a command started."""
    return run.requests.order_by("-pk").first()


def _goes_on(run: TrainingRun | None, request: TrainingRequest | None) -> bool:
    if request and request.is_open:
        return True
    return run is not None and run.state == Outcome.RUNNING.label


def _state(run: TrainingRun | None, request: TrainingRequest | None) -> str:
    if request and (request.is_open or run is None):
        return request.words
    return run.state if run else str(RequestState.WAITING.label)


def _words(run: TrainingRun | None, request: TrainingRequest | None) -> str:
    if request and request.state == RequestState.WAITING:
        return _in_line(request)
    if request and request.is_silent:
        return (
            "Its process was not heard of for a while. A worker goes on with it as soon as it can."
        )
    if request and request.stop_asked_at:
        return "It is being stopped: what it learnt is kept in a checkpoint."
    if run and run.outcome == Outcome.FINISHED:
        return "Registering the result."
    if run is None or run.outcome != Outcome.RUNNING:
        return "Reading the data and loading TensorFlow."
    if run.phase == "training" and run.steps:
        return f"Epoch {run.epoch or 1} of {run.epochs}, step {run.step} of {run.steps}."
    return f"{PHASES.get(run.phase, 'Getting ready')}."


def _in_line(request: TrainingRequest) -> str:
    count = requests.before(request)
    if not count:
        return "It waits for a training worker to take it."
    return (
        f"It waits in line: {count} {'training is' if count == 1 else 'trainings are'} before it."
    )


def _share(run: TrainingRun | None) -> float | None:
    if run is None or not run.epochs or not run.steps or run.phase != "training":
        return None
    return min(1.0, (max(run.epoch - 1, 0) + run.step / run.steps) / run.epochs)


def _figures(run: TrainingRun | None, goes_on: bool) -> tuple[tuple[str, str], ...]:
    if run is None:
        return ()
    rows = [
        ("Loss", "" if run.loss is None else f"{run.loss:.4g}"),
        ("Accuracy", "" if run.accuracy is None else f"{run.accuracy:.2%}"),
        ("Validation", _share_or_nothing(run.validation_accuracy)),
        ("Test", _share_or_nothing(run.test_accuracy)),
    ]
    if goes_on and run.seconds_left is not None and run.phase == "training":
        rows.append(("Time left", f"about {duration(run.seconds_left)}"))
    rows.append(("So far" if goes_on else "Took", duration(run.seconds)))
    return tuple(row for row in rows if row[1])


def _share_or_nothing(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"


def _curves(run: TrainingRun | None, goes_on: bool) -> tuple[Chart, ...]:
    if run is None:
        return ()
    if not goes_on:
        return curves.of_history(run.history)
    return curves.as_it_grows(run.history, _now(run), run.epochs)


def _now(run: TrainingRun) -> dict[str, float]:
    """Return where a run is within an epoch that has not ended."""
    within = run.phase == "training" and run.steps and 0 < run.step < run.steps
    if not within or run.loss is None or run.accuracy is None or run.epoch <= len(run.history):
        return {}
    epoch = run.epoch - 1 + run.step / run.steps
    return {"epoch": epoch, "loss": run.loss, "accuracy": run.accuracy}
