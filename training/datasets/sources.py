"""From what a person names to a data set: the one door to every kind of source.

A source is listed (which files under which labels), scanned (which are readable, what is in them),
cleaned (copies, conflicts), split, and decoded on demand.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from classifier import imaging, manifest
from classifier.imaging import InputSpec
from training.datasets import (
    cifar10,
    drawn,
    front_back,
    id_documents,
    listings,
    partition,
    scanning,
    tables,
)
from training.datasets.dataset import (
    Dataset,
    DatasetError,
    DatasetMissing,
    Images,
    Skipped,
    Split,
    files_digest,
)
from training.datasets.listings import SPLITS, TEST, TRAIN, VALIDATION, Entry, Listing
from training.datasets.near_duplicates import clusters, near_pairs
from training.datasets.scanning import Picture, Progress
from training.datasets.streamed import PictureStore, StreamedImages

Lister = Callable[[str, Path], Listing]

# How the name of a data set under DATASETS_ROOT may go on.
KEPT = ("", ".zip", *tables.SUFFIXES)
FEWEST_TESTED = 10  # pictures of a class: of fewer, one more that is wrong is ten points of recall
_SHOWN = 5  # names in a sentence, of many
_LISTERS: dict[str, Lister] = {}


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


def register_lister(prefix: str, lister: Lister) -> None:
    """Let `PREFIX:NAME` be a source: `lister(NAME, root)` says which pictures it has.

    This is how rooms that know Django (dataset snapshots) bring a source to this one.
    """
    _LISTERS[prefix] = lister


def load(
    source: str,
    *,
    root: Path,
    input: InputSpec,
    options: SourceOptions | None = None,
    progress: Progress = lambda done, total: None,
) -> Dataset:
    """Return the data set that `source` names, its pictures as `input` says they reach the model.

    Args:
        source: `cifar10`; `front_back` or `id_documents`, with choices; a folder or a zip of class
            folders (with or without train, validation and test inside); a .csv or .jsonl file;
            `snapshot:NAME`; or a bare name, which is looked up as NAME/ or NAME.zip in `root`.
        root: DATASETS_ROOT.
        progress: called with the pictures scanned so far and in all.

    Raises:
        DatasetMissing: there is no such source.
        DatasetError: it cannot be read or split; the sentence says what to do.
    """
    options = options or SourceOptions()
    if source == cifar10.NAME:
        return _resized(cifar10.load(root), input, options.cache_bytes)
    kept = drawn.Kept(options.cache_bytes)
    if source.partition(":")[0] == front_back.NAME:
        return front_back.load(source, root=root, input=input, kept=kept)
    if source.partition(":")[0] == id_documents.NAME:
        return id_documents.load(source, input=input, kept=kept)
    surveyed = survey(source, root=root, options=options, progress=progress)
    check_readable(surveyed, options.max_bad)
    return _streamed(surveyed, divide(surveyed, options), input, options.cache_bytes)


def survey(
    source: str,
    *,
    root: Path,
    options: SourceOptions | None = None,
    progress: Progress = lambda done, total: None,
) -> Surveyed:
    """List and scan a source.

    Raises:
        DatasetMissing, DatasetError: as `load`; an unreadable picture is no error here.
    """
    options = options or SourceOptions()
    if source == cifar10.NAME:
        listing = _in_memory(cifar10.load(root))
    else:
        listing = _grouped(*_listing(source, root, options.group_by))
    # A scan holds a tiny copy of a picture. What people sent stays where they can delete it.
    sent = source.partition(":")[0] in _LISTERS
    pictures = scanning.scan(listing.entries, None if sent else root, progress)
    return Surveyed(listing.name, listing.entries, tuple(pictures), listing.ignored)


def _in_memory(dataset: Dataset) -> Listing:
    digest = dataset.digest
    entries = []
    for name, split in ((TRAIN, dataset.train), (TEST, dataset.test)):
        for at, label in enumerate(split.labels):
            key = dataset.label_keys[label]
            entries.append(
                Entry(
                    name=f"{name}/{key}/{at:05}.png",
                    label=key,
                    size=split.images[:1].nbytes,
                    stamp=f"{digest}-{name}-{at}",
                    read=partial(_png, split, at),
                    split=name,
                )
            )
    return Listing(dataset.name, tuple(entries))


def _png(split: Split, at: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(split.images[at : at + 1][0]).save(out, "PNG", compress_level=0)
    return out.getvalue()


def check_readable(surveyed: Surveyed, max_bad: float) -> None:
    """Raise DatasetError if more than this share of the files cannot be read."""
    bad, count = surveyed.unreadable(), len(surveyed.entries)
    if not bad or len(bad) <= max_bad * count:
        return
    reasons = defaultdict(list)
    for each in bad:
        reasons[each.reason].append(each.name)
    listed = " ".join(
        f"{', '.join(names[:_SHOWN])}{_more(names)}: {reason}" for reason, names in reasons.items()
    )
    raise DatasetError(
        f"{len(bad):,} of {count:,} files cannot be read, more than the {max_bad:.0%} that are "
        f"put up with (--max-bad). {listed}"
    )


def _more(items: Sequence[object]) -> str:
    return f" ... and {len(items) - _SHOWN:,} more" if len(items) > _SHOWN else ""


# -- what is meant --------------------------------------------------------------------------------


def _listing(source: str, root: Path, group_by: str) -> tuple[Listing, str]:
    """Return the listing, and the pattern by which it is still to be grouped."""
    prefix, colon, name = source.partition(":")
    if colon and prefix in _LISTERS:
        return _LISTERS[prefix](name, root), group_by
    path = _found(source, root)
    if path.suffix.lower() in tables.SUFFIXES and path.is_file():
        is_column = bool(group_by) and not _is_pattern(group_by)
        if is_column or group_by in tables.columns(path):
            return tables.read(path, group_by), ""
        return tables.read(path), group_by
    return listings.class_folders(path), group_by


def _found(source: str, root: Path) -> Path:
    if not source.strip():
        raise DatasetError("Expected the name or the path of a data set. Received: nothing")
    path = Path(source).expanduser()
    kept = [root / f"{source}{suffix}" for suffix in KEPT]
    bare = source == path.name and source not in {".", ".."}
    candidates: list[Path] = [*kept, path] if bare else [path]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    sources = ", ".join(sorted(f"{prefix}:NAME" for prefix in _LISTERS))
    raise DatasetMissing(
        f"There is no data set {source}: expected {cifar10.NAME}, {sources and sources + ', '}"
        "a name that was fetched (manage.py fetch_dataset NAME --from PATH), or the path of a "
        "folder, .zip, .csv or .jsonl."
    )


def _is_pattern(text: str) -> bool:
    try:
        return re.compile(text).groups == 1
    except re.error:
        return False


def _grouped(listing: Listing, pattern: str) -> Listing:
    if not pattern:
        return listing
    if not _is_pattern(pattern):
        raise DatasetError(
            "Expected --group-by to be a regular expression with one group in parentheses, such "
            "as '^(.+)_[0-9]+' for passport_012.jpg, or the name of a column of a .csv or .jsonl. "
            f"Received: {pattern}"
        )
    matches = [(entry, re.search(pattern, entry.short or entry.name)) for entry in listing.entries]
    missed = [entry.name for entry, match in matches if not (match and match[1])]
    if missed:
        raise DatasetError(
            f"--group-by {pattern} does not match {len(missed):,} of {len(matches):,} file names: "
            f"{', '.join(missed[:_SHOWN])}{_more(missed)}"
        )
    grouped = tuple(replace(entry, group=match[1]) for entry, match in matches if match)
    return replace(listing, entries=grouped)


# -- cleaning and splitting -----------------------------------------------------------------------


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
        named = ", ".join(f"{count} of {key}" for key, count in [*few.items()][:_SHOWN])
        yield (
            f"The test split has few pictures: {named}{_more([*few])}. Figures of so few say "
            f"little. With {FEWEST_TESTED} and more of each class they begin to: add pictures, say "
            "yourself which are for test, or measure on all by train --folds."
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


# -- pixels ---------------------------------------------------------------------------------------


def _streamed(surveyed: Surveyed, divided: Divided, spec: InputSpec, cache_bytes: int) -> Dataset:
    entries, pictures = surveyed.entries, surveyed.pictures
    order = [at for split in SPLITS for at in divided.indices[split]]
    members = [(entries[at], pictures[at].sha256) for at in order]
    store = PictureStore(len(order), spec, partial(_decoded, members, spec), cache_bytes)
    splits, start = {}, 0
    for split in SPLITS:
        part = order[start : start + len(divided.indices[split])]
        labels = [divided.label_keys.index(entries[at].label) for at in part]
        splits[split] = Split(
            StreamedImages(store, np.arange(start, start + len(part))),
            np.asarray(labels, dtype=np.int64),
            tuple(entries[at].name for at in part),
            np.asarray([divided.clusters[at] for at in part], dtype=np.int64),
        )
        start += len(part)
    return Dataset(
        surveyed.name,
        divided.label_keys,
        splits[TRAIN],
        splits[TEST],
        splits[VALIDATION],
        skipped=divided.skipped,
        known_digest=split_digest(surveyed, divided),
        notes=divided.notes,
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


def _decoded(members: list[tuple[Entry, str]], spec: InputSpec, index: int) -> Images:
    """Return what the model sees of a picture, if it still is the one that was scanned."""
    entry, sha256 = members[index]
    try:
        content = entry.read()
        if hashlib.sha256(content).hexdigest() == sha256:
            return imaging.load(content, spec)[0]
        trouble = "it is not the file that was scanned"
    except (*scanning.UNREADABLE, imaging.ImageError) as error:
        trouble = str(error)
    raise DatasetError(
        f"{entry.name} changed while it was in use: {trouble}. Start the command again."
    )


def _resized(dataset: Dataset, spec: InputSpec, cache_bytes: int) -> Dataset:
    """Return CIFAR-10 in the size a model takes: as it is, or resized when asked for."""
    if dataset.train.images.shape[1:3] == (spec.height, spec.width):
        return dataset
    digest = dataset.digest
    left = cache_bytes
    splits = {}
    for name in (TRAIN, TEST):
        split: Split = getattr(dataset, name)
        store = PictureStore(len(split), spec, partial(_fitted, split, spec), left)
        left -= store.rows.nbytes
        splits[name] = replace(split, images=StreamedImages(store, np.arange(len(split))))
    return replace(dataset, train=splits[TRAIN], test=splits[TEST], known_digest=digest)


def _fitted(split: Split, spec: InputSpec, index: int) -> Images:
    image = split.images[index : index + 1][0]
    return imaging.to_array(Image.fromarray(image), spec)
