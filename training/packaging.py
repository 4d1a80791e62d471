"""From a finished run to a bundle that may be registered: calibrate, export, measure, report."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from classifier.bundles import Bundle, Description, Label
from classifier.imaging import InputSpec
from training import calibration, export, measuring, reports
from training.datasets.dataset import Split
from training.evaluation import Evaluation, OneView
from training.measuring import Measured
from training.predicting import predict_logits
from training.recipes.recipe import Recipe, Settings
from training.reports import words
from training.views import VIEWS


class Trained(Protocol):
    """What is left of a training when it is over; a `Trainer` is one."""

    @property
    def settings(self) -> Settings: ...
    @property
    def seed(self) -> int: ...
    @property
    def folder(self) -> Path: ...
    @property
    def train(self) -> Sized: ...
    @property
    def history(self) -> Sized: ...
    def best_network(self) -> Any: ...


@dataclass(frozen=True)
class Run:
    """A finished training and all that its bundle says of it.

    `input` is what pictures of every split were decoded to, and what pictures will be when it
    serves. `origin` is what else must be known to train the same again: data, weights, code
    (`training.reproducing`).
    `recorded`, `names` and `trained_on` are of a version that is only packaged anew: what its
    manifest said of the recipe, word for word, its labels' display names, and the day it was made.
    """

    recipe: Recipe
    trainer: Trained
    command: str
    label_keys: Sequence[str]
    dataset_digest: str
    validation: Split
    test: Split
    input: InputSpec
    origin: Mapping[str, Any] = field(default_factory=dict)
    recorded: Mapping[str, Any] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    trained_on: str = ""

    @property
    def date(self) -> str:
        """When it was made, in words."""
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        if not self.trained_on:
            return today
        return f"{self.trained_on}, exported and measured again on {today}"


def package(run: Run, root: Path) -> tuple[Bundle, Evaluation]:
    """Write the bundle of a run's best epoch; return it and what it did on the test split.

    Temperature, confidence levels and the *not sure* threshold come from the validation split,
    the figures from the test split, through the ONNX graph that serves. The run's folder gets a
    report of its own, with pictures of the worst mistakes, which the bundle never holds.
    """
    if root.exists():
        shutil.rmtree(root)
    settings = run.trainer.settings
    network = run.trainer.best_network()
    logits = predict_logits(network, run.validation.images, views=settings.views)
    temperature = calibration.fit_temperature(logits, run.validation.labels)
    export.write_graphs(network, root, run.input, temperature=temperature, views=settings.views)
    measured = _measure(run, network, temperature, root / "model.onnx")
    sizes = {path.name: path.stat().st_size for path in root.iterdir() if path.is_file()}
    report = _report(run, network, temperature, measured, sizes)
    reports.write(root / reports.FOLDER, report)
    local = dataclasses.replace(report, mistakes=reports.worst(measured.test, run.test))
    reports.write_page(run.trainer.folder / reports.FOLDER / reports.PAGE, local)
    description = _description(run, network, temperature, measured, sizes)
    return export.write_manifest(root, description), measured.test


def _measure(run: Run, network: Any, temperature: float, served: Path) -> Measured:
    return measuring.measure(
        served,
        run.validation,
        run.test,
        run.label_keys,
        run.recipe.acceptance,
        one_view=lambda: _one_view(run, network, temperature),
    )


def _one_view(run: Run, network: Any, temperature: float) -> OneView | None:
    """Return what the network gives of the test split without the views that the graph averages."""
    if len(VIEWS[run.trainer.settings.views]) == 1:
        return None
    logits = predict_logits(network, run.test.images)
    probabilities = calibration.softmax(logits, temperature)
    return OneView(
        accuracy=float((logits.argmax(axis=1) == run.test.labels).mean()),
        loss=calibration.cross_entropy(probabilities, run.test.labels),
        images=len(run.test),
    )


def _description(
    run: Run, network: Any, temperature: float, measured: Measured, sizes: Mapping[str, int]
) -> Description:
    size = {"parameters": network.count_params(), "serve_bytes": sizes["model.onnx"]}
    return Description(
        name=run.recipe.model_name,
        title=run.recipe.model_title,
        architecture=run.recipe.architecture,
        labels=tuple(
            Label(key, run.names.get(key, key.replace("_", " "))) for key in run.label_keys
        ),
        input=run.input,
        temperature=temperature,
        confidence=measured.thresholds,
        dataset={
            "name": _dataset_name(run),
            "digest": run.dataset_digest,
            "counts": _counts(run),
        },
        recipe=_recipe(run),
        metrics={
            "validation": measured.validation.as_json(),
            "test": measured.test.as_json(),
            "milliseconds": dict(measured.milliseconds),
            "size": size,
        },
        levels=measured.test.levels,
        not_sure=measured.not_sure,
        acceptance=measured.acceptance,
    )


def _recipe(run: Run) -> Mapping[str, Any]:
    if run.recorded is not None:
        return run.recorded
    return {
        "name": run.recipe.name,
        "command": run.command,
        "settings": run.trainer.settings.as_json(),
        "seed": run.trainer.seed,
        **({"origin": dict(run.origin)} if run.origin else {}),
    }


def _counts(run: Run) -> dict[str, int]:
    return {
        "train": len(run.trainer.train),
        "validation": len(run.validation),
        "test": len(run.test),
    }


def _dataset_name(run: Run) -> str:
    """Return the source's name; of a path only the last part, for a bundle tells no folders."""
    return Path(run.recipe.dataset).name


