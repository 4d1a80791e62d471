"""A picture with all that is known of its label: what every format writes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

NONE_OF_THESE = "none of these"


@dataclass(frozen=True, slots=True)
class Said:
    """A correction: a label's key, or "" for none of these; who said so, and when."""

    label: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Labelled:
    """What a version said about a picture, and the correction that counts, if there is one.

    `picture` is the address it is shown at; `probabilities` are by label key, each from 0 to 1.
    """

    prediction: UUID
    upload: UUID
    file_name: str
    sha256: str
    media_type: str
    picture: str
    model: str
    version: int
    label: str
    confidence: float
    level: str
    probabilities: Mapping[str, float]
    classified_at: datetime
    correction: Said | None = None

    @property
    def is_none_of_these(self) -> bool:
        return self.correction is not None and not self.correction.label


def moment(at: datetime) -> str:
    """Write a time as ISO 8601 in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
