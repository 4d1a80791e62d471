"""The pictures of a data set as some versions know them: learnt from, held out, never seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from training.datasets.dataset import Split


@dataclass(frozen=True)
class Cut:
    """How a training parted its data set: the pictures to hold out, and whether it only tried."""

    validation: int
    smoke: bool = False


@dataclass(frozen=True)
class Parts:
    """The pictures of a data set as some versions know them.

    `train` is what the first of them learnt from; `validation` and `test` are what none of them
    did. `dataset` is its name, without a folder, and `digest` its digest; `notes` are sentences
    that a person should read.
    """

    dataset: str
    digest: str
    train: Split
    validation: Split
    test: Split
    cuts: tuple[Cut, ...]
    notes: tuple[str, ...] = ()


def evenly(split: Split, count: int | None) -> Split:
    """Return so many pictures, evenly over the split; all of them for None or for more."""
    if count is None or count >= len(split):
        return split
    return split.take(np.linspace(0, len(split) - 1, count).round().astype(np.int64))


def tested_on(parts: Parts, images: int | None) -> Parts:
    """Return the same parts with so many test pictures, evenly chosen; all for None."""
    return replace(parts, test=evenly(parts.test, images))


def as_json(cuts: Sequence[Cut]) -> list[dict[str, Any]]:
    """Return the cuts as they stand in a manifest's recipe, under `cuts`."""
    return [asdict(cut) for cut in cuts]
