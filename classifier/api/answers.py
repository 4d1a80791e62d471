"""Rows as the JSON of an answer. Plain dictionaries: `schemas` say what is in them, tests compare.

Nothing is validated on the way out, and nothing is read again that a request has just written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.http import HttpResponse
from django.urls import get_script_prefix

from classifier.api import catalogue
from classifier.api.catalogue import Facts
from classifier.explanations import Explanation
from classifier.models import ModelVersion, Prediction, RegisteredModel, Upload

JSON = "application/json"
# Beside the figures that programs ask for stand others, by class and by corruption: long tables.
FIGURES = ("accuracy", "ece", "loss", "images")


def respond(content: Mapping[str, Any], *, status: int = 200, location: str = "") -> HttpResponse:
    """Return the answer; nobody but the caller may keep it (see ApiMiddleware)."""
    headers = {"Location": location} if location else None
    return HttpResponse(json.dumps(content), content_type=JSON, status=status, headers=headers)


def address(*parts: object) -> str:
    """Return the address of something in the API, without scheme and host."""
    return f"{get_script_prefix()}api/v1/{'/'.join(map(str, parts))}"


def prediction(
    row: Prediction, facts: Facts, names: Mapping[str, str], *, top: int, mine: bool
) -> dict[str, Any]:
    """Return what an answer says of a prediction.

    `top` is how many probabilities to tell, the highest first. It has an id if it was recorded,
    and links to it if the caller may follow them: if it is `mine`.
    """
    recorded = not row._state.adding
    threshold = facts.not_sure_below
    corrected_to: str | None = getattr(row, "corrected_to", None)
    return {
        "id": str(row.id) if recorded else None,
        "model": facts.model,
        "version": facts.number,
        "label": row.label,
        "name": names.get(row.label, row.label),
        "confidence": row.confidence,
        "level": row.level,
        "level_precision": facts.precisions.get(row.level),
        "not_sure": None if threshold is None else row.confidence < threshold,
        "probabilities": ranked(row, facts, names, top) if top else [],
        "correction": None if corrected_to is None else _correction(corrected_to, names),
        "picture": _picture(row.upload),
        "timings": {
            "inference_ms": round(row.inference_ms, 3),
            "total_ms": round(row.total_ms, 3),
        },
        "created_at": moment(row.created_at),
        "links": _links(row, facts, mine=mine and recorded),
    }


def ranked(
    row: Prediction, facts: Facts, names: Mapping[str, str], top: int
) -> list[dict[str, Any]]:
    """Return the `top` highest probabilities, of equal ones those of earlier labels."""
    pairs = sorted(zip(facts.keys, row.probabilities, strict=True), key=lambda pair: -pair[1])
    return [
        {"label": key, "name": names.get(key, key), "probability": probability}
        for key, probability in pairs[:top]
    ]


def answered(row: Prediction, *, top: int, mine: bool) -> dict[str, Any]:
    """Return what an answer says of a prediction that has just been made."""
    facts = catalogue.facts(row.version)
    return prediction(row, facts, catalogue.names(facts.model_id), top=top, mine=mine)


def explanation(
    row: Prediction, explained: Explanation, names: Mapping[str, str]
) -> dict[str, Any]:
    """Return what an answer says of why a version said what it said."""
    rows, columns = explained.heat.shape
    region = explained.region
    return {
        "prediction": str(row.pk),
        "model": row.version.model.name,
        "version": row.version.number,
        "label": explained.label,
        "name": names.get(explained.label, explained.label),
        "probability": explained.probability,
        "method": "grad-cam",
        "rows": rows,
        "columns": columns,
        # Five decimals are more than a map is worth.
        "map": [[round(value, 5) for value in line] for line in explained.heat.tolist()],
        "region": {
            "left": region.left,
            "top": region.top,
            "width": region.width,
            "height": region.height,
        },
        "picture": {"width": explained.width, "height": explained.height},
    }


def moment(at: datetime) -> str:
    """Return a time as RFC 3339 writes it, in UTC."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _correction(label: str, names: Mapping[str, str]) -> dict[str, Any]:
    return {"label": label or None, "name": names.get(label, label) or None}


def _picture(upload: Upload) -> dict[str, Any]:
    return {
        "filename": upload.filename,
        "media_type": upload.media_type,
        "bytes": upload.bytes,
        "width": upload.width,
        "height": upload.height,
        "sha256": upload.original_sha256,
    }


def _links(row: Prediction, facts: Facts, *, mine: bool) -> dict[str, str | None]:
    itself = address("predictions", row.id) if mine else None
    return {
        "prediction": itself,
        "correction": f"{itself}/correction" if itself else None,
        "model": address("models", facts.model),
        "version": address("models", facts.model, "versions", facts.number),
    }


def model(row: RegisteredModel, names: Mapping[str, str], active: int | None) -> dict[str, Any]:
    """Return what an answer says of a registered model."""
    return {
        "name": row.name,
        "title": row.title,
        "description": row.description,
        "is_default": row.is_default,
        "active_version": active,
        "labels": [{"key": key, "name": name} for key, name in names.items()],
        "links": {
            "model": address("models", row.name),
            "versions": address("models", row.name, "versions"),
            "active_version": (
                None if active is None else address("models", row.name, "versions", active)
            ),
        },
    }


def version(row: ModelVersion) -> dict[str, Any]:
    """Return what an answer says of a version: what its manifest says of it, as it was measured."""
    manifest = row.manifest
    measured = manifest.get("metrics", {}).get("test", {})
    return {
        "model": row.model.name,
        "number": row.number,
        "architecture": row.architecture,
        "is_active": row.is_active,
        "is_archived": row.archived_at is not None,
        "registered_at": moment(row.registered_at),
        "bundle_digest": row.bundle_digest,
        "input": manifest["input"],
        "labels": manifest["labels"],
        "metrics": {name: _number(measured.get(name)) for name in FIGURES},
        "thresholds": manifest.get("confidence", {}),
        "levels": manifest.get("levels") or None,
        "not_sure": manifest.get("not_sure"),
        "accepted": (manifest.get("acceptance") or {}).get("accepted"),
        "links": {
            "version": address("models", row.model.name, "versions", row.number),
            "model": address("models", row.model.name),
        },
    }


def _number(value: object) -> float | None:
    """Return a figure of a manifest, whose metrics may hold anything that JSON can."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None  # type: ignore[arg-type]
