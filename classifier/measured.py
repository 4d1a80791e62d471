"""What a manifest promises of a version: levels, the *not sure* threshold, and its acceptance.

All of it was measured before the bundle was written; nothing here computes from pictures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from classifier import strict

LEVELS = ("high", "medium", "low")
# One wrong answer among fewer than these already misses 99 %, none proves little.
FEWEST_ANSWERS = 100
MOST_IMAGES = 10**12
MOST_FAILURES = 100_000
# The checks of an acceptance rule, as people read them.
CHECKS = {
    "precision": "precision",
    "recall": "recall",
    "ece": "calibration error",
    "accuracy": "accuracy",
    "high": "precision at high confidence",
}
_CEILINGS = frozenset({"ece"})  # of the checks; the others are floors


@dataclass(frozen=True)
class MeasuredLevel:
    """What the answers of one confidence level were worth on the test split.

    Attributes:
        answers: how many images were answered at this level; `share` of all, 0 to 1.
        precision: the share of those that is right, with its 95 % interval; None: no answers.
    """

    answers: int
    share: float
    precision: float | None
    interval: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        interval = None if self.interval is None else list(self.interval)
        return dataclasses.asdict(self) | {"interval": interval}

    @classmethod
    def from_json(cls, value: object, where: str) -> MeasuredLevel:
        item = strict.exactly(value, where, ("answers", "share", "precision", "interval"))
        precision, interval = item["precision"], item["interval"]
        if precision is not None:
            precision = strict.number(precision, f"{where}, precision,", 0, 1)
            interval = strict.items(interval, f"{where}, interval,", 2, 2)
            low = strict.number(interval[0], f"{where}, interval,", 0, 1)
            interval = (low, strict.number(interval[1], f"{where}, interval,", low, 1))
        elif interval is not None:
            raise strict.invalid(f"{where}, interval,", "null where no precision is", interval)
        answers = strict.integer(item["answers"], f"{where}, answers,", 0, MOST_IMAGES)
        share = strict.number(item["share"], f"{where}, share,", 0, 1)
        return cls(answers, share, precision, interval)


def levels_from_json(value: object, where: str) -> Mapping[str, MeasuredLevel]:
    """Return what was measured by level: of all three, or of none."""
    levels = strict.exactly(value, where, LEVELS) if value else strict.mapping(value, where)
    return {
        level: MeasuredLevel.from_json(levels[level], f"{where} of {level!r}")
        for level in LEVELS
        if level in levels
    }


@dataclass(frozen=True)
class Answered:
    """What a *not sure* threshold leaves of a split.

    `unanswered` is the share of the `images` below it; `precision` that of the answers left,
    None if there are none.
    """

    images: int
    unanswered: float
    precision: float | None

    @classmethod
    def from_json(cls, value: object, where: str) -> Answered:
        item = strict.exactly(value, where, ("images", "unanswered", "precision"))
        precision = item["precision"]
        if precision is not None:
            precision = strict.number(precision, f"{where}, precision,", 0, 1)
        return cls(
            images=strict.integer(item["images"], f"{where}, images,", 0, MOST_IMAGES),
            unanswered=strict.number(item["unanswered"], f"{where}, unanswered,", 0, 1),
            precision=precision,
        )


class Search(StrEnum):
    """How the search for a *not sure* threshold ended."""

    CHOSEN = "chosen"
    UNREACHABLE = "unreachable"  # no threshold gave the goal on validation
    TOO_FEW = "too_few"  # validation images to tell


@dataclass(frozen=True)
class NotSure:
    """The probability under which a version had better say *not sure*.

    Attributes:
        goal: the precision that answers at or above the threshold were to have on validation.
        threshold: None unless the search ended as `chosen`; then there is nothing to apply.
        validation, test: what it leaves of either split; None where there is no threshold.
    """

    goal: float
    search: Search
    threshold: float | None = None
    validation: Answered | None = None
    test: Answered | None = None

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"search": self.search.value}

    @classmethod
    def from_json(cls, value: object, where: str) -> NotSure | None:
        if value is None:
            return None
        item = strict.exactly(value, where, [field.name for field in dataclasses.fields(cls)])
        goal = strict.number(item["goal"], f"{where}, goal,", 0, 1)
        search = _search(item["search"], f"{where}, search,")
        rest = {name: item[name] for name in ("threshold", "validation", "test")}
        if search is not Search.CHOSEN:
            if any(value is not None for value in rest.values()):
                raise strict.invalid(where, "without a threshold unless one was chosen", rest)
            return cls(goal, search)
        return cls(
            goal,
            search,
            threshold=strict.number(rest["threshold"], f"{where}, threshold,", 0, 1),
            validation=Answered.from_json(rest["validation"], f"{where}, validation,"),
            test=Answered.from_json(rest["test"], f"{where}, test,"),
        )


def _search(value: object, where: str) -> Search:
    if not isinstance(value, str) or value not in set(Search):
        raise strict.invalid(where, f"one of {', '.join(Search)}", value)
    return Search(value)


@dataclass(frozen=True)
class Failure:
    """One check that a version did not pass.

    `label` is None for what holds of all labels; `value` is None where nothing was measured.
    """

    check: str
    label: str | None
    value: float | None
    limit: float

    def __str__(self) -> str:
        of_label = f" of {self.label}" if self.label else ""
        value = "not measured" if self.value is None else f"{self.value:.1%}"
        bound = "at most" if self.check in _CEILINGS else "at least"
        return f"{CHECKS[self.check]}{of_label}: {value}, {bound} {self.limit:.1%}"

    @classmethod
    def from_json(cls, value: object) -> Failure:
        where = "a failure of the acceptance rule"
        item = strict.exactly(value, where, ("check", "label", "value", "limit"))
        if item["check"] not in list(CHECKS):
            raise strict.invalid(f"{where}, check,", f"one of {', '.join(CHECKS)}", item["check"])
        label, measured = item["label"], item["value"]
        return cls(
            check=item["check"],
            label=None if label is None else strict.text(label, f"{where}, label,", 100),
            value=None if measured is None else strict.number(measured, f"{where}, value,", 0, 1),
            limit=strict.number(item["limit"], f"{where}, limit,", 0, 1),
        )


@dataclass(frozen=True)
class AcceptanceRule:
    """What a version must reach on test images before one should let it serve; all 0 to 1.

    Attributes:
        precision, recall: of every label, at least.
        ece: the expected calibration error, at most.
        accuracy: over all images, at least.
        high: the precision of answers at the confidence level *high*, at least.
    """

    precision: float = 0.70
    recall: float = 0.70
    ece: float = 0.05
    accuracy: float = 0.0
    high: float = 0.0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ValueError(f"Expected {name} from 0 to 1. Received: {value!r}")

    def changed(self, changes: Mapping[str, str]) -> AcceptanceRule:
        """Return a copy with values parsed from text; ValueError for what the rule has not."""
        known = [field.name for field in dataclasses.fields(self)]
        for name, text in changes.items():
            if name not in known:
                raise ValueError(f"Expected one of {', '.join(known)}. Received: {name}")
            if not _is_number(text):
                raise ValueError(f"Expected {name} as a number from 0 to 1. Received: {text!r}")
        return dataclasses.replace(self, **{name: float(text) for name, text in changes.items()})

    def judge(self, metrics: Mapping[str, Any]) -> Acceptance:
        """Return how the metrics of a split, as they stand in a manifest, compare with the rule."""
        return Acceptance(self, tuple(self._failures(metrics)))

    def _failures(self, metrics: Mapping[str, Any]) -> Iterator[Failure]:
        for label, figures in metrics.get("per_class", {}).items():
            for check in ("precision", "recall"):
                yield from self._failing(check, figures.get(check), label)
        if not metrics.get("per_class"):
            yield Failure("recall", None, None, self.recall)
        yield from self._failing("ece", metrics.get("ece"))
        yield from self._failing("accuracy", metrics.get("accuracy"))
        high = metrics.get("levels", {}).get("high", {})
        if high.get("share") != 0:  # a level without answers is never wrong
            yield from self._failing("high", high.get("precision"))

    def _failing(
        self, check: str, value: float | None, label: str | None = None
    ) -> Iterator[Failure]:
        limit = getattr(self, check)
        ceiling = check in _CEILINGS
        if limit == (1.0 if ceiling else 0.0):
            return
        if value is None or (value > limit if ceiling else value < limit):
            yield Failure(check, label, value, limit)

    def to_json(self) -> dict[str, float]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: object, where: str) -> AcceptanceRule:
        names = [field.name for field in dataclasses.fields(cls)]
        item = strict.exactly(value, where, names)
        return cls(**{name: strict.number(item[name], f"{where}, {name},", 0, 1) for name in names})


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Acceptance:
    """A rule, and where a version fell short of it on the test split."""

    rule: AcceptanceRule
    failures: tuple[Failure, ...] = ()

    @property
    def accepted(self) -> bool:
        return not self.failures

    def to_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule.to_json(),
            "accepted": self.accepted,
            "failures": [dataclasses.asdict(failure) for failure in self.failures],
        }

    @classmethod
    def from_json(cls, value: object, where: str) -> Acceptance | None:
        if value is None:
            return None
        item = strict.exactly(value, where, ("rule", "accepted", "failures"))
        found = strict.items(item["failures"], f"{where}, failures,", 0, MOST_FAILURES)
        acceptance = cls(
            AcceptanceRule.from_json(item["rule"], f"{where}, rule,"),
            tuple(Failure.from_json(failure) for failure in found),
        )
        if item["accepted"] is not acceptance.accepted:
            expected = f"{str(acceptance.accepted).lower()}, as its failures say"
            raise strict.invalid(f"{where}, accepted,", expected, item["accepted"])
        return acceptance
