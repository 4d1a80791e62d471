"""Which picture trains, which validates, which tests: drawn once, by content, for good.

What is guaranteed, and what is not, stands in docs/how-to/datasets.md. In short: no rule that looks
at one picture alone can give exact shares, and every rule that looks at the others moves old
pictures when new ones come. So a picture's side follows from its own content, and only where a
split would have nothing of a class at all is the cluster nearest to the boundary moved.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from training.datasets.dataset import DatasetError
from training.datasets.listings import SPLITS, TEST, TRAIN, VALIDATION

_SALT = "classifyme-split-1"


@dataclass
class Cluster:
    """Pictures that stay together.

    Attributes:
        members: their indices.
        labels: how many of each label there are.
        position: 0 to 1, drawn from the content; decides the side.
        side: the split it goes to.
    """

    members: list[int]
    labels: Counter[str]
    position: float
    side: str = TRAIN


def position(key: str, seed: int) -> float:
    """Return a number from 0 up to 1, evenly distributed over keys: the first 53 bits of a hash."""
    digest = hashlib.sha256(f"{_SALT}\t{seed}\t{key}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def bounds(shares: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Return for each split the interval of positions that falls to it.

    Test lies at the bottom, validation above it: a change of validation's share moves no picture
    into or out of the test split.
    """
    total, low, intervals = sum(shares.values()), 0.0, {}
    for split in (TEST, VALIDATION, TRAIN):
        if split in shares:
            high = low + shares[split] / total
            intervals[split] = (low, high)
            low = high
    return intervals


def gather(
    keys: Sequence[str], labels: Sequence[str], roots: Sequence[int], seed: int
) -> list[Cluster]:
    """Return the clusters of pictures that have the same root; the least key gives the position.

    Args:
        keys: of each picture, its group where it has one, else the SHA-256 of its file.
    """
    members = defaultdict(list)
    for index, root in enumerate(roots):
        members[root].append(index)
    return [
        Cluster(
            indices,
            Counter(labels[index] for index in indices),
            position(min(keys[index] for index in indices), seed),
        )
        for indices in members.values()
    ]


def assign(clusters: list[Cluster], shares: Mapping[str, float]) -> int:
    """Give every cluster its side; return how many were moved for the sake of small classes.

    Raises:
        DatasetError: a class cannot be in every split.
    """
    intervals = bounds(shares)
    for cluster in clusters:
        cluster.side = next(
            (split for split, (_, high) in intervals.items() if cluster.position < high), TRAIN
        )
    table = _Table(clusters, intervals)
    table.check_possible()
    return table.at_least_one()


@dataclass
class _Table:
    """How many pictures of each label every split has, kept right while clusters move."""

    clusters: list[Cluster]
    intervals: Mapping[str, tuple[float, float]]
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    totals: Counter[str] = field(default_factory=Counter)
    having: dict[str, list[Cluster]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.counts = {split: Counter() for split in self.intervals}
        for cluster in self.clusters:
            self.counts[cluster.side].update(cluster.labels)
            self.totals.update(cluster.labels)
            for label in cluster.labels:
                self.having[label].append(cluster)

    def check_possible(self) -> None:
        needed = len(self.intervals)
        for label, total in sorted(self.totals.items()):
            found = len(self.having[label])
            if found < needed:
                raise DatasetError(_too_few(label, total, found, list(self.intervals)))

    def at_least_one(self) -> int:
        moved = 0
        for split in self.intervals:
            for label in sorted(self.totals):
                if not self.counts[split][label]:
                    cluster = self._nearest(split, label)
                    if cluster is None:
                        raise DatasetError(
                            f"No pictures of {label!r} could be found for the {split} split "
                            "without taking the last ones of a class from another: the groups "
                            "(or near duplicates) of the classes hang together too much. Add "
                            "pictures of further groups, or bring a split of your own (train/, "
                            "validation/ and test/ folders, or a split column)."
                        )
                    self._move(cluster, split)
                    moved += 1
        return moved

    def _nearest(self, split: str, label: str) -> Cluster | None:
        """Return the cluster to move: the one that brings least of what the split has already,
        then the nearest to its interval; none that another split has nothing instead of."""
        low, high = self.intervals[split]
        has = self.counts[split]
        candidates = [
            (
                sum(has[each] > 0 for each in cluster.labels),
                max(low - cluster.position, cluster.position - high),
                cluster.position,
                cluster,
            )
            for cluster in self.having[label]
            if cluster.side != split
            and all(
                self.counts[cluster.side][each] > count for each, count in cluster.labels.items()
            )
        ]
        return min(candidates, key=lambda item: item[:3])[3] if candidates else None

    def _move(self, cluster: Cluster, split: str) -> None:
        self.counts[cluster.side].subtract(cluster.labels)
        self.counts[split].update(cluster.labels)
        cluster.side = split


def _too_few(label: str, total: int, found: int, splits: list[str]) -> str:
    pictures = "1 picture" if total == 1 else f"{total} pictures"
    apart = "" if found == total else f", which hang together as {found} (groups, near duplicates)"
    needed = sorted(splits, key=SPLITS.index)
    return (
        f"The class {label!r} has {pictures}{apart}; at least {len(needed)} are needed, so that "
        f"{', '.join(needed[:-1])} and {needed[-1]} get one each. Add pictures of it (a few dozen "
        "at least, to learn from) or take the class out."
    )
