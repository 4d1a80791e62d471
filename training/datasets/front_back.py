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
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from classifier import imaging
from classifier.imaging import ImageError, InputSpec
from training.datasets import cards
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

NAME = "front_back"
LABEL_KEYS = (cards.BACK, cards.FRONT)
DRAWN = 8000
_HELD_OUT_SHARE = 10  # one drawn design in so many is for validation, another one for test
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
        name, _, rest = source.partition(":")
        given = dict(part.partition("=")[::2] for part in rest.split(",") if part)
        known = {"cards", "seed", "without"}
        if name != NAME or not given.keys() <= known:
            raise DatasetError(
                f"Expected {NAME}, then : and some of cards=N, seed=N, without=DESIGN. "
                f"Received: {source}"
            )
        choice = cls(
            cards=_whole(given.get("cards", str(DRAWN)), "cards"),
            seed=_whole(given.get("seed", "0"), "seed"),
            without=given.get("without", ""),
        )
        fewest = 3 * _HELD_OUT_SHARE * cards.CARDS_OF_A_DESIGN
        if choice.cards < fewest:
            raise DatasetError(f"Expected cards={fewest} or more. Received: {choice.cards}")
        return choice


def _whole(text: str, name: str) -> int:
    if not text.isdecimal():
        raise DatasetError(f"Expected {name} as a whole number. Received: {text!r}")
    return int(text)


@dataclass
class Kept:
    """Cards that were drawn already, up to a limit of bytes; data sets may share them."""

    limit: int = 2 * 1024**3
    pictures: dict[tuple[int, int, InputSpec], Images] = field(default_factory=dict)
    size: int = 0

    def card(self, seed: int, number: int, input: InputSpec) -> Images:
        """Return the card as the network takes it, uint8 (height, width, 3)."""
        key = (seed, number, input)
        if key in self.pictures:
            return self.pictures[key]
        picture = imaging.to_array(cards.draw(seed, number).image, input)
        if self.size + picture.nbytes <= self.limit:
            self.pictures[key] = picture
            self.size += picture.nbytes
        return picture


def load(source: str, *, root: Path, input: InputSpec, kept: Kept | None = None) -> Dataset:
    """Return the real designs that are in `root` and the drawn cards, split by design.

    Drawn cards are drawn when they are first asked for, unless they are among those kept.

    Raises:
        DatasetError: choices that make no sense, or a design to hold out that is not there.
    """
    choice, kept = Choice.of(source), kept or Kept()
    drawn = [_drawn(choice, numbers, input, kept) for numbers in _numbers(choice.cards)]
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
        train=_joined(real.split.take(np.flatnonzero(~held)), drawn[0]),
        validation=drawn[1],
        test=real.split.take(np.flatnonzero(held)) if choice.without else drawn[2],
        skipped=real.skipped,
        known_digest=_digest(choice, real, input),
        notes=_notes(choice, real),
    )


def designs(root: Path, input: InputSpec) -> list[str]:
    """Return the names of the real designs in `root`, sorted; none where there are none."""
    return read_real(root, input).names()


def _numbers(count: int) -> tuple[npt.NDArray[np.int64], ...]:
    """Return the drawn cards' numbers for training, validation and test, by design."""
    numbers = np.arange(count, dtype=np.int64)
    turn = numbers // cards.CARDS_OF_A_DESIGN % _HELD_OUT_SHARE
    return numbers[turn > 1], numbers[turn == 0], numbers[turn == 1]


def _drawn(choice: Choice, numbers: npt.NDArray[np.int64], input: InputSpec, kept: Kept) -> Split:
    images = DrawnImages(choice.seed, numbers, input, kept)
    labels = np.where(numbers % 2 == 0, LABEL_KEYS.index(cards.FRONT), 0).astype(np.int64)
    names = tuple(f"drawn/{choice.seed}/{number:05}" for number in numbers)
    return Split(images, labels, names)


def _joined(real: Split, drawn: Split) -> Split:
    if not len(real):
        return drawn
    return Split(
        JoinedImages((real.images, drawn.images)),
        np.concatenate([real.labels, drawn.labels]),
        real.names + drawn.names,
    )


def _digest(choice: Choice, real: Real, input: InputSpec) -> str:
    """Return a SHA-256 of what decides every picture: the choice, the drawing and the files."""
    lines = [*LABEL_KEYS, repr(choice), f"cards {cards.VERSION}", repr(input.to_json())]
    lines += sorted(real.contents)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _notes(choice: Choice, real: Real) -> tuple[str, ...]:
    drawn = f"{choice.cards:,} drawn cards of {choice.cards // cards.CARDS_OF_A_DESIGN:,} designs"
    if not len(real.split):
        return (f"The real designs are not here: this learns from {drawn} alone.",)
    kept = [name for name in real.names() if name != choice.without]
    return (f"Learns from {drawn} and from the designs {', '.join(kept)}.",)


# -- drawn cards -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class DrawnImages:
    """Drawn cards as the network takes them, drawn when first asked for; see `LazyImages`."""

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
            pictures[index] = self.kept.card(self.seed, number, self.input)
        return pictures

    def subset(self, indices: Indices) -> DrawnImages:
        return DrawnImages(self.seed, self.numbers[indices], self.input, self.kept)


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
