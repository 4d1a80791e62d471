"""Versions as people name them on the command line, and what they are measured on."""

from __future__ import annotations

import difflib
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import CommandError

from classifier import registry, runtimes
from classifier.bundles import Bundle
from classifier.imaging import InputSpec
from classifier.models import ModelVersion, RegisteredModel
from classifier.registry import GateRefused, RegistryError
from classifier.runtimes import Runtime
from training.datasets import sources, tables
from training.datasets.dataset import Dataset, DatasetError, DatasetMissing, Split
from training.models import TrainingRun

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SPLITS = ("test", "validation", "all")
# What a command that is stopped while it registers can say of that.
MAYBE_REGISTERED = "Whether the version was registered, manage.py list_models says."


def find_version(name: str, number: int | None = None) -> ModelVersion:
    """Return the version `NAME:NUMBER` or `NAME NUMBER`, else the model's active one.

    Raises CommandError (exit code 2) if there is none.
    """
    name, number = _named(name, number)
    model = RegisteredModel.objects.filter(name=name).first()
    if model is None:
        raise refusal(_unknown(name))
    if number is None:
        if model.active_version is None:
            newest = model.versions.order_by("-number").first()
            advice = f" Name one, such as {name}:{newest.number}, its newest." if newest else ""
            raise refusal(f"{model} has no active version.{advice}")
        return model.active_version
    version = model.versions.filter(number=number).first()
    if version is None:
        raise refusal(f"{model} has no version {number}.")
    return version


def _unknown(name: str) -> str:
    """Return what to say of a name that no model has: recipes have names much like theirs."""
    known = list(RegisteredModel.objects.values_list("name", flat=True))
    alike = difflib.get_close_matches(name.replace("_", "-"), known, n=1)
    meant = f". Did you mean {alike[0]}?" if alike else ""
    listed = ", ".join(known) or "none yet"
    return f"Expected a registered model: {listed}. Received: {name}{meant}"


def _named(name: str, number: int | None) -> tuple[str, int | None]:
    model, colon, rest = name.partition(":")
    if not colon:
        return name, number
    rest = rest.removeprefix("v")
    if number is not None or not (rest.isascii() and rest.isdigit()):
        raise refusal(f"Expected MODEL or MODEL:NUMBER, such as cifar10:2. Received: {name}")
    return model, int(rest[:9])


def add_dataset(parser: ArgumentParser, words: str, *, required: bool = False) -> None:
    """Add --dataset, which is for what `words` say, and --group-by."""
    parser.add_argument("--dataset", default="", required=required, metavar="SOURCE", help=words)
    parser.add_argument(
        "--group-by",
        default="",
        metavar="PATTERN|COLUMN",
        help="keep what shares a group on one side of the split, as in training (default: as it "
        "is recorded of that, for a data set of the same name)",
    )


def add_images(parser: ArgumentParser) -> None:
    """Add --images; `check_images` says what is wrong with it."""
    parser.add_argument(
        "--images",
        type=int,
        metavar="N",
        help="measure on so many test images, evenly chosen (default: all); the activation gate "
        "can then not compare its accuracy with that of the active version",
    )


def add_split(parser: ArgumentParser) -> None:
    """Add --split, as `choose` takes it."""
    parser.add_argument(
        "--split",
        choices=SPLITS,
        default="test",
        help="which images (default: test); `all` takes a data set that no version was trained on "
        "whole",
    )


def trained_on(bundle: Bundle, dataset: str, group_by: str) -> tuple[str, str]:
    """Return the source and the grouping that were told, else those the bundle was trained with.

    A data set of another name is not grouped as that one was.
    """
    name = str(bundle.manifest.dataset.get("name", ""))
    source = dataset or _place(bundle) or name
    if group_by or (dataset and _bare(dataset) != _bare(name)):
        return source, group_by
    origin: Mapping[str, Any] = bundle.manifest.recipe.get("origin", {})
    return source, str(origin.get("group_by", ""))


def _place(bundle: Bundle) -> str:
    """Return where the run that made a bundle read its pictures, if they are still there.

    A bundle, which may go anywhere, keeps their name alone; the run's row keeps the place.
    """
    run = TrainingRun.objects.filter(bundle_digest=bundle.digest).first()
    if run is None or run.plan.get("drawn"):
        return ""
    place = Path(run.plan.get("dataset") or "")
    return str(place) if place.is_absolute() and place.exists() else ""


def _bare(source: str) -> str:
    """Return the name of a source without folder, `.zip` or what a table ends in."""
    path = Path(source)
    return path.stem if path.suffix.lower() in (".zip", *tables.SUFFIXES) else path.name


def check_why(options: Mapping[str, Any], by: User | None) -> None:
    """Raise CommandError where the registry would refuse in the end who activates, and why."""
    if options["override_gate"] and not options["reason"].strip():
        raise refusal("Say why the activation gate is overridden: expected --reason.")
    try:
        registry.check_why(by, options["reason"], override=options["override_gate"])
    except RegistryError as error:
        raise refusal(str(error)) from error


def check_images(options: Mapping[str, Any]) -> None:
    """Raise CommandError for --images of none."""
    if options["images"] is not None and options["images"] < 1:
        raise refusal(f"Expected --images of at least 1. Received: {options['images']}")


def measured_on(options: Mapping[str, Any]) -> list[str]:
    """Return --images, --dataset and --group-by as words of a command, without any folder."""
    words = ["--images", str(options["images"])] if options["images"] else []
    if options["dataset"]:
        words += ["--dataset", Path(options["dataset"]).name]
    if options["group_by"]:
        words += ["--group-by", options["group_by"]]
    return words


