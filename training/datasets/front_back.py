"""Fronts and backs of identity documents: the six real designs, widened by drawn cards.

`front_back` is the data set's name; choices follow a colon and are separated by commas:

    front_back                              8,000 drawn cards and the six designs
    front_back:cards=2000,seed=1            fewer drawn cards, others
    front_back:without=id_card_td2_a        one design is the test split and nothing else

The six designs are looked for as front_back.zip or front_back/ in DATASETS_ROOT, as
front/<design>_<number>.jpg and back/<design>_<number>.jpg. Where they are not, cards are drawn
all the same. Validation pictures are drawn cards of designs that are not trained on; so are the
test pictures, unless a design is held out.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from classifier import imaging
from classifier.imaging import ImageError, InputSpec
from training.datasets import cards, drawn
from training.datasets.dataset import (
    Dataset,
    DatasetError,
    Images,
    Indices,
    Labels,
    LazyImages,
    Skipped,
    Split,
)
from training.datasets.drawn import DrawnImages, Kept

NAME = "front_back"
LABEL_KEYS = (cards.BACK, cards.FRONT)
DRAWN = 8000
_DESIGN = re.compile(r"(?P<design>.+?)_\d+\.\w+")
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


@dataclass(frozen=True)
class Choice:
    """What is asked for after the name.

    Attributes:
        cards: how many are drawn, in all splits together.
        seed: which ones.
        without: the design that is held out as the test split; empty for none.
    """

    cards: int = DRAWN
    seed: int = 0
    without: str = ""

    @classmethod
    def of(cls, source: str) -> Choice:
        """Read `front_back` or `front_back:cards=2000,without=...`. Raises DatasetError."""
        known = {"cards": str(DRAWN), "seed": "0", "without": ""}
        given = drawn.choices(source, NAME, known, "cards=N, seed=N, without=DESIGN")
        choice = cls(
            cards=drawn.whole(given["cards"], "cards"),
            seed=drawn.whole(given["seed"], "seed"),
            without=given["without"],
        )
        fewest = 3 * drawn.HELD_OUT_SHARE * cards.CARDS_OF_A_DESIGN
        if choice.cards < fewest:
            raise DatasetError(f"Expected cards={fewest} or more. Received: {choice.cards}")
        return choice


def load(source: str, *, root: Path, input: InputSpec, kept: Kept | None = None) -> Dataset:
    """Return the real designs that are in `root` and the drawn cards, split by design.

    Drawn cards are drawn when they are first asked for, unless they are among those kept.

    Raises:
        DatasetError: choices that make no sense, or a design to hold out that is not there.
    """
    choice, kept = Choice.of(source), kept or Kept()
    sides = drawn.sides(choice.cards, cards.CARDS_OF_A_DESIGN)
    train, validation, test = (_drawn(choice, numbers, input, kept) for numbers in sides)
    real = read_real(root, input)
    held = np.array([design == choice.without for design in real.designs], dtype=bool)
    if choice.without and not held.any():
        raise DatasetError(
            f"Expected one of the designs {', '.join(real.names()) or '(none are here)'} to hold "
            f"out. Received: {choice.without}"
        )
    return Dataset(
        name=source,
        label_keys=LABEL_KEYS,
        train=_joined(real.split.take(np.flatnonzero(~held)), train),
        validation=validation,
        test=real.split.take(np.flatnonzero(held)) if choice.without else test,
        skipped=real.skipped,
        known_digest=_digest(choice, real, input),
        notes=_notes(choice, real),
    )


def designs(root: Path, input: InputSpec) -> list[str]:
    """Return the names of the real designs in `root`, sorted; none where there are none."""
    return read_real(root, input).names()


def _drawn(choice: Choice, numbers: npt.NDArray[np.int64], input: InputSpec, kept: Kept) -> Split:
    images = DrawnImages(cards.draw, choice.seed, numbers, input, kept)
    labels = np.where(numbers % 2 == 0, LABEL_KEYS.index(cards.FRONT), 0).astype(np.int64)
    names = tuple(f"drawn/{choice.seed}/{number:05}" for number in numbers)
    return Split(images, labels, names)


def _joined(real: Split, train: Split) -> Split:
    if not len(real):
        return train
    return Split(
        JoinedImages((real.images, train.images)),
        np.concatenate([real.labels, train.labels]),
        real.names + train.names,
    )


def _digest(choice: Choice, real: Real, input: InputSpec) -> str:
    """Return a SHA-256 of what decides every picture: the choice, the drawing and the files."""
    lines = [*LABEL_KEYS, repr(choice), f"cards {cards.VERSION}", repr(input.to_json())]
    lines += sorted(real.contents)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _notes(choice: Choice, real: Real) -> tuple[str, ...]:
    learnt = f"{choice.cards:,} drawn cards of {choice.cards // cards.CARDS_OF_A_DESIGN:,} designs"
    if not len(real.split):
        return (f"The real designs are not here: this learns from {learnt} alone.",)
    kept = [name for name in real.names() if name != choice.without]
    return (f"Learns from {learnt} and from the designs {', '.join(kept)}.",)


# -- pictures of several kinds as one --------------------------------------------------------------


@dataclass(frozen=True)
class JoinedImages:
    """Several sets of pictures of one size, one after the other; see `LazyImages`."""

    parts: tuple[Images | LazyImages, ...]
    order: npt.NDArray[np.int64] | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        _, height, width, channels = self.parts[0].shape
        return len(self), height, width, channels

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        return np.dtype(np.uint8)

    def __len__(self) -> int:
        return sum(map(len, self.parts)) if self.order is None else len(self.order)

    def __getitem__(self, key: slice | Indices, /) -> Images:
        whole = np.arange(sum(map(len, self.parts)))
        chosen = (whole if self.order is None else self.order)[key]
        pictures = np.empty((len(chosen), *self.shape[1:]), dtype=np.uint8)
        start = 0
        for part in self.parts:
            here = np.flatnonzero((chosen >= start) & (chosen < start + len(part)))
            if len(here):
                pictures[here] = part[chosen[here] - start]
            start += len(part)
        return pictures

    def subset(self, indices: Indices) -> JoinedImages:
        whole = np.arange(len(self)) if self.order is None else self.order
        return JoinedImages(self.parts, whole[indices])


# -- the real designs ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Real:
    """The real pictures, the design of each, the SHA-256 of their files, and what was skipped."""

    split: Split
    designs: tuple[str, ...]
    contents: tuple[str, ...]
    skipped: tuple[Skipped, ...]

    def names(self) -> list[str]:
        return sorted(set(self.designs))


def read_real(root: Path, input: InputSpec) -> Real:
    """Decode the real designs under `root`, in the order of their names; empty without them.

    Raises:
        DatasetError: front_back.zip is no archive that can be read.
    """
    pictures: list[Images] = []
    names, found, contents, labels, skipped = [], [], [], [], []
    for name, content in sorted(_files(root)):
        matched = _DESIGN.fullmatch(PurePosixPath(name).name)
        side = PurePosixPath(name).parent.name
        if side not in LABEL_KEYS or matched is None:
            skipped.append(Skipped(name, "It is not <side>/<design>_<number>.", "ignored"))
            continue
        try:
            pictures.append(imaging.load(content, input)[0])
        except ImageError as error:
            skipped.append(Skipped(name, str(error)))
            continue
        names.append(name)
        found.append(matched["design"])
        labels.append(LABEL_KEYS.index(side))
        contents.append(f"{side}\t{hashlib.sha256(content).hexdigest()}")
    return Real(
        Split(_stacked(pictures, input), _labels(labels), tuple(names)),
        tuple(found),
        tuple(contents),
        tuple(skipped),
    )


def _stacked(pictures: list[Images], input: InputSpec) -> Images:
    empty = np.empty((0, input.height, input.width, 3), dtype=np.uint8)
    return np.stack(pictures) if pictures else empty


def _labels(labels: list[int]) -> Labels:
    return np.asarray(labels, dtype=np.int64)


def _files(root: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every picture of the zip or folder, whichever is there."""
    archive, folder = root / f"{NAME}.zip", root / NAME
    if archive.is_file():
        yield from _zipped(archive)
    elif folder.is_dir():
        for path in folder.rglob("*"):
            if path.suffix.lower() in _SUFFIXES and path.is_file():
                yield path.relative_to(folder).as_posix(), path.read_bytes()


def _zipped(archive: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(archive.read_bytes())) as zipped:
            for name in zipped.namelist():
                if PurePosixPath(name).suffix.lower() in _SUFFIXES:
                    yield name, zipped.read(name)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DatasetError(f"{archive} is not a zip that can be read: {error}.") from error
