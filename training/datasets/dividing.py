"""Cleaned and split: what a survey found, without copies and conflicts, on three sides."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from classifier import manifest
from training.datasets import partition
from training.datasets.dataset import DatasetError, Skipped, files_digest
from training.datasets.listings import SPLITS, TEST, TRAIN, VALIDATION, Entry
from training.datasets.near_duplicates import clusters, near_pairs
from training.datasets.scanning import Picture

FEWEST_TESTED = 10  # pictures of a class: of fewer, one more that is wrong is ten points of recall
THIN = "The test split has few pictures"
SHOWN = 5  # names in a sentence, of many


@dataclass(frozen=True)
class SourceOptions:
    """How a source is read and split.

    Raises ValueError for a seed below 0, a share outside 0..1 and shares that make no whole.

    Attributes:
        seed: decides the split, not the training: versions that are to be compared share it.
        group_by: "", a regular expression with one capture group on the file name, or the name
            of a column (CSV, JSONL); what shares a group stays on one side.
        max_bad: the share of unreadable files, 0 to 1, past which a source is refused.
        shares: of training, validation and test pictures; their sum is 1.
        cache_bytes: how many bytes of decoded pictures are kept in memory at most.
    """

    seed: int = 0
    group_by: str = ""
    max_bad: float = 0.05
    shares: tuple[float, float, float] = (0.70, 0.15, 0.15)
    cache_bytes: int = 2 * 1024**3

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"Expected a seed of at least 0. Received: {self.seed}")
        if not 0 <= self.max_bad <= 1:
            raise ValueError(f"Expected max_bad from 0 to 1. Received: {self.max_bad}")
        if min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-9:
            raise ValueError(f"Expected three shares that make 1. Received: {self.shares}")
        if self.cache_bytes < 0:
            raise ValueError(f"Expected cache_bytes of at least 0. Received: {self.cache_bytes}")


@dataclass(frozen=True)
class Surveyed:
    """A source that was listed and scanned, not yet cleaned and split.

    `entries` and `pictures` go together; unreadable ones are in both.
    """

    name: str
    entries: tuple[Entry, ...]
    pictures: tuple[Picture, ...]
    ignored: tuple[Skipped, ...]

    def unreadable(self) -> list[Skipped]:
        return [
            Skipped(entry.name, picture.error, "corrupt")
            for entry, picture in zip(self.entries, self.pictures, strict=True)
            if picture.error
        ]


@dataclass(frozen=True)
class Divided:
    """Which pictures of a survey go where: for each split their indices, in order of content.

    `clusters` gives pictures that belong on one side the same number, by their index.
    """

    label_keys: tuple[str, ...]
    indices: dict[str, list[int]]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    clusters: dict[int, int] = field(default_factory=dict)


def check_readable(surveyed: Surveyed, max_bad: float) -> None:
    """Raise DatasetError if more than this share of the files cannot be read."""
    bad, count = surveyed.unreadable(), len(surveyed.entries)
    if not bad or len(bad) <= max_bad * count:
        return
    reasons = defaultdict(list)
    for each in bad:
        reasons[each.reason].append(each.name)
    listed = " ".join(
        f"{', '.join(names[:SHOWN])}{more(names)}: {reason}" for reason, names in reasons.items()
    )
    raise DatasetError(
        f"{len(bad):,} of {count:,} files cannot be read, more than the {max_bad:.0%} that are "
        f"put up with (--max-bad). {listed}"
    )


def more(items: Sequence[object]) -> str:
    return f" ... and {len(items) - SHOWN:,} more" if len(items) > SHOWN else ""


def divide(surveyed: Surveyed, options: SourceOptions) -> Divided:
    """Split what a survey found; unreadable pictures, copies and conflicts are left out.

    Raises:
        DatasetError: bad label keys, a class that is missing or too small.
    """
    entries, pictures = surveyed.entries, surveyed.pictures
    keys = label_keys(entries)
    left_out = _conflicts(surveyed) | _copies(surveyed)
    usable = [at for at, picture in enumerate(pictures) if not picture.error and at not in left_out]
    _check_classes(keys, {entries[at].label for at in usable})
    roots = clusters(len(usable), [*near_links(surveyed, usable), *_group_links(surveyed, usable)])
    given = {entry.split for entry in entries} - {""}
    leaks: dict[int, Skipped] = {}
    if given:
        leaks = _leaks(surveyed, usable, roots.tolist())
    sides, notes = _sides(surveyed, usable, roots.tolist(), leaks, options)
    for split, members in sides.items():
        _check_split(split, keys, {entries[at].label for at in members}, leaked=bool(leaks))
        members.sort(key=lambda at: (pictures[at].sha256, entries[at].label, entries[at].name))
    skipped = (*surveyed.unreadable(), *left_out.values(), *leaks.values(), *surveyed.ignored)
    alike = dict(zip(usable, roots.tolist(), strict=True))
    tested = Counter(entries[at].label for at in sides[TEST])
    return Divided(keys, sides, skipped, (*notes, *_thin(keys, tested)), alike)


def _thin(keys: tuple[str, ...], tested: Mapping[str, int]) -> Iterator[str]:
    """Yield what a person should know of a test split that tells next to nothing of a class."""
    few = {key: tested[key] for key in keys if tested[key] < FEWEST_TESTED}
    if few:
        named = ", ".join(f"{count} of {key}" for key, count in [*few.items()][:SHOWN])
        yield (
            f"{THIN}: {named}{more([*few])}. Figures of so few say "
            f"little. With {FEWEST_TESTED} and more of each class they begin to: add pictures, say "
            "yourself which are for test, or let train --folds measure on the others too."
        )


def label_keys(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Return the labels in their order; DatasetError unless a manifest could hold them."""
    keys = tuple(sorted({entry.label for entry in entries}))
    if len(keys) < 2:
        raise DatasetError(
            "Expected pictures of at least two classes. Received: "
            f"{', '.join(keys) or 'no picture at all'}"
        )
    try:
        manifest.check(labels=[{"key": key, "name": key.replace("_", " ")} for key in keys])
    except manifest.BundleError as error:
        received = error.message.partition("Received: ")[2]
        raise DatasetError(
            "Expected names of classes of 1 to 100 printable characters without blanks around "
            f"them, at most {manifest.MOST_LABELS:,} classes. Received: {received}"
        ) from error
    return keys


