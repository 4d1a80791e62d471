"""What the API answers, as frozen dataclasses. A field that a newer server adds is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Label:
    key: str
    name: str


@dataclass(frozen=True)
class Probability:
    label: str
    name: str
    probability: float


@dataclass(frozen=True)
class Picture:
    """The picture as it was sent; width and height in pixels, upright."""

    filename: str
    media_type: str
    bytes: int
    width: int
    height: int
    sha256: str


@dataclass(frozen=True)
class Timings:
    inference_ms: float
    total_ms: float


@dataclass(frozen=True)
class Correction:
    """What somebody said instead; None: none of the labels."""

    label: str | None
    name: str | None


@dataclass(frozen=True)
class Prediction:
    """What a version said of a picture. `id` is None where nothing was recorded.

    `level_precision` is how often answers of this level were right when the version was measured,
    `not_sure` whether the version had better say nothing; None where nobody measured.
    """

    id: UUID | None
    model: str
    version: int
    label: str
    name: str
    confidence: float
    level: str
    level_precision: float | None
    not_sure: bool | None
    probabilities: tuple[Probability, ...]
    correction: Correction | None
    picture: Picture
    timings: Timings
    created_at: datetime

    @classmethod
    def from_json(cls, value: Json) -> Prediction:
        corrected = value["correction"]
        return cls(
            id=UUID(value["id"]) if value["id"] else None,
            model=value["model"],
            version=value["version"],
            label=value["label"],
            name=value["name"],
            confidence=value["confidence"],
            level=value["level"],
            level_precision=value["level_precision"],
            not_sure=value["not_sure"],
            probabilities=tuple(_of(Probability, each) for each in value["probabilities"]),
            correction=_of(Correction, corrected) if corrected else None,
            picture=_of(Picture, value["picture"]),
            timings=_of(Timings, value["timings"]),
            created_at=datetime.fromisoformat(value["created_at"]),
        )


@dataclass(frozen=True)
class CorrectionMade:
    id: UUID
    prediction: UUID
    label: str | None
    confirms: bool
    created_at: datetime

    @classmethod
    def from_json(cls, value: Json) -> CorrectionMade:
        return cls(
            id=UUID(value["id"]),
            prediction=UUID(value["prediction"]),
            label=value["label"],
            confirms=value["confirms"],
            created_at=datetime.fromisoformat(value["created_at"]),
        )


@dataclass(frozen=True)
class Model:
    """A registered model. `active_version` is None where nothing serves."""

    name: str
    title: str
    description: str
    is_default: bool
    active_version: int | None
    labels: tuple[Label, ...]

    @classmethod
    def from_json(cls, value: Json) -> Model:
        return cls(
            name=value["name"],
            title=value["title"],
            description=value["description"],
            is_default=value["is_default"],
            active_version=value["active_version"],
            labels=tuple(_of(Label, each) for each in value["labels"]),
        )


@dataclass(frozen=True)
class Metrics:
    """Measured on the test split: shares from 0 to 1, and of how many images."""

    accuracy: float | None
    ece: float | None
    loss: float | None
    images: float | None


@dataclass(frozen=True)
class Region:
    """In pixels of the upright picture; larger than it where it was seen with a border."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Explanation:
    """Grad-CAM: which places of the picture spoke for a label.

    `map` is rows of numbers, 0 to 1, over the `region` of a picture of `width` by `height` pixels.
    """

    prediction: UUID
    label: str
    name: str
    probability: float
    map: tuple[tuple[float, ...], ...]
    region: Region
    width: int
    height: int

    @classmethod
    def from_json(cls, value: Json) -> Explanation:
        return cls(
            prediction=UUID(value["prediction"]),
            label=value["label"],
            name=value["name"],
            probability=value["probability"],
            map=tuple(tuple(row) for row in value["map"]),
            region=_of(Region, value["region"]),
            width=value["picture"]["width"],
            height=value["picture"]["height"],
        )


@dataclass(frozen=True)
class MeasuredLevel:
    """What the answers of a confidence level were worth on the test split."""

    answers: int
    share: float
    precision: float | None
    interval: tuple[float, float] | None

    @classmethod
    def from_json(cls, value: Json) -> MeasuredLevel:
        interval = value["interval"]
        return cls(
            answers=value["answers"],
            share=value["share"],
            precision=value["precision"],
            interval=(interval[0], interval[1]) if interval else None,
        )


@dataclass(frozen=True)
class Version:
    """A model version: what it takes, its labels in the order of its outputs, how good it is."""

    model: str
    number: int
    architecture: str
    is_active: bool
    is_archived: bool
    registered_at: datetime
    bundle_digest: str
    input: Mapping[str, int | str]
    labels: tuple[Label, ...]
    metrics: Metrics
    levels: Mapping[str, MeasuredLevel]
    accepted: bool | None

    @classmethod
    def from_json(cls, value: Json) -> Version:
        levels = value["levels"] or {}
        return cls(
            model=value["model"],
            number=value["number"],
            architecture=value["architecture"],
            is_active=value["is_active"],
            is_archived=value["is_archived"],
            registered_at=datetime.fromisoformat(value["registered_at"]),
            bundle_digest=value["bundle_digest"],
            input=dict(value["input"]),
            labels=tuple(_of(Label, each) for each in value["labels"]),
            metrics=_of(Metrics, value["metrics"]),
            levels={name: MeasuredLevel.from_json(each) for name, each in levels.items()},
            accepted=value["accepted"],
        )


def _of[T](kind: type[T], value: Json) -> T:
    """Return a dataclass of the names that it knows."""
    names: Mapping[str, Any] = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return kind(**{name: value[name] for name in names})
