"""Which pictures a candidate learns from, which choose its epoch, and which measure it.

The same for every candidate, whatever the size of its pictures: decided by where a picture stands
in its split, and splits stand in the order of their contents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.architecture_search.architectures import SearchError
from training.architecture_search.asked import Budget
from training.datasets.dataset import Dataset, Split

STOPPING = 0.1  # of what is learnt from: chooses the epoch, and is measured on by nobody
WITHOUT_VALIDATION = 5000  # pictures cut from training where a data set has no validation split


@dataclass(frozen=True)
class Parts:
    """`learnt` moves weights, `stopping` chooses the epoch, `measured` does neither."""

    learnt: Split
    stopping: Split
    measured: Split


def parts(dataset: Dataset, budget: Budget) -> Parts:
    """Return the parts of a data set, each with its share of every label.

    Raises:
        SearchError: a label has too few pictures for three parts.
    """
    train, measured = dataset.train, dataset.test
    if budget.split == "validation":
        train, measured = _with_validation(dataset, budget)
    if budget.measured is not None and budget.measured < len(measured):
        measured = measured.take(first_of_each(measured.labels, budget.measured))
    if budget.images is not None and budget.images < len(train):
        train = train.take(first_of_each(train.labels, budget.images))
    _check_enough(train, dataset.label_keys)
    chosen = first_of_each(train.labels, int(STOPPING * len(train)))
    return Parts(train.take(_rest(chosen, len(train))), train.take(chosen), measured)


def _with_validation(dataset: Dataset, budget: Budget) -> tuple[Split, Split]:
    if dataset.validation is not None:
        return dataset.train, dataset.validation
    train = dataset.train
    count = min(budget.measured or WITHOUT_VALIDATION, len(train) // 2)
    _check_enough(train, dataset.label_keys)
    held = first_of_each(train.labels, count)
    return train.take(_rest(held, len(train))), train.take(held)


def first_of_each(labels: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Return `count` indices or about so many, in order: of every label its share, at least one."""
    share = min(1.0, count / len(labels))
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        chosen.append(members[: max(1, round(share * len(members)))])
    return np.sort(np.concatenate(chosen))


def _rest(chosen: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    return np.setdiff1d(np.arange(count), chosen)


def _check_enough(train: Split, keys: tuple[str, ...]) -> None:
    """Raise SearchError unless every label can be in two parts."""
    counts = np.bincount(train.labels, minlength=len(keys))
    scarce = [key for key, count in zip(keys, counts, strict=True) if count < 2]
    if scarce:
        raise SearchError(
            f"Expected at least 2 training pictures of each class. Received: fewer of "
            f"{', '.join(scarce)}. Give more --images, or take the class out."
        )
