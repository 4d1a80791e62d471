"""Two versions on the same pictures: where they differ, and whether that may be chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from classifier.significance import holm, mcnemar
from training.evaluation import Evaluation

__all__ = ["Pair", "compare", "mcnemar"]


@dataclass(frozen=True)
class Pair:
    """How two versions compare on the same pictures.

    Attributes:
        only_first, only_second: pictures that this one alone has right.
        p_value: of McNemar's exact test, two-sided: how likely a difference at least as large
            is where both are equally good; where several pairs are compared, corrected for their
            number by Holm's method.
        recall_change: per label key, the second's recall less the first's.
        differing: int64, indices of the pictures on which their answers differ.
    """

    first: str
    second: str
    only_first: int
    only_second: int
    p_value: float
    recall_change: dict[str, float]
    differing: npt.NDArray[np.int64]

    def as_json(self) -> dict[str, Any]:
        return {
            "first": self.first,
            "second": self.second,
            "only_first": self.only_first,
            "only_second": self.only_second,
            "p_value": self.p_value,
            "recall_change": self.recall_change,
            "differing": len(self.differing),
        }


def compare(named: Sequence[tuple[str, Evaluation]]) -> list[Pair]:
    """Return every pair of (name, evaluation). Raises ValueError unless all are of one split."""
    pairs = [_pair(*first, *second) for first, second in combinations(named, 2)]
    corrected = holm([pair.p_value for pair in pairs])
    return [replace(pair, p_value=p) for pair, p in zip(pairs, corrected, strict=True)]


def _pair(first: str, one: Evaluation, second: str, other: Evaluation) -> Pair:
    if one.keys != other.keys or not np.array_equal(one.labels, other.labels):
        raise ValueError(f"Expected the same pictures and labels. Received: {first} and {second}")
    right, right_too = (each.answers == each.labels for each in (one, other))
    only_first, only_second = int((right & ~right_too).sum()), int((right_too & ~right).sum())
    return Pair(
        first=first,
        second=second,
        only_first=only_first,
        only_second=only_second,
        p_value=mcnemar(only_first, only_second),
        recall_change={
            key: other.per_class[key]["recall"] - figures["recall"]
            for key, figures in one.per_class.items()
        },
        differing=np.flatnonzero(one.answers != other.answers),
    )
