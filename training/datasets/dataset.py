"""A labelled data set in memory, and how a part of it is held out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


class DatasetError(Exception):
    """A data set cannot be fetched, read or kept; the message says why and what to do."""


class DatasetMissing(DatasetError):
    """The data set was not fetched to this machine yet."""


@dataclass(frozen=True)
class Split:
    """Pictures and what they show.

    Attributes:
        images: uint8, shape (N, height, width, 3), RGB.
        labels: int64, shape (N,), indices into the data set's label keys.
    """

    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: npt.NDArray[np.integer]) -> Split:
        return Split(self.images[indices], self.labels[indices])

    def in_canonical_order(self) -> Split:
        """Return the same pictures ordered by the SHA-256 of their pixels, then by label.

        The same data set then trains alike and has one digest, wherever it came from.
        """
        keys = [_content_key(image) for image in self.images]
        order = sorted(range(len(self)), key=lambda index: (keys[index], self.labels[index]))
        return self.take(np.asarray(order, dtype=np.int64))


@dataclass(frozen=True)
class Dataset:
    """A training and a test split under one set of label keys.

    The test split is for the final measurement only; validation is cut from training.
    """

    name: str
    label_keys: tuple[str, ...]
    train: Split
    test: Split

    @property
    def digest(self) -> str:
        """SHA-256 over label keys, pixels and labels of both splits, in their order."""
        digest = hashlib.sha256("\n".join(self.label_keys).encode())
        for split in (self.train, self.test):
            digest.update(np.ascontiguousarray(split.images).data)
            digest.update(split.labels.astype("<i8").tobytes())
        return digest.hexdigest()


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
    held = np.zeros(len(split), dtype=bool)
    for label in labels:
        members = np.flatnonzero(split.labels == label)
        order = sorted(members, key=lambda index: _content_key(split.images[index]))
        held[order[:per_label]] = True
    return split.take(np.flatnonzero(~held)), split.take(np.flatnonzero(held))


def _content_key(image: Images) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(image).data).digest()
