"""The pictures that a run learns from: read, held out, and proved to be those it began with."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from django.conf import settings as django_settings

from classifier.imaging import InputSpec, Interpolation, ResizeRule
from classifier.measured import FEWEST_ANSWERS
from classifier.wording import counted
from training import drawing
from training.datasets import cifar10, sources
from training.datasets.dataset import Dataset, DatasetMissing, Split, hold_out
from training.recipes.recipe import Recipe
from training.runs import RunError, RunPlan

# Photos that are not square are cropped to their middle: it keeps proportions, which squashing does
# not, and adds no border. They are made small by the smoothest filter: sharper ones look less like
# CIFAR-10 (of 400 photos of dogs, `cifar10_cnn` knew 53 % with it, 46 % with the bicubic one, 41 %
# with Lanczos).
CIFAR10_INPUT = InputSpec(
    height=32, width=32, resize=ResizeRule.CROP, interpolation=Interpolation.BILINEAR
)
# Pictures of each label in a smoke run: training, validation, test.
SMALL_SMOKE = (120, 20, 30)
LARGE_SMOKE = (16, 6, 6)
LARGE_SIDE = 64  # pixels: above it a smoke run takes fewer pictures
DRAWN_SMALL, DRAWN_LARGE = 60, 24  # pictures of each label
# Why files take no part, by `training.datasets.dataset.Skipped.kind`.
LEFT_OUT = {
    "corrupt": "unreadable",
    "conflict": "with several labels",
    "copy": "in there twice",
    "leak": "in two splits",
    "ignored": "not among the pictures",
    "deleted": "deleted",
}
Scanned = Callable[[int, int], None]  # (pictures looked at, pictures in all)


def input_of(recipe: Recipe) -> InputSpec:
    """Return what pictures are decoded to: what the recipe says, else CIFAR-10's own size."""
    return recipe.input or CIFAR10_INPUT


def absolute(source: str) -> str:
    """Return a path so that a resumed run finds it from any folder; names stay as they are."""
    path = Path(source).expanduser()
    named = path.name == source and any(
        (sources_root() / f"{source}{suffix}").exists() for suffix in sources.KEPT
    )
    if source == cifar10.NAME or named or not path.exists():
        return source
    return str(path.absolute())


def loaded(
    plan: RunPlan,
    recipe: Recipe,
    stack: contextlib.ExitStack,
    scanned: Scanned,
    may_draw: bool,
) -> tuple[RunPlan, Dataset]:
    """Return the data set, drawn ones where it may be drawn and is not here."""
    if recipe.dataset and not plan.drawn:
        try:
            return plan, load(recipe, plan.group_by, plan.max_bad, scanned)
        except DatasetMissing:
            if not may_draw:
                raise
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="classifyme-"))) / "drawn"
    side = max(input_of(recipe).height, input_of(recipe).width)
    drawing.draw(
        folder,
        per_label=DRAWN_LARGE if side > LARGE_SIDE else DRAWN_SMALL,
        side=side,
        label_keys=cifar10.LABEL_KEYS if recipe.dataset == cifar10.NAME else drawing.LABEL_KEYS,
    )
    drawn = dataclasses.replace(recipe, dataset=str(folder))
    return dataclasses.replace(plan, drawn=True, group_by=""), load(drawn)


def load(
    recipe: Recipe,
    group_by: str = "",
    max_bad: float | None = None,
    scanned: Scanned = lambda done, total: None,
) -> Dataset:
    """Return the recipe's data set as its network takes it. Raises DatasetError."""
    options = sources.SourceOptions(group_by=group_by)
    if max_bad is not None:
        options = dataclasses.replace(options, max_bad=max_bad)
    return sources.load(
        recipe.dataset,
        root=sources_root(),
        input=input_of(recipe),
        options=options,
        progress=scanned,
    )


def sources_root() -> Path:
    return Path(django_settings.DATASETS_ROOT)


def check_digest(expected: str | None, dataset: Dataset) -> None:
    if expected is not None and dataset.digest != expected:
        raise RunError(
            f"The data set {dataset.name} is not the one that was trained on. Expected the digest "
            f"{expected}. Received: {dataset.digest}"
        )


def check_same(folder: Path, plan: RunPlan, recipe: Recipe, dataset: Dataset) -> None:
    """Raise RunError unless the data are those a run began with, decoded as they were then."""
    if plan.input and plan.input != input_of(recipe).to_json():
        raise RunError(
            f"Pictures are decoded otherwise now than when {folder} was begun. Start a new run."
        )
    if plan.label_keys and plan.label_keys != dataset.label_keys:
        raise RunError(
            f"Expected the labels that {folder} was trained on: {', '.join(plan.label_keys)}. "
            f"Received: {', '.join(dataset.label_keys)}. Start a new run."
        )
    if plan.dataset_digest != dataset.digest:
        raise RunError(
            f"The data set is not the one that {folder} was trained on (its digest differs). "
            "Start a new run."
        )


def remarks(dataset: Dataset) -> tuple[str, ...]:
    if not dataset.skipped:
        return dataset.notes
    kinds = Counter(skipped.kind for skipped in dataset.skipped)
    words = ", ".join(f"{count} {LEFT_OUT[kind]}" for kind, count in kinds.most_common())
    return (*dataset.notes, f"Files left out: {words}. explore_dataset lists them.")


def calibration_remarks(plan: RunPlan, images: int) -> tuple[str, ...]:
    """Return what a person should know of so few validation images; nothing of a smoke run's."""
    if plan.smoke or images >= FEWEST_ANSWERS:
        return ()
    return (
        f"Validation has {counted(images, 'image')}: the best epoch, the temperature and the "
        f"confidence levels rest on them. With {FEWEST_ANSWERS} and more they begin to mean "
        "something.",
    )


def split(dataset: Dataset, plan: RunPlan) -> tuple[Split, Split, Split]:
    """Return training, validation and test pictures; few of each label in a smoke run.

    Raises:
        RunError: there are too few pictures to hold out as many as the settings say.
    """
    return cut(dataset, plan.settings.validation, smoke=plan.smoke)


def cut(dataset: Dataset, held_out: int, *, smoke: bool = False) -> tuple[Split, Split, Split]:
    """Return training, validation and test pictures, as `split`.

    `held_out` pictures of training validate, where the data set has none for that.
    """
    train, validation, test = dataset.train, dataset.validation, dataset.test
    if smoke:
        large = max(train.images.shape[1:3]) > LARGE_SIDE
        counts = LARGE_SMOKE if large else SMALL_SMOKE
        held_out = counts[1] * len(dataset.label_keys)
        train = few(train, counts[0] if validation else counts[0] + counts[1])
        validation = few(validation, counts[1]) if validation else None
        test = few(test, counts[2])
    if validation is None:
        try:
            train, validation = hold_out(train, held_out)
        except ValueError as error:
            raise RunError(f"{error}. Change it with --set validation=...") from error
    return train, validation, test


def few(split: Split, per_label: int) -> Split:
    """Return the first pictures of each label, in the order they stand in."""
    chosen = [
        np.flatnonzero(split.labels == label)[:per_label] for label in np.unique(split.labels)
    ]
    return split.take(np.sort(np.concatenate(chosen)))
