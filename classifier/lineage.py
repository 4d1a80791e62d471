"""Which versions a version was made of without any training: an ensemble, or one made smaller.

It stands in the manifest of such a bundle, names its parents by the digests of their bundles, and
says what making it smaller cost, counted on the same pictures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from classifier import strict
from classifier.measured import MOST_IMAGES
from classifier.significance import mcnemar

MOST_PARENTS = 64
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class Made(StrEnum):
    """What was done."""

    ENSEMBLE = "ensemble"
    INT8 = "int8"
    FLOAT16 = "float16"


class Mean(StrEnum):
    """What an ensemble averages: probabilities, or logits (the geometric mean of probabilities)."""

    PROBABILITIES = "probabilities"
    LOGITS = "logits"


@dataclass(frozen=True)
class Parent:
    """A version that another was made of; `weight` is its share of an average, 0 to 1."""

    model: str
    digest: str
    architecture: str
    weight: float = 1.0

    def to_json(self) -> dict[str, Any]:
        names = ("model", "digest", "architecture", "weight")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_json(cls, value: object) -> Parent:
        where = "a version in lineage"
        item = strict.exactly(value, where, ("model", "digest", "architecture", "weight"))
        digest = item["digest"]
        return cls(
            strict.text(item["model"], f"{where}, model,", 64),
            strict.matching(digest, f"{where}, digest,", _SHA256, "64 hexadecimal digits"),
            strict.text(item["architecture"], f"{where}, architecture,", 100),
            strict.number(item["weight"], f"{where}, weight,", 0, 1),
        )


@dataclass(frozen=True)
class Cost:
    """What two versions had right of the same pictures: the one before, and what was made of it.

    Attributes:
        images: how many pictures; `right_before` and `right_after` of them.
        only_before, only_after: those that this one alone has right.
    """

    images: int
    right_before: int
    right_after: int
    only_before: int
    only_after: int

    @property
    def points(self) -> float:
        """Percentage points of accuracy lost; less than 0 if it became better."""
        return 100 * (self.right_before - self.right_after) / self.images

    @property
    def p_value(self) -> float:
        """How likely so large a difference is by chance alone (McNemar's exact test).

        Of counts that were made here: it takes long for those that a stranger could write down.
        """
        return mcnemar(self.only_before, self.only_after)

    def to_json(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in _COUNTS}

    @classmethod
    def from_json(cls, value: object) -> Cost | None:
        if value is None:
            return None
        where = "the cost in lineage"
        item = strict.exactly(value, where, _COUNTS)
        images = strict.integer(item["images"], f"{where}, images,", 1, MOST_IMAGES)
        right_before, right_after = (
            strict.integer(item[name], f"{where}, {name},", 0, images)
            for name in ("right_before", "right_after")
        )
        only_before = strict.integer(item["only_before"], f"{where}, only_before,", 0, right_before)
        only_after = strict.integer(item["only_after"], f"{where}, only_after,", 0, right_after)
        if right_before - only_before != right_after - only_after:
            raise strict.invalid(where, "counts that agree on what both have right", dict(item))
        return cls(images, right_before, right_after, only_before, only_after)


_COUNTS = ("images", "right_before", "right_after", "only_before", "only_after")


@dataclass(frozen=True)
class Lineage:
    """How a version was made of others.

    Attributes:
        of: an ensemble's members, two or more; else the one version before.
        mean: of an ensemble, what is averaged.
        cost: of one made smaller, what that cost; None where nobody measured it.
    """

    made: Made
    of: tuple[Parent, ...]
    mean: Mean | None = None
    cost: Cost | None = None

    @property
    def is_ensemble(self) -> bool:
        return self.made is Made.ENSEMBLE

    def to_json(self) -> dict[str, Any]:
        return {
            "made": self.made.value,
            "of": [parent.to_json() for parent in self.of],
            "mean": self.mean.value if self.mean else None,
            "cost": self.cost.to_json() if self.cost else None,
        }

    @classmethod
    def from_json(cls, value: object, where: str) -> Lineage | None:
        """Return what stands in a manifest; None for a version that was trained."""
        if value is None:
            return None
        item = strict.exactly(value, where, ("made", "of", "mean", "cost"))
        made = _member(Made, item["made"], f"{where}, made,")
        ensemble = made is Made.ENSEMBLE
        fewest, most = (2, MOST_PARENTS) if ensemble else (1, 1)
        parents = strict.items(item["of"], f"{where}, of,", fewest, most)
        if (item["mean"] is not None) is not ensemble:
            raise strict.invalid(f"{where}, mean,", "there for an ensemble alone", item["mean"])
        if ensemble and item["cost"] is not None:
            raise strict.invalid(f"{where}, cost,", "null for an ensemble", item["cost"])
        mean = _member(Mean, item["mean"], f"{where}, mean,") if ensemble else None
        of = tuple(Parent.from_json(parent) for parent in parents)
        return cls(made, of, mean, Cost.from_json(item["cost"]))


def lineage_of(manifest: Mapping[str, Any]) -> Lineage | None:
    """Return the lineage in a manifest's JSON as a database keeps it; None if it has none."""
    return Lineage.from_json(manifest.get("lineage"), "lineage")


def _member[E: StrEnum](kind: type[E], value: object, where: str) -> E:
    if not isinstance(value, str) or value not in set(kind):
        raise strict.invalid(where, f"one of {', '.join(kind)}", value)
    return kind(value)
