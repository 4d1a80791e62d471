"""Which pictures no training of some versions saw: what they are calibrated and measured on again.

Every training holds out the same pictures of a data set, by their content, and only how many is a
setting of its own: from a version's manifest that is known again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import numpy as np

from classifier.imaging import InputSpec
from training import loading, reproducing
from training.datasets.dataset import Dataset, DatasetError, Split, content_keys
from training.parts import Cut, Parts
from training.runs import RunError


def cuts_of(manifest: Mapping[str, Any]) -> tuple[Cut, ...]:
    """Return how what a version was made of was parted; nothing where its manifest is silent."""
    recorded = manifest["recipe"].get("cuts")
    try:
        if recorded is not None:
            return tuple(Cut(int(each["validation"]), bool(each.get("smoke"))) for each in recorded)
        plan = reproducing.plan_of(manifest)
    except (TypeError, ValueError, KeyError, AttributeError):
        return ()
    return (Cut(plan.settings.validation, plan.smoke),)


def parts(
    manifests: Mapping[str, Mapping[str, Any]],
    dataset: Dataset,
    keys: tuple[str, ...],
    spec: InputSpec,
) -> Parts:
    """Return the data set's pictures for versions, by their names; labels are indices into `keys`.

    Raises:
        DatasetError: it has other labels, pictures of another size, too few of them, or none that
            every version has not learnt from.
    """
    _check(dataset, keys, spec)
    found: list[Cut] = []
    notes: list[str] = []
    for name, manifest in manifests.items():
        cuts = cuts_of(manifest)
        recorded = manifest["dataset"].get("digest")
        if not cuts or recorded != dataset.digest:
            notes.append(_unsure(name, dataset, is_other=bool(recorded and cuts)))
        found += cuts
    distinct = tuple(dict.fromkeys(found)) or (Cut(_tenth(dataset)),)
    try:
        each = [loading.cut(dataset, one.validation, smoke=one.smoke) for one in distinct]
    except RunError as error:
        raise DatasetError(str(error)) from error
    train = each[0][0]
    validation, test = (
        _shared([one[at] for one in each], what, dataset)
        for at, what in ((1, "validation"), (2, "test"))
    )
    order = np.array([keys.index(key) for key in dataset.label_keys], dtype=np.int64)
    train, validation, test = (
        replace(split, labels=order[split.labels]) for split in (train, validation, test)
    )
    name = PurePath(dataset.name).name
    return Parts(name, dataset.digest, train, validation, test, distinct, tuple(notes))


def _check(dataset: Dataset, keys: tuple[str, ...], spec: InputSpec) -> None:
    if set(dataset.label_keys) != set(keys):
        raise DatasetError(
            f"Expected a data set with the labels {', '.join(keys)}. "
            f"Received: {', '.join(dataset.label_keys)}"
        )
    if tuple(dataset.test.images.shape[1:3]) != (spec.height, spec.width):
        raise DatasetError(
            f"Expected pictures of {spec.width}x{spec.height}. Received: {dataset.name}"
        )


def _unsure(name: str, dataset: Dataset, *, is_other: bool) -> str:
    why = "was trained on another data set" if is_other else "does not say what it was trained on"
    return (
        f"{name} {why}. If it learnt from pictures that are in {dataset.name}, what is measured "
        "here flatters it."
    )


def _tenth(dataset: Dataset) -> int:
    labels = len(dataset.label_keys)
    return max(labels, len(dataset.train) // 10 // labels * labels)


def _shared(splits: Sequence[Split], what: str, dataset: Dataset) -> Split:
    """Return the pictures that are in all the splits, in the order of the first."""
    first, *others = splits
    if not others:
        return first
    keys = content_keys(first.images)
    common = set(keys).intersection(*(content_keys(other.images) for other in others))
    kept = np.array([at for at, key in enumerate(keys) if key in common], dtype=np.int64)
    if len(set(first.labels[kept].tolist())) < len(dataset.label_keys):
        raise DatasetError(
            f"Expected {what} pictures of every label in {dataset.name} that no member learnt "
            f"from. Received: {len(kept)} that all of them leave out"
        )
    return first.take(kept)
