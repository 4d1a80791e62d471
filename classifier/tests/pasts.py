"""Things that people did before a test begins, written straight into the tables."""

from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from classifier.models import ModelVersion, Prediction, Upload
from classifier.tests.bundles import picture

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def make_prediction(
    version: ModelVersion,
    *,
    owner: "User | None" = None,
    visitor: UUID | None = None,
    label: str = "red",
    level: str = "medium",
    confidence: float = 0.75,
    filename: str = "red.png",
    content: bytes | None = None,
    media_type: str = "image/png",
    sha256: str = "1" * 64,
) -> Prediction:
    """Record that somebody sent a picture and that `version` called it `label`."""
    content = picture() if content is None else content
    upload = Upload.objects.create(
        owner=owner,
        visitor=visitor,
        filename=filename,
        media_type=media_type,
        bytes=len(content),
        width=48,
        height=40,
        original_sha256=sha256,
        stored_sha256=uuid4().hex * 2,
        storage_key=default_storage.save(f"uploads/{uuid4().hex}", ContentFile(content)),
    )
    return Prediction.objects.create(
        upload=upload,
        version=version,
        label=label,
        confidence=confidence,
        probabilities=[0.75, 0.2, 0.05],
        level=level,
        inference_ms=1.25,
        total_ms=12.5,
    )
