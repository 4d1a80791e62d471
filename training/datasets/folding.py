"""Which pictures a fold of a cross-validation measures, which choose its epoch, which it learns.

Stratified by label, drawn by a seed; what belongs together stays together: groups, and pictures
that are the same to the eye.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.model_selection import StratifiedGroupKFold

from training.datasets.dataset import DatasetError, Indices, Labels, Pictures, Split
from training.datasets.near_duplicates import clusters, near_pairs, perceptual_hash, thumbnail

FEWEST = 2  # folds
_SMALL = (32, 32)
_AT_ONCE = 512


@dataclass(frozen=True)
class Fold:
    """A division of a pool of pictures: indices into it, in order.

    Attributes:
        number: counted from 1.
        measured: what no network of this fold ever saw. Every picture is measured in one fold.
        validation: what chooses the epoch and the temperature.
        train: the rest.
    """

    number: int
    train: Indices
    validation: Indices
    measured: Indices


def folds(
    labels: Labels,
    together: Labels,
    count: int,
    *,
    seed: int,
    validation: float,
    keys: tuple[str, ...],
) -> list[Fold]:
    """Divide pictures into folds.

    Args:
        labels: (N,), indices into `keys`.
        together: (N,), the same number for pictures that stay on one side.
        validation: the share of what a fold does not measure that is held back to choose epochs.

    Raises:
        DatasetError: too few pictures of a label for so many folds, or groups of which no
            division has some of every label everywhere.
    """
    _check_enough(labels, together, count, keys)
    made = []
    for number, (rest, measured) in enumerate(_parted(labels, together, count, seed), start=1):
        parts = _parts(labels[rest], together[rest], validation)
        learnt, held = next(iter(_parted(labels[rest], together[rest], parts, seed)))
        fold = Fold(number, rest[learnt], rest[held], measured)
        _check_labels(fold, labels, keys)
        made.append(fold)
    return made


def _parted(labels: Labels, together: Labels, count: int, seed: int) -> list[tuple[Indices, ...]]:
    parted = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    return list(parted.split(np.zeros(len(labels)), labels, together))


def _parts(labels: Labels, together: Labels, validation: float) -> int:
    """Return of how many parts one comes near the share, so that each has some of every label."""
    most = min(_sets(labels, together).values())
    return max(FEWEST, min(round(1 / validation), most))


def _sets(labels: Labels, together: Labels) -> Counter[int]:
    """Return of each label in how many sets its pictures hang together."""
    return Counter(label for label, _ in {*zip(labels.tolist(), together.tolist(), strict=True)})


def _check_enough(labels: Labels, together: Labels, count: int, keys: tuple[str, ...]) -> None:
    if count < FEWEST:
        raise DatasetError(f"Expected --folds of at least {FEWEST}. Received: {count}")
    sets = _sets(labels, together)
    needed = max(count, FEWEST + 1)  # one to measure, one to choose the epoch, one to learn
    for index, key in enumerate(keys):
        if sets[index] < needed:
            pictures = int((labels == index).sum())
            apart = "" if pictures == sets[index] else f", which hang together as {sets[index]}"
            fewer = f", or ask for --folds {sets[index]}" if sets[index] > FEWEST else ""
            raise DatasetError(
                f"The class {key!r} has {pictures} pictures outside of the test split{apart}; "
                f"{count} folds need {needed}, each on its own. Add pictures of it{fewer}."
            )


def _check_labels(fold: Fold, labels: Labels, keys: tuple[str, ...]) -> None:
    for part, members in (
        ("learns from", fold.train),
        ("validates on", fold.validation),
        ("measures", fold.measured),
    ):
        missing = sorted(set(range(len(keys))) - set(labels[members].tolist()))
        if missing:
            raise DatasetError(
                f"Fold {fold.number} {part} no picture of {keys[missing[0]]!r}: the groups (or "
                "near duplicates) of the classes hang together too much. Ask for fewer --folds, "
                "try another --seed, or add pictures of further groups."
            )


def together(split: Split) -> Labels:
    """Return one number for pictures that stay on one side, (N,): what the split knows, or a look.

    Without `clusters` every picture is decoded, and the same and nearly the same are found.
    """
    if split.clusters is not None:
        return split.clusters
    return _alike(split.images)


def _alike(images: Pictures) -> Labels:
    hashes, thumbs = [], []
    for start in range(0, len(images), _AT_ONCE):
        for pixels in images[start : start + _AT_ONCE]:
            small = Image.fromarray(pixels).resize(_SMALL, Image.Resampling.BOX)
            hashes.append(perceptual_hash(small))
            thumbs.append(thumbnail(small))
    pairs = near_pairs(_rows(hashes), _rows(thumbs))
    return clusters(len(images), [(int(left), int(right)) for left, right in pairs])


def _rows(found: list[bytes]) -> npt.NDArray[np.uint8]:
    return np.frombuffer(b"".join(found), dtype=np.uint8).reshape(len(found), -1)
