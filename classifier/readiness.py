"""Whether this process can do its work now: database, storage, the versions that shall serve.

Asked every second by whoever sends requests here; what is wrong is said without names, paths or
messages of others, which stand in the log.
"""

import logging
import tempfile
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError

from classifier import serving
from classifier.models import RegisteredModel

logger = logging.getLogger(__name__)


def problems() -> dict[str, str]:
    """Return what is wrong with each part, in a sentence; empty where nothing is.

    A version that is not loaded yet is loaded, so that who waits for this waits for no request.
    """
    try:
        models = list(RegisteredModel.objects.exclude(active_version=None))
        database, versions = "", _versions(models)
    except DatabaseError:
        logger.warning("Not ready: the database does not answer.", exc_info=True)
        database, versions = "The database does not answer.", "Not known without the database."
    return {"database": database, "storage": _storage(), "models": versions}


def _versions(models: list[RegisteredModel]) -> str:
    failing = sum(not _serves(model) for model in models)
    if not failing:
        return ""
    return f"{failing} of {len(models)} models cannot answer; the admin's first page says why."


def _serves(model: RegisteredModel) -> bool:
    try:
        serving.active(model)
    except serving.NoActiveVersion as exc:
        logger.warning("Not ready: %s", exc)
        return False
    return True


def _storage() -> str:
    """Write where pictures are written to: a look at permissions misses full and broken disks."""
    folder = Path(settings.MEDIA_ROOT)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(b"ready")
    except OSError:
        logger.warning("Not ready: pictures cannot be kept.", exc_info=True)
        return "Pictures cannot be kept."
    return ""
