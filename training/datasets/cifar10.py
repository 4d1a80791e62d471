"""CIFAR-10: 60,000 pictures of 32x32 pixels in ten classes (Krizhevsky 2009).

`read` makes a data set from an archive, `save` prepares it for training, `load` is what training
calls. Wherever the pictures come from, the same ones give the same data set: classes stand in the
official order, pictures in the canonical one. Source: https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classifier import imaging
from training.datasets import archives, batches
from training.datasets.dataset import Dataset, DatasetError, DatasetMissing, Images, Labels, Split
from training.datasets.disk import replacing
from training.datasets.downloads import RemoteFile

NAME = "cifar10"
LABEL_KEYS = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
OFFICIAL_ARCHIVE = RemoteFile(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    size=170_498_071,
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
)

_COMMAND = f"python manage.py fetch_dataset {NAME}"
_LAYOUT = 1  # of the prepared file; raised when an older file no longer means the same
_SIZE = (batches.SIDE, batches.SIDE)
_BATCHES = {"test_batch": "test"} | {f"data_batch_{number}": "train" for number in range(1, 6)}
_LABEL_NAMES = "batches.meta"
_SPLITS = ("train", "test")
_PICTURE_LIMITS = imaging.Limits(max_bytes=1_000_000, max_pixels=1_000_000)
_DAMAGED = (OSError, EOFError, LookupError, ValueError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Counts:
    """How many pictures of each class there must be."""

    train: int = 5_000
    test: int = 1_000

    @property
    def total(self) -> int:
        return (self.train + self.test) * len(LABEL_KEYS)


# -- the prepared file ----------------------------------------------------------------------------


def prepared_file(root: Path) -> Path:
    """Return where under the data sets' folder the prepared file is."""
    return root / f"{NAME}.npz"


def save(dataset: Dataset, root: Path) -> None:
    """Write the prepared file, all or nothing.

    Raises:
        DatasetError: it cannot be written, for example because the disk is full.
    """
    arrays: dict[str, npt.NDArray[Any]] = {
        "layout": np.asarray(_LAYOUT),
        "digest": np.asarray(dataset.digest),
        "train_images": dataset.train.images[:],
        "train_labels": dataset.train.labels,
        "test_images": dataset.test.images[:],
        "test_labels": dataset.test.labels,
    }
    with replacing(prepared_file(root)) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load(root: Path) -> Dataset:
    """Read the prepared file and check it by its digest.

    Raises:
        DatasetMissing: CIFAR-10 was not fetched to `root` yet.
        DatasetError: the file is damaged or from another version of ClassifyMe.
    """
    path = prepared_file(root)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            layout, digest = int(arrays["layout"]), str(arrays["digest"])
            train, test = (
                Split(arrays[f"{split}_images"], arrays[f"{split}_labels"]) for split in _SPLITS
            )
    except FileNotFoundError as error:
        raise DatasetMissing(f"There is no CIFAR-10 in {root} yet. Run: {_COMMAND}") from error
    except PermissionError as error:
        raise DatasetError(f"{path} may not be read.") from error
    except (*_DAMAGED, AttributeError, TypeError, MemoryError) as error:
        raise _damaged(path) from error
    dataset = Dataset(NAME, LABEL_KEYS, train, test)
    if layout != _LAYOUT or dataset.digest != digest:
        raise _damaged(path)
    return dataset


def _damaged(path: Path) -> DatasetError:
    return DatasetError(
        f"{path} is damaged or was written by another version of ClassifyMe. "
        f"Fetch it again: {_COMMAND} --force"
    )


# -- from an archive to a data set ----------------------------------------------------------------


def read(
    path: Path,
    *,
    counts: Counts | None = None,
    progress: Callable[[int], None] = lambda pictures: None,
) -> Dataset:
    """Read CIFAR-10 from a tar.gz, tar, zip or folder of official batches or of class folders.

    Class folders are `{train,test}/<class>/<picture>`, in any format that we serve, at any depth.

    Args:
        counts: how many pictures of each class are expected; by default CIFAR-10's own.
        progress: called with the number of pictures that were read so far.

    Raises:
        DatasetError: an unreadable archive or picture, one that is not 32x32 pixels, a missing
            class or batch, other counts than expected.
    """
    counts = counts or Counts()
    found = _Found()
    for member in archives.members(path):
        found.take(member)
        progress(min(found.pictures, counts.total))
    return found.dataset(path, counts)


