"""One candidate, from its pictures to its figures: trained, exported, measured as it serves."""

from __future__ import annotations

import dataclasses
import inspect
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from classifier.runtimes.base import Runtime
from classifier.runtimes.onnx import OnnxRuntime
from training import evaluation, explanation, export, runs
from training.architecture_search import architectures, heads, result
from training.architecture_search.architectures import HEAD, SHAPE, SearchError
from training.architecture_search.asked import Asked
from training.architecture_search.parts import Parts, parts
from training.architecture_search.result import Refused, Result
from training.architectures.backbones import POOLING
from training.checkpoints import TrainingError
from training.datasets.dataset import Dataset, DatasetError, Split
from training.explanation import NotExplainable
from training.progress import Epoch, Progress, Reporter
from training.recipes.recipe import Recipe, Settings
from training.runs import RunError
from training.trainer import Trainer, check_splits
from training.weights import WeightsError

FEATURES = "features"
SCHEDULE = "schedule.json"
GRAPH = "graph-"  # begins the name of the folder where a network is exported
HEAD_SHARE = 4  # one epoch in so many trains the head alone, of a backbone that is tuned
WARM_STEPS, TIMED_STEPS = 3, 8
WARM_IMAGES, TIMED_IMAGES = 10, 200


@dataclass(frozen=True)
class Says:
    """Who hears how it goes: steps and epochs, sentences, and pictures whose features are known."""

    report: Reporter
    say: Callable[[str], None]
    seen: Callable[[int, int], None] = lambda done, total: None


@dataclass(frozen=True)
class Learnt:
    """A trained network, minutes by the clock, and passes over what it learnt from."""

    network: keras.Model
    minutes: float
    epochs: int


def measure(asked: Asked, dataset: Dataset, folder: Path, says: Says) -> Result:
    """Train what is asked in a folder and measure it; keep the result there and return it.

    A training that was interrupted goes on where it was; its networks are not kept when it is
    over.

    Raises:
        Refused: the architecture, its weights and the data do not fit each other.
    """
    keras.utils.clear_session()  # what a candidate before it left in this process
    try:
        with runs.held(folder):
            chosen = parts(dataset, asked.budget)
            check_splits(chosen.learnt, chosen.stopping, len(dataset.label_keys))
            learn = _learn_head if asked.candidate.learns == "head" else _learn_all
            learnt = learn(asked, dataset, chosen, folder, says)
            says.say("Exporting and measuring.")
            found = _measured(asked, dataset, chosen, learnt, folder)
            result.write(folder, asked, found)
            _tidy(folder)
    except (TrainingError, SearchError, DatasetError, RunError, WeightsError) as error:
        raise Refused(str(error)) from error
    return found


def _tidy(folder: Path) -> None:
    """Leave out what only an unfinished training needs: a search leaves figures, no networks."""
    for name in ("checkpoint.npz", "best.npz"):
        with suppress(OSError):
            (folder / name).unlink(missing_ok=True)
    for left in folder.glob(f"{GRAPH}*"):  # by a process that was killed meanwhile
        shutil.rmtree(left, ignore_errors=True)


# -- learning --------------------------------------------------------------------------------------


def _learn_head(asked: Asked, dataset: Dataset, chosen: Parts, folder: Path, says: Says) -> Learnt:
    if not architectures.find(asked.candidate.architecture).freezes:
        raise SearchError(f"{asked.candidate.label} has no backbone to freeze.")
    network = _built(asked, len(dataset.label_keys))
    _prepare(network, asked, chosen.learnt)
    path = folder.parent / FEATURES / f"{asked.features_name()}.npz"
    kept = heads.features(network, chosen.learnt, chosen.stopping, path, says.seen)
    started = time.monotonic()
    order = heads.HeadOrder(
        classes=len(dataset.label_keys),
        dense=asked.budget.dense,
        passes=heads.passes(len(chosen.learnt)),
        seed=asked.budget.seed,
        settings=asked.budget.settings,
    )
    head = heads.train(kept, chosen.learnt.labels, chosen.stopping.labels, order)
    seconds = kept.seconds + time.monotonic() - started
    return Learnt(heads.joined(network, head), seconds / 60, order.passes)


