"""Of which versions a version was made: named where they are registered, with their own figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from classifier.admin import sheets
from classifier.comparing import manifests
from classifier.lineage import Cost, Lineage, Made, Parent, lineage_of
from classifier.models import ModelVersion

COLUMNS = ("Test accuracy", "Test images", "One image", "Size as served")
WORDS = {
    Made.INT8: "Quantised to int8: its weights are whole numbers of eight bits.",
    Made.FLOAT16: "Its weights are kept as float16, in half the space.",
}


@dataclass(frozen=True)
class Origin:
    """A version in a row: its name, its page's key where it is registered, its figures."""

    name: str
    pk: UUID | None
    cells: tuple[str, ...]


@dataclass(frozen=True)
class MadeOf:
    """Sentences on how a version was made, and the versions before it above the version itself."""

    sentences: tuple[str, ...]
    columns: tuple[str, ...]
    origins: tuple[Origin, ...]
    itself: Origin
    differ: bool  # whether their accuracies are of different numbers of test images


def made_of(version: ModelVersion) -> MadeOf | None:
    """Return of which versions this one was made; None for one that was trained."""
    lineage = lineage_of(version.manifest)
    if lineage is None:
        return None
    registered = _registered(lineage.of, version)
    weighted = lineage.is_ensemble
    known = [version, *registered.values()]
    return MadeOf(
        _sentences(lineage),
        ("Architecture", *(("Weight",) if weighted else ()), *COLUMNS),
        tuple(_origin(each, registered.get(each.digest), weighted=weighted) for each in lineage.of),
        Origin(
            f"{version}, this one",
            None,
            (version.network, *(("",) if weighted else ()), *_figures(version.manifest)),
        ),
        differ=len({each.test_images for each in known} - {None}) > 1,
    )


def _registered(parents: Iterable[Parent], version: ModelVersion) -> Mapping[str, ModelVersion]:
    """Return the versions by their bundles' digests; of the same model where it has them."""
    digests = {parent.digest for parent in parents}
    found = ModelVersion.objects.filter(bundle_digest__in=digests).select_related("model")
    ordered = sorted(found, key=lambda each: each.model_id == version.model_id)
    return {each.bundle_digest: each for each in ordered}


def _origin(parent: Parent, known: ModelVersion | None, *, weighted: bool) -> Origin:
    weight = (f"{parent.weight:.3g}",) if weighted else ()
    if known is None:
        unknown = (sheets.UNKNOWN,) * len(COLUMNS)
        name = f"{parent.model}, not registered here: bundle {parent.digest[:12]}"
        return Origin(name, None, (parent.architecture, *weight, *unknown))
    return Origin(str(known), known.pk, (known.network, *weight, *_figures(known.manifest)))


def _figures(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    tested = manifest.get("metrics", {}).get("test", {})
    time, size = manifests.milliseconds(manifest), manifests.served_bytes(manifest)
    return (
        sheets.number("accuracy", tested.get("accuracy")),
        sheets.number("images", tested.get("images")),
        sheets.UNKNOWN if time is None else f"{time:.1f} ms",
        sheets.UNKNOWN if size is None else f"{size / 1e6:.1f} MB",
    )


def _sentences(lineage: Lineage) -> tuple[str, ...]:
    if lineage.is_ensemble:
        count = len(lineage.of)
        return (f"An ensemble: it answers with the average of the {lineage.mean} of {count}.",)
    cost = () if lineage.cost is None else (_cost(lineage.cost),)
    return (WORDS[lineage.made], *cost)


def _cost(cost: Cost) -> str:
    return (
        f"Of the same {cost.images:,} test images the version before had "
        f"{cost.right_before:,} right, this one {cost.right_after:,}."
    )
