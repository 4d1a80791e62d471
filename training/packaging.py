"""From a finished run to a bundle that may be registered: calibrate, export, measure, report."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classifier.bundles import Bundle, Label
from classifier.imaging import InputSpec, Interpolation, ResizeRule
from classifier.runtimes.onnx import OnnxRuntime
from training import calibration, evaluation, export, reports
from training.datasets.dataset import Images, Split
from training.evaluation import Evaluation
from training.recipes.recipe import Recipe, Views
from training.trainer import Trainer, predict_logits
from training.views import VIEWS, see


@dataclass(frozen=True)
class Run:
    """A finished training and all that its bundle says of it."""

    recipe: Recipe
    trainer: Trainer
    command: str
    label_keys: Sequence[str]
    dataset_digest: str
    validation: Split
    test: Split


def package(run: Run, root: Path) -> tuple[Bundle, Evaluation]:
    """Write the bundle of a run's best epoch; return it and what it did on the test split.

    Temperature and confidence levels come from the validation split, the figures from the
    test split, through the ONNX graph that serves.
    """
    if root.exists():
        shutil.rmtree(root)
    settings, keys = run.trainer.settings, run.label_keys
    network = run.trainer.best_network()
    logits = served_logits(network, run.validation.images, settings.views)
    temperature = calibration.fit_temperature(logits, run.validation.labels)
    spec = input_spec(run.test.images)
    export.write_graphs(network, root, spec, temperature=temperature, views=settings.views)

    runtime = OnnxRuntime(root / "model.onnx", threads=1)
    validated = evaluation.predict(runtime, run.validation.images)
    thresholds = calibration.confidence_thresholds(validated, run.validation.labels, keys)
    validation = evaluation.evaluate(validated, run.validation.labels, keys, thresholds)
    tested = evaluation.predict(runtime, run.test.images)
    test = evaluation.evaluate(tested, run.test.labels, keys, thresholds)
    milliseconds = evaluation.milliseconds_per_image(runtime, run.test)
    runtime.close()

    reports.write(
        root / "report",
        title=run.recipe.title,
        history=run.trainer.folder / "history.csv",
        validation=validation,
        test=test,
        facts=_facts(run, network.count_params(), temperature, milliseconds),
    )
    bundle = export.write_manifest(
        root,
        name=run.recipe.model_name,
        title=run.recipe.model_title,
        architecture=run.recipe.architecture,
        labels=[Label(key, key.replace("_", " ")) for key in keys],
        input_spec=spec,
        temperature=temperature,
        confidence=thresholds,
        dataset=_dataset_facts(run),
        recipe=_recipe_facts(run),
        metrics={
            "validation": validation.as_json(),
            "test": test.as_json(),
            "milliseconds": milliseconds,
            "size": {
                "parameters": network.count_params(),
                "serve_bytes": (root / "model.onnx").stat().st_size,
            },
        },
    )
    return bundle, test


def served_logits(network: Any, images: Images, views: Views = "one") -> npt.NDArray[np.float32]:
    """Return logits (N, K), averaged over the views that the served graph averages."""
    logits = [predict_logits(network, see(images, view)) for view in VIEWS[views]]
    weights = [view.weight for view in VIEWS[views]]
    return np.average(logits, axis=0, weights=weights).astype(np.float32)


def input_spec(images: Images) -> InputSpec:
    """Return the input of a network trained on pictures of this size.

    Photos that are not square are cropped to their middle: it keeps proportions, which
    squashing does not, and adds no border that training never showed.
    """
    _, height, width, _ = images.shape
    return InputSpec(
        height=height,
        width=width,
        resize=ResizeRule.CROP,
        interpolation=Interpolation.BICUBIC,
    )


def _dataset_facts(run: Run) -> dict[str, Any]:
    return {
        "name": run.recipe.dataset,
        "digest": run.dataset_digest,
        "counts": {
            "train": len(run.trainer.train),
            "validation": len(run.validation),
            "test": len(run.test),
        },
    }


def _recipe_facts(run: Run) -> dict[str, Any]:
    return {
        "name": run.recipe.name,
        "command": run.command,
        "settings": run.trainer.settings.as_json(),
        "seed": run.trainer.seed,
    }


def _facts(
    run: Run, parameters: int, temperature: float, milliseconds: dict[str, float]
) -> dict[str, Any]:
    spec = input_spec(run.test.images)
    views = VIEWS[run.trainer.settings.views]
    averaged = f" The served graph averages {len(views)} views of a picture." * (len(views) > 1)
    return {
        "command": run.command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "summary": (
            f"Tells {len(run.label_keys)} kinds of picture apart: {', '.join(run.label_keys)}. "
            f"Architecture `{run.recipe.architecture}`, trained on {len(run.trainer.train):,} "
            f"images of {run.recipe.dataset} for {len(run.trainer.history)} epochs, seed "
            f"{run.trainer.seed}.{averaged}"
        ),
        "parameters": parameters,
        "input": (
            f"input {spec.width} by {spec.height} pixels, RGB; other shapes are cropped to the "
            f"middle and resized ({spec.interpolation})"
        ),
        "temperature": temperature,
        "validation_images": len(run.validation),
        "dataset": run.recipe.dataset,
        "milliseconds": milliseconds,
        "limits": (
            f"It knows the labels above and nothing else: a picture of anything else gets one "
            f"of them all the same. Its figures hold for pictures like those of "
            f"{run.recipe.dataset}; on photos of other sizes and sources nothing was measured "
            "here."
        ),
    }
