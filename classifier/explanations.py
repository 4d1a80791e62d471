"""The use case: why a version said what it said of a picture that is kept here."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from classifier import classification, explaining, imaging, serving, storage
from classifier.bundles import BundleError
from classifier.explaining import Region
from classifier.lineage import lineage_of
from classifier.manifest import Role
from classifier.models import ModelVersion, Prediction, Upload
from classifier.runtimes import RuntimeFault


class Refusal(StrEnum):
    """Why there is no explanation."""

    UNKNOWN_LABEL = "unknown_label"
    NOT_EXPLAINABLE = "not_explainable"
    VERSION_ARCHIVED = "version_archived"
    PICTURE_GONE = "picture_gone"


class Unexplained(Exception):
    """There is no explanation: `code` says why, `str()` is a sentence for a person."""

    def __init__(self, code: Refusal, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True)
class Explanation:
    """What spoke for a label, and where on the picture.

    Attributes:
        label: the key of the label explained.
        probability: what the prediction gave it, 0 to 1.
        heat: float32 (h, w), 0 to 1; all 0 where nothing spoke for the label.
        region: what of the upright picture the map covers, in its pixels.
        width, height: of the upright picture.
    """

    label: str
    probability: float
    heat: NDArray[np.float32]
    region: Region
    width: int
    height: int

    @property
    def is_empty(self) -> bool:
        """Whether nothing in the picture spoke for the label."""
        return not self.heat.any()

    def draw(self) -> bytes:
        """Return a transparent PNG of the map, to lay over the picture."""
        return explaining.draw(self.heat, self.region, self.width, self.height)


def label_keys(prediction: Prediction) -> tuple[str, ...]:
    """Return the keys of the labels that can be asked about."""
    return tuple(label["key"] for label in prediction.version.manifest["labels"])


def check(prediction: Prediction, label: str) -> None:
    """Raise Unexplained where that is known without the picture and without the network."""
    version = prediction.version
    if label not in label_keys(prediction):
        sentence = f"{version} has no label {label[:100]!r}. Choose one of its own."
        raise Unexplained(Refusal.UNKNOWN_LABEL, sentence)
    if not any(file["role"] == Role.EXPLAIN for file in version.manifest["files"]):
        raise Unexplained(Refusal.NOT_EXPLAINABLE, _unexplainable(version))
    if version.archived_at is not None:
        sentence = f"{version} is archived, and an archived version explains nothing."
        raise Unexplained(Refusal.VERSION_ARCHIVED, sentence)


def _unexplainable(version: ModelVersion) -> str:
    lineage = lineage_of(version.manifest)
    if lineage is None:
        return (
            f"{version} was made without what explains its answers. manage.py refresh_bundle "
            "makes another edition of it that has it."
        )
    made_of = "versions of which one" if lineage.is_ensemble else "a version that"
    return f"{version} was made of {made_of} has nothing that explains its answers."


def explain(prediction: Prediction, label: str) -> Explanation:
    """Return what spoke for a label, by the version that made the prediction.

    Raises Unexplained, serving.NoActiveVersion (the version cannot be loaded here),
    storage.StorageUnavailable, and imaging.Busy.
    """
    check(prediction, label)
    content = _content(prediction.upload)
    served = serving.of(prediction.version)
    index = label_keys(prediction).index(label)
    spec = served.bundle.manifest.input
    try:
        pixels, seen = imaging.load(
            content,
            spec,
            limits=_limits(prediction.upload),
            patience=classification.PATIENCE_SECONDS,
        )
    except imaging.Busy:
        raise
    except imaging.ImageError as error:
        raise Unexplained(Refusal.PICTURE_GONE, str(error)) from error
    try:
        heat = served.explain(pixels, index)
    except (RuntimeFault, BundleError, ValueError) as error:
        raise Unexplained(Refusal.NOT_EXPLAINABLE, str(error)) from error
    region = explaining.region_of(spec, seen.width, seen.height)
    probability = float(prediction.probabilities[index])
    return Explanation(label, probability, heat, region, seen.width, seen.height)


def _content(upload: Upload) -> bytes:
    try:
        with storage.open_upload(upload) as file:
            content: bytes = file.read()
    except storage.PictureMissing as error:
        sentence = "The picture is no longer here, so nothing can be shown of it."
        raise Unexplained(Refusal.PICTURE_GONE, sentence) from error
    return content


def _limits(upload: Upload) -> imaging.Limits:
    # It was accepted once: a limit that was lowered since must not take it from its owner.
    return imaging.Limits(upload.bytes + 1, upload.width * upload.height + 1)
