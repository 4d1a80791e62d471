"""Pictures that a program draws when they are first asked for: what such data sets share."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from classifier import imaging
from classifier.imaging import InputSpec
from training.datasets.cards.files import Draw
from training.datasets.dataset import DatasetError, Images, Indices

HELD_OUT_SHARE = 10  # one set of designs in so many is for validation, another one for test


@dataclass
class Kept:
    """Pictures that were drawn already, up to a limit of bytes; data sets may share them."""

    limit: int = 2 * 1024**3
    pictures: dict[tuple[Draw, int, int, InputSpec], Images] = field(default_factory=dict)
    size: int = 0

    def picture(self, draw: Draw, seed: int, number: int, input: InputSpec) -> Images:
        """Return a picture as the network takes it, uint8 (height, width, 3)."""
        key = (draw, seed, number, input)
        if key in self.pictures:
            return self.pictures[key]
        picture = imaging.to_array(draw(seed, number).image, input)
        if self.size + picture.nbytes <= self.limit:
            self.pictures[key] = picture
            self.size += picture.nbytes
        return picture


@dataclass(frozen=True)
class DrawnImages:
    """Pictures as the network takes them, drawn when first asked for; see `LazyImages`."""

    draw: Draw
    seed: int
    numbers: npt.NDArray[np.int64]
    input: InputSpec
    kept: Kept

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self), self.input.height, self.input.width, 3

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        return np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, key: slice | Indices, /) -> Images:
        chosen = self.numbers[key]
        pictures = np.empty((len(chosen), *self.shape[1:]), dtype=np.uint8)
        for index, number in enumerate(chosen.tolist()):
            pictures[index] = self.kept.picture(self.draw, self.seed, number, self.input)
        return pictures

    def subset(self, indices: Indices) -> DrawnImages:
        return DrawnImages(self.draw, self.seed, self.numbers[indices], self.input, self.kept)


def sides(count: int, together: int) -> tuple[npt.NDArray[np.int64], ...]:
    """Split the numbers 0 to `count` - 1 for training, validation and test.

    Args:
        together: so many in a row, from 0 on, stay on one side: those that share designs.
    """
    numbers = np.arange(count, dtype=np.int64)
    turn = numbers // together % HELD_OUT_SHARE
    return numbers[turn > 1], numbers[turn == 0], numbers[turn == 1]


def choices(source: str, name: str, known: dict[str, str], words: str) -> dict[str, str]:
    """Read `NAME` or `NAME:key=value,key=value`.

    Args:
        known: the keys there are, with what stands for each where it is not given.
        words: the keys as a person is told of them.

    Raises:
        DatasetError: another name or key.
    """
    found, _, rest = source.partition(":")
    given = dict(part.partition("=")[::2] for part in rest.split(",") if part)
    if found != name or not given.keys() <= known.keys():
        raise DatasetError(f"Expected {name}, then : and some of {words}. Received: {source}")
    return known | given


def whole(text: str, name: str) -> int:
    """Return the number that was chosen; raises DatasetError."""
    if not text.isdecimal():
        raise DatasetError(f"Expected {name} as a whole number. Received: {text!r}")
    return int(text)
