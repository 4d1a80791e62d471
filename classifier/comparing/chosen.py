"""Which versions are compared, and why some are not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from classifier.models import ModelVersion

FEWEST, MOST = 2, 4
_NAME = re.compile(r"([a-z0-9_-]{1,64}):v?([0-9]{1,9})\Z")


class ComparisonRefused(Exception):
    """These cannot be compared; `code` says why, `str()` is a sentence for a person.

    Codes: not_found, how_many, two_models, name_invalid, name_taken, no_pictures, other_model.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def name_of(version: ModelVersion) -> str:
    """Return what a version is called in addresses and on the command line: `cifar10:2`."""
    return f"{version.model.name}:{version.number}"


def find(names: Sequence[str]) -> tuple[ModelVersion, ...]:
    """Return the versions called that, checked and in order. Raises ComparisonRefused."""
    return check(map(_named, dict.fromkeys(names)))


def check(versions: Iterable[ModelVersion]) -> tuple[ModelVersion, ...]:
    """Return them in the order in which they are compared: what serves first, then by number.

    Raises ComparisonRefused unless they are two to four of one model.
    """
    different = {version.pk: version for version in versions}.values()
    models = sorted({str(version.model) for version in different})
    if len(models) > 1:
        raise ComparisonRefused(
            "two_models",
            "Expected versions of one model: others answer other questions. Received: versions of "
            + " and ".join(models),
        )
    if not FEWEST <= len(different) <= MOST:
        received = ", ".join(f"v{version.number}" for version in different) or "none"
        raise ComparisonRefused(
            "how_many", f"Expected two to four versions to compare. Received: {received}"
        )
    return tuple(sorted(different, key=lambda each: (not each.is_active, each.number)))


def _named(name: str) -> ModelVersion:
    if match := _NAME.match(name):
        versions = ModelVersion.objects.select_related("model")
        found = versions.filter(model__name=match[1], number=int(match[2])).first()
        if found is not None:
            return found
    raise ComparisonRefused(
        "not_found", f"Expected versions that there are, such as cifar10:2. Received: {name:.80}"
    )
