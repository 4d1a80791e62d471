"""What versions said of a golden set: how often each was right, and whether that is chance."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import combinations
from uuid import UUID

from classifier import significance
from classifier.comparing import figures, manifests
from classifier.comparing.figures import Measured, Said
from classifier.models import GoldenAnswer, GoldenSet, ModelVersion

PAGE_SIZE = 24


@dataclass(frozen=True)
class Pictured:
    """A picture that all of the versions answered; `said` is in their order."""

    id: int
    upload_id: UUID | None
    truth: str
    confirmed: bool
    said_at: datetime
    said: tuple[Said, ...]

    @property
    def right(self) -> tuple[bool, ...]:
        return tuple(answer.label == self.truth for answer in self.said)

    @property
    def disagreed(self) -> bool:
        return len({answer.label for answer in self.said}) > 1


@dataclass(frozen=True)
class Pair:
    """Two versions on the same pictures; `p_value` is McNemar's, corrected for several pairs.

    `only_first` counts pictures that the first alone has right, `only_second` the second.
    """

    first: ModelVersion
    second: ModelVersion
    only_first: int
    only_second: int
    p_value: float

    @property
    def beyond_chance(self) -> bool:
        return self.p_value < significance.LEVEL

    @property
    def second_is_better(self) -> bool:
        return self.only_second > self.only_first


@dataclass(frozen=True)
class ClassChange:
    """A label's pictures that one of two versions alone has right; corrected for all labels."""

    key: str
    images: int
    only_first: int
    only_second: int
    p_value: float

    @property
    def beyond_chance(self) -> bool:
        return self.p_value < significance.LEVEL

    @property
    def points(self) -> float:
        """The change of the recall."""
        return (self.only_second - self.only_first) / self.images if self.images else 0.0


class Show(StrEnum):
    """Which pictures of a comparison one looks at."""

    DIFFERENT = "different"  # not all versions say the same
    WORSE = "worse"  # the first is right, one of the others is not
    BETTER = "better"  # the first is wrong, one of the others is not
    WRONG = "wrong"  # none is right
    ALL = "all"


@dataclass(frozen=True)
class Page:
    """Some of the pictures asked for, and the key after which more of them come, if any."""

    pictures: tuple[Pictured, ...]
    found: int
    after: int | None


@dataclass(frozen=True)
class Results:
    """What the versions said; the first is the one that the others are compared with.

    Attributes:
        pictures: those that all versions answered: only these are counted, for each alike.
        failed: pictures that some version could not answer, by error code.
        measured: of each version, in their order.
        pairs: every pair of versions.
    """

    versions: tuple[ModelVersion, ...]
    keys: tuple[str, ...]
    pictures: tuple[Pictured, ...]
    failed: Mapping[str, int]
    measured: tuple[Measured, ...]
    pairs: tuple[Pair, ...]

    def pair(self, second: ModelVersion) -> Pair:
        """Return the pair of the first version and this one."""
        return next(p for p in self.pairs if (p.first, p.second) == (self.versions[0], second))

    def class_changes(self, second: int) -> tuple[ClassChange, ...]:
        """Return what changed by label between the first version and the one at this place."""
        only_first, only_second = Counter[str](), Counter[str]()
        for picture in self.pictures:
            right = picture.right
            only_first[picture.truth] += right[0] and not right[second]
            only_second[picture.truth] += right[second] and not right[0]
        keys = [key for key in self.keys if self.measured[0].classes[key].images]
        p_values = significance.holm(
            [significance.mcnemar(only_first[key], only_second[key]) for key in keys]
        )
        return tuple(
            ClassChange(
                key, self.measured[0].classes[key].images, only_first[key], only_second[key], p
            )
            for key, p in zip(keys, p_values, strict=True)
        )

    def confusions(self, version: int) -> list[tuple[str, str, int]]:
        """Return (truth, answer, pictures) of what this version got wrong, the most first."""
        wrong = Counter(
            (picture.truth, picture.said[version].label)
            for picture in self.pictures
            if not picture.right[version]
        )
        return [(truth, answer, count) for (truth, answer), count in wrong.most_common()]

    def page(self, show: Show, label: str = "", after: int = 0, size: int = PAGE_SIZE) -> Page:
        """Return the pictures asked for with a key above `after`; `label` is what they show."""
        found = [
            picture
            for picture in self.pictures
            if _is_shown(picture, show) and label in ("", picture.truth)
        ]
        rest = [picture for picture in found if picture.id > after]
        more = rest[size - 1].id if len(rest) > size else None
        return Page(tuple(rest[:size]), len(found), more)


def of(golden_set: GoldenSet, versions: Sequence[ModelVersion]) -> Results:
    """Return what the versions have said of the set until now."""
    said, failed = _said(golden_set, versions)
    rows = golden_set.pictures.order_by("pk").values_list(
        "pk", "upload_id", "label", "confirmed", "said_at"
    )
    pictures = tuple(
        Pictured(*row, tuple(said[row[0]][version.pk] for version in versions))
        for row in rows
        if len(said[row[0]]) == len(versions)
    )
    keys = tuple(label["key"] for label in versions[0].manifest["labels"])
    return Results(
        versions=tuple(versions),
        keys=keys,
        pictures=pictures,
        failed=failed,
        measured=tuple(
            figures.measure(
                [(picture.truth, picture.said[index]) for picture in pictures],
                keys,
                manifests.threshold(version.manifest),
            )
            for index, version in enumerate(versions)
        ),
        pairs=_pairs(versions, [picture.right for picture in pictures]),
    )


def _said(
    golden_set: GoldenSet, versions: Sequence[ModelVersion]
) -> tuple[dict[int, dict[UUID, Said]], dict[str, int]]:
    """Return answers by picture and version, and how many pictures failed, by error code."""
    said: dict[int, dict[UUID, Said]] = defaultdict(dict)
    failed: dict[int, str] = {}
    rows = GoldenAnswer.objects.filter(picture__golden_set=golden_set, version__in=versions)
    for picture, version, error, label, confidence, of_truth, level in rows.values_list(
        "picture_id", "version_id", "error_code", "label", "confidence", "of_truth", "level"
    ):
        if error:
            failed[picture] = error
        elif confidence is not None and of_truth is not None:
            said[picture][version] = Said(label, confidence, of_truth, level)
    return said, dict(Counter(failed.values()))


def _pairs(versions: Sequence[ModelVersion], right: Iterable[tuple[bool, ...]]) -> tuple[Pair, ...]:
    places = list(combinations(range(len(versions)), 2))
    only_first, only_second = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
    for hits in right:
        for first, second in places:
            only_first[first, second] += hits[first] and not hits[second]
            only_second[first, second] += hits[second] and not hits[first]
    p_values = significance.holm(
        [significance.mcnemar(only_first[place], only_second[place]) for place in places]
    )
    return tuple(
        Pair(versions[place[0]], versions[place[1]], only_first[place], only_second[place], p)
        for place, p in zip(places, p_values, strict=True)
    )


def _is_shown(picture: Pictured, show: Show) -> bool:
    first, *others = picture.right
    match show:
        case Show.DIFFERENT:
            return picture.disagreed
        case Show.WORSE:
            return first and not all(others)
        case Show.BETTER:
            return not first and any(others)
        case Show.WRONG:
            return not any(picture.right)
        case Show.ALL:
            return True