def _learn_all(asked: Asked, dataset: Dataset, chosen: Parts, folder: Path, says: Says) -> Learnt:
    _built(asked, len(dataset.label_keys))  # says what a size it cannot take is
    epochs = _epochs(asked, dataset, chosen, folder)
    trainer = _trainer(asked, _settings(asked, epochs), dataset, chosen, folder, says.report)
    if (folder / runs.CHECKPOINT).is_file():
        trainer.resume()
    trainer.run()
    minutes = sum(line.seconds for line in trainer.history) / 60
    return Learnt(trainer.best_network(), minutes, len(trainer.history))


def _trainer(
    asked: Asked,
    settings: Settings,
    dataset: Dataset,
    chosen: Parts,
    folder: Path,
    report: Reporter,
) -> Trainer:
    candidate = asked.candidate
    recipe = Recipe(
        name="search",
        title=str(candidate),
        dataset=asked.source.name,
        architecture=candidate.architecture,
        model_name="",
        model_title="",
        settings=settings,
        input=asked.input,
        architecture_options=_options(asked),
        weights=candidate.weights,
    )
    return Trainer(
        recipe,
        settings,
        train=chosen.learnt,
        validation=chosen.stopping,
        label_count=len(dataset.label_keys),
        seed=asked.budget.seed,
        folder=folder,
        report=report,
    )