def _report(
    run: Run, network: Any, temperature: float, measured: Measured, sizes: Mapping[str, int]
) -> reports.Report:
    return reports.of_card(
        _card(run, network, temperature, measured),
        sizes=sizes,
        facts=_facts(run, network, temperature, sizes),
        validation=measured.validation,
        history=reports.read_history(run.trainer.folder / "history.csv"),
        layers=reports.layers(network),
    )


def _facts(
    run: Run, network: Any, temperature: float, sizes: Mapping[str, int]
) -> list[tuple[str, str]]:
    counts = _counts(run)
    return [
        ("Architecture", run.recipe.architecture),
        ("Parameters", f"{network.count_params():,}"),
        ("Input", words.input_size(run.input)),
        ("Views averaged", str(len(VIEWS[run.trainer.settings.views]))),
        ("Data set", _dataset_name(run)),
        *((f"{split.capitalize()} images", f"{count:,}") for split, count in counts.items()),
        ("Epochs, seed", f"{len(run.trainer.history)}, {run.trainer.seed}"),
        ("Temperature", f"{temperature:.3f}"),
        *((name, reports.size(sizes[name])) for name in sorted(sizes)),
    ]


def _card(run: Run, network: Any, temperature: float, measured: Measured) -> reports.Card:
    return reports.Card(
        title=run.recipe.title,
        command=run.command,
        date=run.date,
        summary=(
            f"Tells {len(run.label_keys)} kinds of picture apart: {', '.join(run.label_keys)}. "
            f"Architecture `{run.recipe.architecture}`, trained for {len(run.trainer.history)} "
            f"epochs, seed {run.trainer.seed}."
        ),
        facts=_sentences(run, network, temperature),
        dataset=_dataset_name(run),
        digest=run.dataset_digest,
        counts={name.replace("train", "training"): n for name, n in _counts(run).items()},
        test=measured.test,
        acceptance=measured.acceptance,
        not_sure=measured.not_sure,
        milliseconds=measured.milliseconds,
        thresholds=measured.thresholds,
        own=run.recipe.card,
    )


def _sentences(run: Run, network: Any, temperature: float) -> list[str]:
    views = len(VIEWS[run.trainer.settings.views])
    averaged = [f"The served graph averages {views} views of a picture"] if views > 1 else []
    return [
        f"{network.count_params():,} parameters",
        f"Input: {words.input_size(run.input)}",
        f"Temperature {temperature:.3f}, fitted on {len(run.validation):,} validation images",
        *averaged,
    ]