def register(bundle: Bundle, by: User | None, options: Mapping[str, Any]) -> str:
    """Register a bundle that a command made, as its options say; return what to tell the person.

    Raises RegistryError and, of that, GateRefused.
    """
    version = registry.register(
        bundle.root,
        activate=options["activate"],
        by=by,
        reason=options["reason"],
        override=options["override_gate"],
    )
    active = " and active" if version.is_active else ""
    return f"{version} is registered{active}. Digest: {version.bundle_digest[:12]}"


def still_registered(refused: GateRefused) -> CommandError:
    """Return the error for a version that is registered, and that the gate did not let past."""
    version = refused.verdict.version
    return refusal(
        f"{refused} It is registered, and not active. To activate it all the same: python "
        f"manage.py activate_model {version.model.name} {version.number} --override-gate "
        "--reason WHY"
    )


def refusal(sentence: str) -> CommandError:
    return CommandError(sentence, returncode=2)


def load(source: str, bundle: Bundle, group_by: str = "", spec: InputSpec | None = None) -> Dataset:
    """Return the data set as the bundle's network takes it; CommandError without a source.

    `spec` is what pictures are decoded to instead of what the bundle says. Raises DatasetError for
    a data set that cannot be read.
    """
    if not source:
        raise refusal(
            "The version does not say which data set it was trained on: expected --dataset. "
            "Received: nothing"
        )
    try:
        return sources.load(
            source,
            root=Path(settings.DATASETS_ROOT),
            input=spec or bundle.manifest.input,
            options=sources.SourceOptions(group_by=group_by),
        )
    except DatasetMissing as error:
        raise DatasetError(
            f"{error} A bundle keeps the name of its data set, not the place: where the pictures "
            "lie elsewhere, say --dataset PATH (and --group-by as in training)."
        ) from error


@dataclass(frozen=True)
class Measured:
    """The pictures that a version is measured on; labels are indices into the version's.

    `split` is what was asked for: `test`, `validation` or `all`.
    """

    dataset: Dataset
    split: str
    name: str
    parts: tuple[Split, ...]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    @property
    def images(self) -> str:
        """What they are called in a sentence: `test images`, of all splits `images`."""
        return "images" if self.split == "all" else f"{self.split} images"

    def names(self) -> list[str]:
        """Return what each picture is called, over all parts."""
        return [
            part.names[index] if part.names else f"image {index}"
            for part in self.parts
            for index in range(len(part))
        ]


def choose(
    bundle: Bundle, dataset: Dataset, split: str, *, some_labels: bool | None = None
) -> Measured:
    """Return the pictures of a split under the version's labels.

    Raises CommandError unless the version knows exactly the data set's labels (`some_labels`:
    these and others; None where one cannot ask for that), takes pictures of its size, and every
    label has a picture there.
    """
    keys, given = bundle.manifest.label_keys(), dataset.label_keys
    if set(given) - set(keys) or (set(keys) != set(given) and not some_labels):
        fewer = some_labels is not None and not set(given) - set(keys)
        advice = ". With --some-labels it may have fewer" if fewer else ""
        raise refusal(
            f"Expected a data set with the labels {', '.join(keys)}. "
            f"Received: {', '.join(given)}{advice}"
        )
    parts = tuple(_relabelled(part, dataset, keys) for part in _parts(dataset, split))
    needed = [key for key in keys if key in given]
    where = f"{split} images of {dataset.name}"
    _check_labels(keys, needed, parts, f"the {where}")
    _check_size(bundle, dataset)
    name = f"images of {dataset.name}, all splits" if split == "all" else where
    return Measured(dataset, split, name, parts)


def _parts(dataset: Dataset, split: str) -> list[Split]:
    if split == "test":
        return [dataset.test]
    if split == "all":
        every = (dataset.train, dataset.validation, dataset.test)
        return [part for part in every if part is not None and len(part)]
    if dataset.validation is None:
        raise refusal(
            f"{dataset.name} has no validation images of its own: a run cuts them from training. "
            "Expected --split test or all. Received: validation"
        )
    return [dataset.validation]


def _relabelled(part: Split, dataset: Dataset, keys: tuple[str, ...]) -> Split:
    import numpy as np

    order = np.array([keys.index(key) for key in dataset.label_keys], dtype=np.int64)
    return Split(part.images, order[part.labels], part.names)


def _check_labels(
    keys: Sequence[str], needed: Sequence[str], parts: tuple[Split, ...], where: str
) -> None:
    seen = {keys[label] for part in parts for label in set(part.labels.tolist())}
    if missing := [key for key in needed if key not in seen]:
        raise refusal(
            f"Expected an image of every label among {where}. Received: none of "
            f"{', '.join(missing)}. Try --split all, or add images."
        )


def _check_size(bundle: Bundle, dataset: Dataset) -> None:
    spec = bundle.manifest.input
    if tuple(dataset.test.images.shape[1:3]) != (spec.height, spec.width):
        raise refusal(f"Expected pictures of {spec.width}x{spec.height}. Received: {dataset.name}")


def runtime(bundle: Bundle) -> Runtime:
    """Return the engine that serves, with the bundle's network. Raises RuntimeFault."""
    engine: Mapping[str, Any] = settings.RUNTIME
    return runtimes.create(engine["BACKEND"], bundle.file("serve"), **engine["OPTIONS"])