def _settings(asked: Asked, epochs: int) -> Settings:
    """Return the settings for so many epochs: the head comes first, where a backbone is tuned."""
    tuned = asked.candidate.learns == "tuned" and epochs > 1
    head_epochs = max(1, epochs // HEAD_SHARE) if tuned else 0
    return dataclasses.replace(
        asked.budget.settings, epochs=epochs, head_epochs=head_epochs, patience=0, small_epochs=0
    )


def _built(asked: Asked, classes: int) -> keras.Model:
    """Return the network as it starts, without weights. Raises SearchError."""
    module = architectures.find(asked.candidate.architecture).module
    size = dict.fromkeys(SHAPE, asked.candidate.size)
    keras.utils.set_random_seed(asked.budget.seed)
    try:
        network: keras.Model = module.build(classes, **size, **_options(asked))
    except ValueError as error:
        side = asked.candidate.size
        first_line = str(error).strip().partition("\n")[0]
        raise SearchError(
            f"{asked.candidate.label} does not take pictures of {side}x{side} pixels. "
            f"{first_line:.300}"
        ) from error
    return network


def _options(asked: Asked) -> dict[str, Any]:
    """Return the options of `build`; the head is as wide as the search says, where it can be."""
    candidate, dense = asked.candidate, asked.budget.dense
    architecture = architectures.find(candidate.architecture)
    if not (architecture.pretrained and HEAD in architecture.options):
        return dict(candidate.options)
    if not dense and candidate.learns != "head":
        raise SearchError("A linear head (--dense 0) goes with a frozen backbone only.")
    # Of a frozen one this head is cut off: `heads` makes another.
    return {**candidate.options, HEAD: dense or 1}


def _prepare(network: keras.Model, asked: Asked, learnt: Split) -> None:
    module = architectures.find(asked.candidate.architecture).module
    known = {"weights": asked.candidate.weights, **asked.candidate.options}
    taken = inspect.signature(module.prepare).parameters
    fitting = {name: value for name, value in known.items() if name in taken}
    module.prepare(network, learnt.images, **fitting)


# -- so many minutes -------------------------------------------------------------------------------


class _Enough(Exception):
    """Enough steps were timed."""


def _epochs(asked: Asked, dataset: Dataset, chosen: Parts, folder: Path) -> int:
    """Return the epochs of the budget; of so many minutes, what was reckoned at the first start."""
    if asked.budget.minutes is None:
        return asked.budget.epochs
    kept = folder / SCHEDULE
    with suppress(OSError, ValueError, KeyError, TypeError):
        return int(json.loads(kept.read_text())["epochs"])
    seconds = _seconds_per_epoch(asked, dataset, chosen)
    epochs = max(1, int(asked.budget.minutes * 60 / seconds))
    kept.write_text(json.dumps({"epochs": epochs, "seconds_per_epoch": seconds}) + "\n")
    return epochs


def _seconds_per_epoch(asked: Asked, dataset: Dataset, chosen: Parts) -> float:
    """Return what an epoch will take about, all of the network learning, by the time of some steps.

    A picture that validates costs a third of one that trains: forward once, backward twice that.
    """
    times: list[float] = []

    def watch(event: Progress | Epoch) -> None:
        times.append(time.monotonic())
        if len(times) > WARM_STEPS + TIMED_STEPS:
            raise _Enough

    settings = dataclasses.replace(_settings(asked, 1000), head_epochs=0)
    with tempfile.TemporaryDirectory(prefix="classifyme-") as scratch:
        trainer = _trainer(asked, settings, dataset, chosen, Path(scratch), watch)
        with suppress(_Enough):
            trainer.run()
    step = float(np.median(np.diff(times[WARM_STEPS:])))
    pictures = trainer.steps * trainer.batch_size + len(chosen.stopping) / 3
    return step * pictures / trainer.batch_size


# -- measuring -------------------------------------------------------------------------------------


def _measured(
    asked: Asked, dataset: Dataset, chosen: Parts, learnt: Learnt, folder: Path
) -> Result:
    split = chosen.measured
    with tempfile.TemporaryDirectory(dir=folder, prefix=GRAPH) as made:
        root = Path(made)
        export.write_graphs(learnt.network, root, asked.input, temperature=1.0)
        served = root / "model.onnx"
        with OnnxRuntime(served, threads=1) as runtime:
            probabilities = evaluation.predict(runtime, split.images)
            milliseconds = milliseconds_per_image(runtime, split)
        serve_bytes = served.stat().st_size
    found = evaluation.evaluate(probabilities, split.labels, dataset.label_keys, {})
    right = found.answers == split.labels
    return Result(
        accuracy=found.accuracy,
        macro_f1=found.averages["macro"]["f1"],
        recall={key: figures["recall"] for key, figures in found.per_class.items()},
        loss=found.loss,
        right="".join("1" if each else "0" for each in right),
        milliseconds=milliseconds,
        serve_bytes=serve_bytes,
        parameters=learnt.network.count_params(),
        features=_last_features(learnt.network),
        minutes=round(learnt.minutes, 3),
        epochs=learnt.epochs,
        learnt_from=len(chosen.learnt) + len(chosen.stopping),
    )


def milliseconds_per_image(runtime: Runtime, split: Split) -> dict[str, float]:
    """Return median and 95th percentile of a core's time for one picture, after a warm-up.

    The time that this thread computes, not the clock's: candidates that are measured while the
    machine does much else, and others while it does not, stay comparable. On an idle core, and
    with a runtime of one thread, both are the same.
    """
    times = []
    for image in np.ascontiguousarray(split.images[: WARM_IMAGES + TIMED_IMAGES]):
        started = time.thread_time()
        runtime.predict(image[None])
        times.append((time.thread_time() - started) * 1000)
    timed = times[WARM_IMAGES:] or times
    figures = {"median": np.median(timed), "p95": np.percentile(timed, 95)}
    return {name: round(float(value), 3) for name, value in figures.items()}


def _last_features(network: keras.Model) -> tuple[int, int] | None:
    """Return rows and columns of the last spatial features."""
    found = next((layer for layer in network.layers if layer.name == POOLING), None)
    if found is not None:
        _, rows, columns, _ = found.input.shape
        return int(rows), int(columns)
    with suppress(NotExplainable):
        _, rows, columns = explanation.find(network).head.features
        return int(rows), int(columns)
    return None
