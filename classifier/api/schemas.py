"""What is asked and answered, for the OpenAPI document and for the tests that compare with it."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from ninja import Field, Schema
from pydantic import ConfigDict


class Strict(Schema):
    model_config = ConfigDict(extra="forbid")


LevelName = Literal["high", "medium", "low"]
Share = Field(ge=0, le=1)


class Probability(Strict):
    label: str
    name: str
    probability: float = Share


class Correction(Strict):
    label: str | None = Field(description="The label's key; null: none of the labels.")
    name: str | None


class Picture(Strict):
    filename: str
    media_type: str
    bytes: int
    width: int = Field(description="Pixels, upright.")
    height: int = Field(description="Pixels, upright.")
    sha256: str


class Timings(Strict):
    inference_ms: float = Field(description="In the network alone; in a batch the mean.")
    total_ms: float = Field(description="From the bytes to the answer; in a batch the mean.")


class PredictionLinks(Strict):
    prediction: str | None = Field(description="null where the caller may not follow it.")
    correction: str | None
    model: str
    version: str


class Prediction(Strict):
    id: UUID | None = Field(description="null where nothing was recorded (store=false).")
    model: str
    version: int
    label: str = Field(description="The key of the most probable label; it never changes.")
    name: str = Field(description="The label's display name, as it is now.")
    confidence: float = Field(ge=0, le=1, description="The probability of the label named.")
    level: LevelName
    level_precision: float | None = Field(
        description="How often answers of this level were right on the version's test pictures."
    )
    not_sure: bool | None = Field(
        description="Whether the confidence is below the version's threshold for saying so; "
        "null: it has none."
    )
    probabilities: list[Probability]
    correction: Correction | None
    picture: Picture
    timings: Timings
    created_at: datetime
    links: PredictionLinks


class PredictionPage(Strict):
    predictions: list[Prediction]
    next_cursor: str | None = Field(description="For `cursor`; null on the last page.")
    next: str | None = Field(description="The address of the next page.")


class ProblemItem(Strict):
    """What went wrong with one picture of a batch."""

    type: str
    title: str
    status: int
    detail: str
    code: str


class BatchResult(Strict):
    index: int
    filename: str
    prediction: Prediction | None
    problem: ProblemItem | None


class Batch(Strict):
    results: list[BatchResult] = Field(description="One for each picture, in the order sent.")


class CorrectionIn(Strict):
    label: str | None = Field(
        min_length=1,
        max_length=100,
        description="The key of what it shows; null: none of the labels.",
    )


class CorrectionOut(Strict):
    id: UUID
    prediction: UUID
    label: str | None
    confirms: bool = Field(description="Whether it says what the prediction said.")
    created_at: datetime


class MapRegion(Strict):
    """In pixels of the upright picture; larger than it where it was seen with a border."""

    left: float
    top: float
    width: float
    height: float


class PictureSize(Strict):
    width: int = Field(description="Pixels, upright.")
    height: int = Field(description="Pixels, upright.")


class Explanation(Strict):
    prediction: UUID
    model: str
    version: int
    label: str = Field(description="The key of the label that is explained.")
    name: str
    probability: float = Share
    method: Literal["grad-cam"] = Field(description="Selvaraju et al. 2017, of the logit.")
    rows: int = Field(ge=1)
    columns: int = Field(ge=1)
    map: list[list[float]] = Field(
        description="Row by row from the top, 0 to 1: where something spoke for the label. "
        "All 0 where nothing did."
    )
    region: MapRegion = Field(description="What of the picture the map covers.")
    picture: PictureSize


class Url(Strict):
    url: str = Field(min_length=1, max_length=2048)


class LabelOut(Strict):
    key: str
    name: str


class ModelLinks(Strict):
    model: str
    versions: str
    active_version: str | None


class Model(Strict):
    name: str
    title: str
    description: str
    is_default: bool
    active_version: int | None
    labels: list[LabelOut]
    links: ModelLinks


class Models(Strict):
    models: list[Model]


class InputSpec(Strict):
    height: int
    width: int
    channels: int
    resize: str
    interpolation: str
    decoder_version: int


class Metrics(Strict):
    """Measured on the test split; null where it was not."""

    accuracy: float | None
    ece: float | None
    loss: float | None
    images: float | None


class Thresholds(Strict):
    high: float
    medium: float


class MeasuredLevel(Strict):
    answers: int
    share: float
    precision: float | None
    interval: list[float] | None


class VersionLinks(Strict):
    version: str
    model: str


class Version(Strict):
    model: str
    number: int
    architecture: str
    is_active: bool
    is_archived: bool
    registered_at: datetime
    bundle_digest: str
    input: InputSpec
    labels: list[LabelOut] = Field(description="In the order of the network's outputs.")
    metrics: Metrics
    thresholds: dict[str, Thresholds]
    levels: dict[str, MeasuredLevel] | None
    not_sure: dict[str, Any] | None
    accepted: bool | None = Field(description="Whether it met its acceptance rule.")
    links: VersionLinks


class Versions(Strict):
    versions: list[Version]


class FrontBack(Strict):
    """As the first front/back service answered, and more."""

    class_: str = Field(alias="class", description="The key of the class named.")
    confidence: float = Field(ge=0, le=1, description="The probability of the class named.")
    name: str
    level: LevelName
    level_precision: float | None
    not_sure: bool | None
    probabilities: dict[str, float]
    model: str
    version: int
    id: UUID | None


class InvalidField(Strict):
    where: str
    message: str


class Problem(Schema):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str = Field(description="Stable; docs/reference/api-errors.md lists all.")
    errors: list[InvalidField] | None = None
