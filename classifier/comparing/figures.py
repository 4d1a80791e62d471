"""What a version got right, by whatever it was measured; and how two of them differ.

Shares are 0 to 1 everywhere, the loss is in nats. No pictures, no database, no manifests here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log

from classifier import significance
from classifier.measured import LEVELS
from classifier.significance import Interval

BINS = 15
SURE_OF_NOTHING = 1e-12  # a probability of 0 would make the loss infinite


@dataclass(frozen=True)
class Share:
    """`right` of `count`."""

    right: int
    count: int

    @property
    def value(self) -> float | None:
        return self.right / self.count if self.count else None

    @property
    def interval(self) -> Interval:
        """The 95 % interval (Wilson)."""
        return significance.wilson(self.right, self.count)


@dataclass(frozen=True)
class Bin:
    """Answers of about the same confidence: how many, how sure on average, how often right."""

    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class ClassFigures:
    """Of one label: `images` show it, `answers` say so, `right` do both."""

    images: int
    answers: int
    right: int

    @property
    def recall(self) -> Share:
        return Share(self.right, self.images)

    @property
    def precision(self) -> Share:
        return Share(self.right, self.answers)

    @property
    def f1(self) -> float | None:
        both = self.images + self.answers
        return 2 * self.right / both if both else None


@dataclass(frozen=True)
class Unsure:
    """What the *not sure* threshold leaves: `answered` of all, and how many of those are right."""

    answered: Share
    precision: float | None

    @property
    def unanswered(self) -> float | None:
        share = self.answered.value
        return None if share is None else 1 - share


@dataclass(frozen=True)
class Measured:
    """What was measured of a version on some pictures; None where nobody measured.

    Attributes:
        levels: per confidence level the share of its answers that is right, over its answers.
        classes: by label key.
    """

    accuracy: Share
    loss: float | None = None
    ece: float | None = None
    top3: float | None = None
    bins: tuple[Bin, ...] = ()
    levels: Mapping[str, Share] = field(default_factory=dict)
    unsure: Unsure | None = None
    classes: Mapping[str, ClassFigures] = field(default_factory=dict)

    @property
    def images(self) -> int:
        return self.accuracy.count

    @property
    def macro_f1(self) -> float | None:
        """The mean F1 of the labels that pictures show: each counts alike."""
        shown = [each.f1 for each in self.classes.values() if each.images]
        found = [f1 for f1 in shown if f1 is not None]
        return sum(found) / len(found) if found else None


@dataclass(frozen=True)
class Change:
    """A share of the second version less that of the first; None where there is none of either.

    Attributes:
        interval: of that difference, where the test that was made gives one.
        beyond_chance: whether the test says so; never without one.
    """

    value: float | None = None
    interval: Interval | None = None
    beyond_chance: bool = False


def change(first: Share, second: Share, level: float = significance.LEVEL) -> Change:
    """Return how a share changed, as if both were of different pictures: a cautious interval."""
    if not (first.count and second.count):
        return Change()
    pairs = (first.right, first.count), (second.right, second.count)
    value, (low, high) = significance.difference(*pairs, level)
    return Change(value, (low, high), beyond_chance=not low <= 0 <= high)


@dataclass(frozen=True)
class Said:
    """What a version said of a picture: `of_truth` is the probability of what it shows."""

    label: str
    confidence: float
    of_truth: float
    level: str


def measure(
    said: Sequence[tuple[str, Said]], keys: Iterable[str], threshold: float | None
) -> Measured:
    """Return what (truth, answer) pairs amount to; `threshold` is the version's *not sure*."""
    right = [answer.label == truth for truth, answer in said]
    bins = bins_of([(answer.confidence, hit) for (_, answer), hit in zip(said, right, strict=True)])
    losses = [-log(max(answer.of_truth, SURE_OF_NOTHING)) for _, answer in said]
    return Measured(
        accuracy=Share(sum(right), len(said)),
        loss=sum(losses) / len(losses) if losses else None,
        ece=ece(bins) if bins else None,
        bins=bins,
        levels={level: _of_level(said, level) for level in LEVELS},
        unsure=None if threshold is None else _unsure(said, threshold),
        classes=_classes(said, keys),
    )


def bins_of(answers: Iterable[tuple[float, bool]]) -> tuple[Bin, ...]:
    """Return (confidence, right) in bins of equal width, the empty ones left out."""
    filled: dict[int, list[tuple[float, bool]]] = {}
    for confidence, right in answers:
        filled.setdefault(min(int(confidence * BINS), BINS - 1), []).append((confidence, right))
    return tuple(
        Bin(
            images=len(here),
            confidence=sum(confidence for confidence, _ in here) / len(here),
            accuracy=sum(right for _, right in here) / len(here),
        )
        for _, here in sorted(filled.items())
    )


def ece(bins: Sequence[Bin]) -> float:
    """Return the mean gap between confidence and accuracy, by images (Guo et al. 2017, eq. 3)."""
    images = sum(each.images for each in bins)
    return sum(abs(each.accuracy - each.confidence) * each.images for each in bins) / images


def _of_level(said: Sequence[tuple[str, Said]], level: str) -> Share:
    here = [answer.label == truth for truth, answer in said if answer.level == level]
    return Share(sum(here), len(here))


def _classes(said: Sequence[tuple[str, Said]], keys: Iterable[str]) -> dict[str, ClassFigures]:
    images = Counter(truth for truth, _ in said)
    answers = Counter(answer.label for _, answer in said)
    right = Counter(truth for truth, answer in said if answer.label == truth)
    return {key: ClassFigures(images[key], answers[key], right[key]) for key in keys}


def _unsure(said: Sequence[tuple[str, Said]], threshold: float) -> Unsure:
    sure = [a.label == truth for truth, a in said if a.confidence >= threshold]
    return Unsure(Share(len(sure), len(said)), sum(sure) / len(sure) if sure else None)