def _same_pixels(surveyed: Surveyed) -> list[list[int]]:
    same = defaultdict(list)
    for at, picture in enumerate(surveyed.pictures):
        if not picture.error:
            same[picture.pixels].append(at)
    return [members for members in same.values() if len(members) > 1]


def _conflicts(surveyed: Surveyed) -> dict[int, Skipped]:
    left_out = {}
    for members in _same_pixels(surveyed):
        labels = sorted({surveyed.entries[at].label for at in members})
        if len(labels) > 1:
            names = [surveyed.entries[at].name for at in members]
            for at in members:
                others = ", ".join(name for name in names if name != surveyed.entries[at].name)
                reason = f"The same picture is labelled {' and '.join(labels)}: see {others}."
                left_out[at] = Skipped(surveyed.entries[at].name, reason, "conflict")
    return left_out


def _copies(surveyed: Surveyed) -> dict[int, Skipped]:
    """Copies within what is trained on or divided; a given test split is measured as it is."""
    left_out = {}
    for members in _same_pixels(surveyed):
        learnt = [at for at in members if surveyed.entries[at].split in {"", TRAIN}]
        if len(learnt) < 2 or len({surveyed.entries[at].label for at in members}) > 1:
            continue
        first, *rest = sorted(learnt, key=lambda at: _order(surveyed, at))
        for at in rest:
            reason = f"A copy of {surveyed.entries[first].name}."
            left_out[at] = Skipped(surveyed.entries[at].name, reason, "copy")
    return left_out


def _order(surveyed: Surveyed, at: int) -> tuple[str, str]:
    return surveyed.pictures[at].sha256, surveyed.entries[at].name


def near_links(surveyed: Surveyed, usable: Sequence[int]) -> list[tuple[int, int]]:
    """Return pairs of positions in `usable` whose pictures look the same."""
    pictures = [surveyed.pictures[at] for at in usable]
    hashes = np.frombuffer(b"".join(each.hash for each in pictures), dtype=np.uint8)
    thumbs = np.frombuffer(b"".join(each.thumb for each in pictures), dtype=np.uint8)
    if not pictures:
        return []
    pairs = near_pairs(hashes.reshape(len(pictures), -1), thumbs.reshape(len(pictures), -1))
    return [(int(left), int(right)) for left, right in pairs]


