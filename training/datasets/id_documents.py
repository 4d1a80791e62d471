"""Ten types of identity documents, all of them drawn: see `training.datasets.cards.documents`.

`id_documents` is the data set's name; choices follow a colon and are separated by commas:

    id_documents                            6,000 drawn documents of 3,000 designs
    id_documents:count=2000,seed=1          fewer of them, others

Eight tenths are trained on. Validation and test pictures are of designs that are not trained on.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from classifier.imaging import InputSpec
from training.datasets import drawn
from training.datasets.cards import documents
from training.datasets.dataset import Dataset, DatasetError, Split
from training.datasets.drawn import DrawnImages, Kept

NAME = "id_documents"
LABEL_KEYS = documents.KINDS
DRAWN = 6000
# One design of each type: they go to training, validation or test together.
SERIES = documents.DOCUMENTS_OF_A_DESIGN * len(documents.KINDS)
FEWEST = SERIES * drawn.HELD_OUT_SHARE


@dataclass(frozen=True)
class Choice:
    """What is asked for after the name: how many are drawn, in all splits together, and which."""

    count: int = DRAWN
    seed: int = 0

    @classmethod
    def of(cls, source: str) -> Choice:
        """Read `id_documents` or `id_documents:count=2000,seed=1`. Raises DatasetError."""
        known = {"count": str(DRAWN), "seed": "0"}
        given = drawn.choices(source, NAME, known, "count=N, seed=N")
        choice = cls(**{name: drawn.whole(text, name) for name, text in given.items()})
        if choice.count < FEWEST:
            raise DatasetError(
                f"Expected count={FEWEST} or more, for every split to have some of every type. "
                f"Received: {choice.count}"
            )
        return choice


def load(source: str, *, input: InputSpec, kept: Kept | None = None) -> Dataset:
    """Return drawn documents, split by design; each is drawn when it is first asked for.

    Raises:
        DatasetError: choices that make no sense.
    """
    choice, kept = Choice.of(source), kept or Kept()
    sides = drawn.sides(choice.count, SERIES)
    train, validation, test = (_split(choice, numbers, input, kept) for numbers in sides)
    designs = choice.count // documents.DOCUMENTS_OF_A_DESIGN
    return Dataset(
        name=source,
        label_keys=LABEL_KEYS,
        train=train,
        validation=validation,
        test=test,
        known_digest=_digest(choice, input),
        notes=(
            f"{choice.count:,} drawn documents of {designs:,} designs; a design is on one side "
            "of the split only. None is real.",
        ),
    )


def _split(choice: Choice, numbers: npt.NDArray[np.int64], input: InputSpec, kept: Kept) -> Split:
    images = DrawnImages(documents.draw, choice.seed, numbers, input, kept)
    kinds = [documents.kind_of(number) for number in numbers.tolist()]
    labels = np.asarray([LABEL_KEYS.index(kind) for kind in kinds], dtype=np.int64)
    names = tuple(f"drawn/{choice.seed}/{number:06}" for number in numbers)
    return Split(images, labels, names, clusters=numbers // SERIES)


def _digest(choice: Choice, input: InputSpec) -> str:
    """Return a SHA-256 of what decides every picture: the choice and the drawing."""
    drawing = f"documents {documents.VERSION}"
    lines = [*LABEL_KEYS, repr(choice), drawing, repr(input.to_json())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
