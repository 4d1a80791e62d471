"""`manage.py evaluate MODEL [NUMBER]`: measure a registered version again."""

from __future__ import annotations

import importlib
import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from classifier import runtimes
from classifier.bundles import Bundle, BundleError
from classifier.models import ModelVersion, RegisteredModel
from classifier.runtimes import RuntimeFault
from training.datasets.dataset import Dataset, DatasetError
from training.management.environment import require_keras

DATASETS = ("cifar10",)


class Command(BaseCommand):
    help = "Measure a registered version on a data set's test images, through the serving runtime."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model", help="the registered model's name, such as cifar10")
        parser.add_argument(
            "number", nargs="?", type=int, help="of the version (default: the active one)"
        )
        parser.add_argument(
            "--dataset",
            help=f"one of: {', '.join(DATASETS)} (default: the one it was trained on)",
        )
        parser.add_argument("--json", action="store_true", help="print the figures as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        require_keras()
        try:
            version = find_version(options["model"], options["number"])
            bundle = version.open_bundle()
            bundle.verify()
            dataset = load(options["dataset"] or str(bundle.manifest.dataset.get("name", "")))
            check_fits(bundle, dataset)
            self._measure(version, bundle, dataset, as_json=options["json"])
        except (BundleError, DatasetError, RuntimeFault) as error:
            raise CommandError(str(error), returncode=2) from error

    def _measure(
        self, version: ModelVersion, bundle: Bundle, dataset: Dataset, *, as_json: bool
    ) -> None:
        from training import console, evaluation

        engine: Any = settings.RUNTIME
        with runtimes.create(
            engine["BACKEND"], bundle.file("serve"), **engine["OPTIONS"]
        ) as runtime:
            probabilities = evaluation.predict(runtime, dataset.test.images)
            milliseconds = evaluation.milliseconds_per_image(runtime, dataset.test)
        manifest = bundle.manifest
        measured = evaluation.evaluate(
            probabilities, in_order_of(bundle, dataset), manifest.label_keys(), manifest.confidence
        )
        if as_json:
            self.stdout.write(json.dumps(measured.as_json(), indent=1))
            return
        size = bundle.file("serve").stat().st_size / 1e6
        self.stdout.write(f"{version} on the test images of {dataset.name}\n")
        self.stdout.write(console.summary(measured, milliseconds["median"], size))


def find_version(name: str, number: int | None) -> ModelVersion:
    """Return the version of this number, or the active one; CommandError if there is none."""
    model = RegisteredModel.objects.filter(name=name).first()
    if model is None:
        known = ", ".join(RegisteredModel.objects.values_list("name", flat=True)) or "none yet"
        raise CommandError(f"Expected a registered model: {known}. Received: {name}", returncode=2)
    version = (
        model.active_version if number is None else model.versions.filter(number=number).first()
    )
    if version is None:
        raise CommandError(
            f"{model} has no active version." if number is None
            else f"{model} has no version {number}.",
            returncode=2,
        )  # fmt: skip
    return version


def load(name: str) -> Dataset:
    """Return a data set by name; CommandError if there is none of this name."""
    if name not in DATASETS:
        raise CommandError(
            f"Expected --dataset to be one of {', '.join(DATASETS)}. Received: {name or 'nothing'}",
            returncode=2,
        )
    dataset: Dataset = importlib.import_module(f"training.datasets.{name}").load(
        Path(settings.DATASETS_ROOT)
    )
    return dataset


def check_fits(bundle: Bundle, dataset: Dataset) -> None:
    """Raise CommandError unless the version knows the data set's labels and takes its size."""
    keys = bundle.manifest.label_keys()
    if set(keys) != set(dataset.label_keys):
        raise CommandError(
            f"Expected a data set with the labels {', '.join(keys)}. "
            f"Received: {', '.join(dataset.label_keys)}",
            returncode=2,
        )
    spec = bundle.manifest.input
    if dataset.test.images.shape[1:3] != (spec.height, spec.width):
        raise CommandError(
            f"Expected pictures of {spec.width}x{spec.height}. Received: {dataset.name}",
            returncode=2,
        )


def in_order_of(bundle: Bundle, dataset: Dataset) -> Any:
    """Return the test labels as indices into the bundle's labels, not the data set's."""
    import numpy as np

    keys = bundle.manifest.label_keys()
    return np.array([keys.index(key) for key in dataset.label_keys])[dataset.test.labels]
