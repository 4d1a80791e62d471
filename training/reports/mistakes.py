"""The worst mistakes as pictures, for pages that stay on this machine."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from training.datasets.dataset import Images, Split
from training.evaluation import Evaluation

_LARGEST_SIDE = 160  # pixels; larger pictures are shrunk
_LOSSLESS_SIDE = 64


@dataclass(frozen=True)
class Mistake:
    """A picture that was answered wrongly; `picture` is a data URL."""

    picture: str
    name: str
    truth: str
    answer: str
    confidence: float


def worst(evaluation: Evaluation, split: Split, count: int = 24) -> list[Mistake]:
    """Return the wrong answers of highest confidence, the surest first."""
    confidence = evaluation.probabilities.max(axis=1)
    wrong = np.flatnonzero(evaluation.answers != evaluation.labels)
    chosen = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
    keys, answers = evaluation.keys, evaluation.answers
    return [
        Mistake(
            picture=picture,
            name=split.names[index] if split.names else f"image {index}",
            truth=keys[evaluation.labels[index]],
            answer=keys[answers[index]],
            confidence=float(confidence[index]),
        )
        for picture, index in zip(pictures(split, chosen), chosen, strict=True)
    ]


def pictures(split: Split, indices: Sequence[int] | npt.NDArray[np.integer]) -> list[str]:
    """Return pictures of a split as data URLs small enough for a page."""
    if not len(indices):
        return []
    return [_data_url(image) for image in split.images[np.asarray(indices, dtype=np.int64)]]


def _data_url(pixels: Images) -> str:
    image = Image.fromarray(pixels)
    lossless = max(image.size) <= _LOSSLESS_SIDE
    image.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
    file = io.BytesIO()
    image.save(file, "PNG" if lossless else "JPEG")
    kind = "png" if lossless else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
