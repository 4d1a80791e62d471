"""From what a person names to a data set: the one door to every kind of source.

A source is listed (which files under which labels), scanned (which are readable, what is in them),
cleaned (copies, conflicts), split, and decoded on demand.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from classifier import imaging
from classifier.imaging import InputSpec
from training.datasets import (
    cifar10,
    drawn,
    front_back,
    id_documents,
    listings,
    scanning,
    tables,
)
from training.datasets.dataset import (
    Dataset,
    DatasetError,
    DatasetMissing,
    Images,
    Split,
)
from training.datasets.dividing import (
    SHOWN,
    Divided,
    SourceOptions,
    Surveyed,
    check_readable,
    divide,
    more,
    split_digest,
)
from training.datasets.listings import SPLITS, TEST, TRAIN, VALIDATION, Entry, Listing
from training.datasets.scanning import Progress
from training.datasets.streamed import PictureStore, StreamedImages

__all__ = ["KEPT", "SourceOptions", "Surveyed", "load", "register_lister", "survey"]

Lister = Callable[[str, Path], Listing]

# How the name of a data set under DATASETS_ROOT may go on.
KEPT = ("", ".zip", *tables.SUFFIXES)
_LISTERS: dict[str, Lister] = {}


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
            f"{', '.join(missed[:SHOWN])}{more(missed)}"
        )
    grouped = tuple(replace(entry, group=match[1]) for entry, match in matches if match)
    return replace(listing, entries=grouped)


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
