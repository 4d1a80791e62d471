"""What a person should know of a data set before training on it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from training.datasets import cifar10
from training.datasets.dataset import DatasetError, Skipped
from training.datasets.dividing import (
    SourceOptions,
    Surveyed,
    check_readable,
    divide,
    near_links,
    split_digest,
)
from training.datasets.near_duplicates import clusters

# Past this ratio of the largest to the smallest class, class weights are worth a try.
IMBALANCED = 3.0
_EDGES = (0.0, 0.5, 0.67, 0.8, 1.25, 1.5, 2.0, float("inf"))  # of width / height
_ASPECTS = ("< 1:2", "1:2", "2:3", "1:1", "4:3", "3:2", "> 2:1")


@dataclass(frozen=True)
class Spread:
    """The least, the middle and the largest of some numbers."""

    least: float
    median: float
    most: float


@dataclass(frozen=True)
class Findings:
    """What was found; every list of names is complete.

    Attributes:
        classes: pictures that can be read, by label key.
        imbalance: the largest class as a multiple of the smallest.
        aspects: pictures by width to height.
        copies, conflicts, near: sets of names that show the same, the same under several labels,
            and nearly the same.
        mixed: the sets in `near` that have more than one label.
        groups: pictures by group, where the source is grouped.
        splits: by split and label key, what training would get; empty where it would refuse.
        refusal: the sentence with which training would refuse, or "".
        left_out: what training would leave out, and why.
    """

    name: str
    files: int
    readable: int
    classes: dict[str, int]
    imbalance: float
    formats: dict[str, int]
    widths: Spread | None
    heights: Spread | None
    bytes: Spread | None
    aspects: dict[str, int]
    corrupt: tuple[Skipped, ...]
    ignored: tuple[Skipped, ...]
    copies: tuple[tuple[str, ...], ...]
    conflicts: tuple[tuple[str, ...], ...]
    near: tuple[tuple[str, ...], ...]
    mixed: tuple[tuple[str, ...], ...]
    groups: dict[str, int]
    splits: dict[str, dict[str, int]]
    refusal: str
    left_out: tuple[Skipped, ...]
    notes: tuple[str, ...]
    digest: str

    def as_json(self) -> dict[str, Any]:
        """Return all of it as JSON-ready values."""
        return asdict(self)


def explore(surveyed: Surveyed, options: SourceOptions) -> Findings:
    """Return what there is to say about a survey; decodes nothing again."""
    entries, pictures = surveyed.entries, surveyed.pictures
    good = [at for at, picture in enumerate(pictures) if not picture.error]
    classes = Counter({entry.label: 0 for entry in entries})
    classes.update(entries[at].label for at in good)
    same, near = _same(surveyed, good), _near(surveyed, good)
    groups = Counter(entry.group for entry in entries if entry.group)
    return Findings(
        name=surveyed.name,
        files=len(entries),
        readable=len(good),
        classes=dict(sorted(classes.items())),
        imbalance=max(classes.values(), default=0) / max(1, min(classes.values(), default=0)),
        formats=dict(Counter(pictures[at].format for at in good).most_common()),
        widths=_spread([pictures[at].width for at in good]),
        heights=_spread([pictures[at].height for at in good]),
        bytes=_spread([entries[at].size for at in good]),
        aspects=_aspects([pictures[at].width / pictures[at].height for at in good]),
        corrupt=tuple(surveyed.unreadable()),
        ignored=surveyed.ignored,
        copies=_named(surveyed, same, mixed=False),
        conflicts=_named(surveyed, same, mixed=True),
        near=_named(surveyed, near),
        mixed=_named(surveyed, near, mixed=True),
        groups=dict(groups.most_common()),
        **_outcome(surveyed, options),
    )


def _spread(values: Sequence[int]) -> Spread | None:
    if not values:
        return None
    return Spread(float(min(values)), float(np.median(values)), float(max(values)))


def _aspects(ratios: Sequence[float]) -> dict[str, int]:
    counts, _ = np.histogram(ratios, bins=_EDGES)
    return {name: int(count) for name, count in zip(_ASPECTS, counts, strict=True) if count}


def _same(surveyed: Surveyed, good: Sequence[int]) -> list[list[int]]:
    found = defaultdict(list)
    for at in good:
        found[surveyed.pictures[at].pixels].append(at)
    return [members for members in found.values() if len(members) > 1]


def _near(surveyed: Surveyed, good: Sequence[int]) -> list[list[int]]:
    found = defaultdict(list)
    for at, root in zip(good, clusters(len(good), near_links(surveyed, good)), strict=True):
        found[int(root)].append(at)
    several = (members for members in found.values() if len(members) > 1)
    return [each for each in several if len({surveyed.pictures[at].pixels for at in each}) > 1]


def _named(
    surveyed: Surveyed, sets: list[list[int]], mixed: bool | None = None
) -> tuple[tuple[str, ...], ...]:
    return tuple(
        tuple(surveyed.entries[at].name for at in members)
        for members in sorted(sets, key=len, reverse=True)
        if mixed is None or mixed is (len({surveyed.entries[at].label for at in members}) > 1)
    )


def _outcome(surveyed: Surveyed, options: SourceOptions) -> dict[str, Any]:
    nothing: dict[str, Any] = {"splits": {}, "left_out": (), "notes": (), "digest": ""}
    if surveyed.name == cifar10.NAME:
        note = "CIFAR-10 keeps its own test split; its recipes cut validation from training."
        return nothing | {"refusal": "", "notes": (note,)}
    try:
        check_readable(surveyed, options.max_bad)
        divided = divide(surveyed, options)
    except DatasetError as error:
        return nothing | {"refusal": str(error)}
    splits = {
        split: {
            key: sum(surveyed.entries[at].label == key for at in members)
            for key in divided.label_keys
        }
        for split, members in divided.indices.items()
    }
    return {
        "splits": splits,
        "refusal": "",
        "left_out": divided.skipped,
        "notes": divided.notes,
        "digest": split_digest(surveyed, divided),
    }