def _group_links(surveyed: Surveyed, usable: Sequence[int]) -> list[tuple[int, int]]:
    groups = defaultdict(list)
    for place, at in enumerate(usable):
        if surveyed.entries[at].group:
            groups[surveyed.entries[at].group].append(place)
    return [pair for places in groups.values() for pair in pairwise(places)]


def _check_classes(keys: tuple[str, ...], found: set[str]) -> None:
    if missing := [key for key in keys if key not in found]:
        raise DatasetError(
            f"No usable picture is left of the class {', '.join(map(repr, missing))}: every one "
            "cannot be read or is labelled differently elsewhere. Mend them or take the class out."
        )


def _leaks(surveyed: Surveyed, usable: list[int], roots: list[int]) -> dict[int, Skipped]:
    """What is too like a picture on a given side that is measured on: test before validation."""
    strictest = [TEST, VALIDATION, TRAIN]
    held: dict[int, int] = {}  # by cluster, the picture on the strictest side

    def rank(at: int) -> int:
        return strictest.index(surveyed.entries[at].split or TRAIN)

    for at, root in zip(usable, roots, strict=True):
        if root not in held or rank(at) < rank(held[root]):
            held[root] = at
    leaks = {}
    for at, root in zip(usable, roots, strict=True):
        if rank(at) > rank(held[root]):
            other = surveyed.entries[held[root]]
            reason = f"The same, nearly the same or of one group with {other.name} ({other.split})."
            leaks[at] = Skipped(surveyed.entries[at].name, reason, "leak")
    return leaks


def _sides(
    surveyed: Surveyed,
    usable: list[int],
    roots: list[int],
    leaks: dict[int, Skipped],
    options: SourceOptions,
) -> tuple[dict[str, list[int]], tuple[str, ...]]:
    entries = surveyed.entries
    sides: dict[str, list[int]] = {split: [] for split in SPLITS}
    free, free_roots = [], []
    for at, root in zip(usable, roots, strict=True):
        if at in leaks:
            continue
        if entries[at].split in {VALIDATION, TEST}:
            sides[entries[at].split].append(at)
        else:
            free.append(at)
            free_roots.append(root)
    keys = [_split_key(surveyed, at) for at in free]
    made = partition.gather(keys, [entries[at].label for at in free], free_roots, options.seed)
    given = {entry.split for entry in entries}
    shares = {
        split: share
        for split, share in zip(SPLITS, options.shares, strict=True)
        if split == TRAIN or split not in given
    }
    moved = partition.assign(made, shares)
    for cluster in made:
        sides[cluster.side] += [free[place] for place in cluster.members]
    return sides, _notes(shares, made, moved)


def _split_key(surveyed: Surveyed, at: int) -> str:
    group = surveyed.entries[at].group
    return f"group {group}" if group else surveyed.pictures[at].sha256


def _notes(shares: dict[str, float], made: list[partition.Cluster], moved: int) -> tuple[str, ...]:
    if len(shares) == 1:
        return ()
    together = sum(len(cluster.members) > 1 for cluster in made)
    notes = []
    if together:
        notes.append(
            f"Sets of pictures that stay together, by group or as near duplicates: {together:,}."
        )
    if moved:
        notes.append(
            f"Moved, so that every split has some of every class: {moved:,} pictures or sets. "
            "They may move back when the data set grows."
        )
    return tuple(notes)


def _check_split(split: str, keys: tuple[str, ...], found: set[str], *, leaked: bool) -> None:
    missing = [key for key in keys if key not in found]
    if missing:
        why = " after what also stands in a stricter split was left out" if leaked else ""
        raise DatasetError(
            f"The {split} split has no picture of {', '.join(map(repr, missing))}{why}. Add some, "
            "take the class out, or let the whole be split (one folder for each class, without "
            "train, validation and test)."
        )


def split_digest(surveyed: Surveyed, divided: Divided) -> str:
    """Return the digest that the data set of this division has: see `files_digest`."""
    return files_digest(
        divided.label_keys,
        [
            (split, surveyed.entries[at].label, surveyed.pictures[at].sha256)
            for split, members in divided.indices.items()
            for at in members
        ],
    )