@dataclass
class _Found:
    """What an archive has given so far."""

    batches: list[str] = field(default_factory=list)
    pictures: int = 0
    images: dict[str, list[Images]] = field(default_factory=lambda: {s: [] for s in _SPLITS})
    labels: dict[str, list[Labels]] = field(default_factory=lambda: {s: [] for s in _SPLITS})
    from_folders: bool = False

    def take(self, member: archives.Member) -> None:
        parts = member.path.parts
        if "__MACOSX" in parts or any(re.match(r"\.[^.]", part) for part in parts):
            return  # what file managers leave behind
        if member.path.name in _BATCHES:
            self._take_batch(member)
        elif member.path.name == _LABEL_NAMES:
            _check_label_names(member)
        elif len(parts) >= 3 and parts[-3] in _SPLITS and parts[-1] != "Thumbs.db":
            self._take_picture(member, split=parts[-3], key=parts[-2])

    def _take_batch(self, member: archives.Member) -> None:
        batch = batches.read_batch(member.content(), member.path.name)
        self.batches.append(member.path.name)
        self._add(_BATCHES[member.path.name], batch.images, batch.labels)

    def _take_picture(self, member: archives.Member, split: str, key: str) -> None:
        if key not in LABEL_KEYS:
            raise DatasetError(
                f"Expected class folders {', '.join(LABEL_KEYS)}. Received: {member.path.parent}"
            )
        self.from_folders = True
        label = np.asarray([LABEL_KEYS.index(key)], dtype=np.int64)
        self._add(split, _decoded(member)[np.newaxis], label)

    def _add(self, split: str, images: Images, labels: Labels) -> None:
        self.images[split].append(images)
        self.labels[split].append(labels)
        self.pictures += len(labels)

    def dataset(self, source: Path, counts: Counts) -> Dataset:
        self._check_one_kind(source)
        train, test = (self._split(split, getattr(counts, split)) for split in _SPLITS)
        return Dataset(NAME, LABEL_KEYS, train, test)

    def _check_one_kind(self, source: Path) -> None:
        if not self.batches and not self.from_folders:
            raise DatasetError(
                f"There is no CIFAR-10 in {source}: expected the official python batches "
                "(data_batch_1 ... test_batch) or class folders (train/<class>/, test/<class>/)."
            )
        if self.batches and self.from_folders:
            raise DatasetError(f"{source} holds both python batches and class folders.")
        if self.batches and sorted(self.batches) != sorted(_BATCHES):
            raise DatasetError(
                f"Expected each of {', '.join(sorted(_BATCHES))} once in {source}. "
                f"Received: {', '.join(sorted(self.batches))}"
            )

    def _split(self, name: str, per_label: int) -> Split:
        labels = np.concatenate([np.empty(0, dtype=np.int64), *self.labels[name]])
        _check_counts(name, labels, per_label)
        return Split(np.concatenate(self.images[name]), labels).in_canonical_order()


def _check_label_names(member: archives.Member) -> None:
    names = batches.read_label_names(member.content(), member.path.name)
    if names != LABEL_KEYS:
        raise DatasetError(
            f"Expected the classes {', '.join(LABEL_KEYS)} in {member.path}. "
            f"Received: {', '.join(names)[:200]}"
        )


def _check_counts(split: str, labels: Labels, per_label: int) -> None:
    found = np.bincount(labels, minlength=len(LABEL_KEYS))
    wrong = [
        f"{key} {count:,}" for key, count in zip(LABEL_KEYS, found, strict=True)
        if count != per_label
    ]  # fmt: skip
    if wrong:
        raise DatasetError(
            f"Expected {per_label:,} {split} pictures of every class. Received: {', '.join(wrong)}"
        )


def _decoded(member: archives.Member) -> Images:
    """Return the picture's pixels, uint8 (32, 32, 3), by the decoder that serves."""
    try:
        picture = imaging.decode(member.content(), limits=_PICTURE_LIMITS)
    except imaging.ImageError as error:
        raise DatasetError(f"{member.path} cannot be read. {error}") from error
    if (picture.width, picture.height) != _SIZE:
        raise DatasetError(
            f"Expected pictures of 32x32 pixels. Received: {member.path} of "
            f"{picture.width}x{picture.height}"
        )
    return np.asarray(picture.image, dtype=np.uint8)
