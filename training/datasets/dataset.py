"""A labelled data set, in memory or decoded on demand, and how a part of it is held out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Indices = npt.NDArray[np.integer]

_BATCH = 512  # pictures at a time wherever all of a split is gone through


class DatasetError(Exception):
    """A data set cannot be fetched, read or kept; the message says why and what to do."""


class DatasetMissing(DatasetError):
    """The data set was not fetched to this machine yet."""


class LazyImages(Protocol):
    """Pictures that come when asked for: like a uint8 array (N, height, width, 3) to read from."""

    @property
    def shape(self) -> tuple[int, int, int, int]: ...

    @property
    def dtype(self) -> np.dtype[np.uint8]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: slice | Indices, /) -> Images:
        """Return those pictures, uint8 (n, height, width, 3), in the order asked for."""

    def subset(self, indices: Indices) -> LazyImages:
        """Return the pictures at these indices without reading any of them."""


# Work on it batch by batch, never as a whole: it may be larger than memory.
Pictures = Images | LazyImages


@dataclass(frozen=True)
class Skipped:
    """A file that takes no part: its name, why (a sentence), and of which kind that reason is.

    `kind` is one of "corrupt", "conflict", "copy", "leak", "ignored" and "deleted".
    """

    name: str
    reason: str
    kind: str = "corrupt"


@dataclass(frozen=True)
class Split:
    """Pictures and what they show.

    Attributes:
        images: uint8, shape (N, height, width, 3), RGB; an array or pictures decoded on demand.
        labels: int64, shape (N,), indices into the data set's label keys.
        names: where each picture comes from, a path relative to the source; may be empty.
        clusters: int64, shape (N,), one number for pictures that belong on one side of any split
            (a group, near duplicates), over all splits of a data set; None where nobody looked.
    """

    images: Pictures
    labels: Labels
    names: tuple[str, ...] = ()
    clusters: Labels | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Indices) -> Split:
        """Return the pictures at these indices; decodes none of them."""
        whole = self.images
        images = whole[indices] if isinstance(whole, np.ndarray) else whole.subset(indices)
        names = tuple(self.names[index] for index in indices) if self.names else ()
        clusters = None if self.clusters is None else self.clusters[indices]
        return Split(images, self.labels[indices], names, clusters)

    def in_canonical_order(self) -> Split:
        """Return the same pictures ordered by the SHA-256 of their pixels, then by label.

        The same data set then trains alike and has one digest, wherever it came from.
        """
        keys = content_keys(self.images)
        order = sorted(range(len(self)), key=lambda index: (keys[index], self.labels[index]))
        return self.take(np.asarray(order, dtype=np.int64))


@dataclass(frozen=True)
class Dataset:
    """A training and a test split under one set of label keys.

    The test split is for the final measurement only. Where `validation` is None, it is cut from
    training by `hold_out`.

    Attributes:
        skipped: the files of the source that are in no split.
        known_digest: the digest of what is not hashed pixel by pixel: see `digest`.
        notes: sentences on how the splits were made that a person should read.
    """

    name: str
    label_keys: tuple[str, ...]
    train: Split
    test: Split
    validation: Split | None = None
    skipped: tuple[Skipped, ...] = ()
    known_digest: str = ""
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of what is learnt from and measured on.

        In memory: over label keys, pixels and labels of the splits, in their order. Of files: as
        `files_digest`, known since the files were scanned.
        """
        if self.known_digest:
            return self.known_digest
        digest = hashlib.sha256("\n".join(self.label_keys).encode())
        for split in filter(None, (self.train, self.validation, self.test)):
            for batch in _batches(split.images):
                digest.update(np.ascontiguousarray(batch).data)
            digest.update(split.labels.astype("<i8").tobytes())
        return digest.hexdigest()


def files_digest(label_keys: tuple[str, ...], members: list[tuple[str, str, str]]) -> str:
    """Return a SHA-256 over (split, label key, SHA-256 of the file) of every picture, sorted.

    Paths, names and the order of the files make no difference to it.
    """
    lines = [*label_keys, "", *sorted("\t".join(member) for member in members)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def hold_out(split: Split, count: int) -> tuple[Split, Split]:
    """Cut `count` pictures off a split, stratified by label; return (the rest, those held out).

    Which ones is decided by the SHA-256 of each picture's pixels, not by a seed: every run
    of every recipe holds out the same pictures, so that versions may be compared on them.

    Raises:
        ValueError: if the split is too small to give every label its share.
    """
    labels, sizes = np.unique(split.labels, return_counts=True)
    per_label = count // len(labels)
    if per_label < 1 or per_label >= sizes.min():
        raise ValueError(
            f"Expected to hold out between 1 and {sizes.min() - 1} pictures of each of "
            f"{len(labels)} labels. Received: {count} in all"
        )
    keys = content_keys(split.images)
    held = np.zeros(len(split), dtype=bool)
    for label in labels:
        members = np.flatnonzero(split.labels == label)
        order = sorted(members, key=lambda index: keys[index])
        held[order[:per_label]] = True
    return split.take(np.flatnonzero(~held)), split.take(np.flatnonzero(held))


def content_keys(images: Pictures) -> list[bytes]:
    """Return the SHA-256 of each picture's pixels, by which it is known wherever it came from."""
    return [_content_key(image) for batch in _batches(images) for image in batch]


def _batches(images: Pictures) -> Iterator[Images]:
    for start in range(0, len(images), _BATCH):
        yield images[start : start + _BATCH]


def _content_key(image: npt.NDArray[Any]) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(image).data).digest()
