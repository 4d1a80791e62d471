"""How labels are written: CSV, JSON Lines, and Label Studio's tasks. Row by row, as bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from typing import Any, Protocol

from classifier.labels import cells
from classifier.labels.labelled import NONE_OF_THESE, Labelled, moment

BOM = b"\xef\xbb\xbf"
COLUMNS = (
    "file_name", "model", "version", "label", "confidence", "level", "correction", "none_of_these",
    "corrected_by", "corrected_at", "classified_at", "prediction_id", "upload_id", "sha256",
    "picture", "probabilities",
)  # fmt: skip
# The names of the tags in Label Studio's labelling configuration; `configuration` writes it.
CHOICE_TAG, IMAGE_TAG = "choice", "image"
_DIGITS = 6


class Form(Protocol):
    """A format: what stands before all rows, for each, and after them."""

    media_type: str
    extension: str

    def head(self) -> bytes: ...

    def row(self, row: Labelled) -> bytes: ...

    def foot(self) -> bytes: ...


class Csv:
    """CSV as spreadsheets read it. With `bom` Excel takes it for UTF-8, which it is in any case.

    With `files` there is a first column: where in a zip the picture is, and why it is not there.
    """

    media_type = "text/csv; charset=utf-8"
    extension = "csv"

    def __init__(self, *, bom: bool = False, files: bool = False) -> None:
        self.bom, self.files = bom, files

    def head(self) -> bytes:
        columns = ("file", "problem", *COLUMNS) if self.files else COLUMNS
        return (BOM if self.bom else b"") + cells.line(columns).encode()

    def row(self, row: Labelled, file: str = "", problem: str = "") -> bytes:
        said = row.correction
        own: tuple[str | int | float, ...] = (
            *(row.file_name, row.model, row.version),
            *(row.label, round(row.confidence, _DIGITS), row.level),
            said.label if said else "",
            _truth(row),
            *((said.by, moment(said.at)) if said else ("", "")),
            *(moment(row.classified_at), str(row.prediction), str(row.upload), row.sha256),
            *(row.picture, json.dumps(_rounded(row), ensure_ascii=False)),
        )
        return _bytes(cells.line((file, problem, *own) if self.files else own))

    def foot(self) -> bytes:
        return b""


def _truth(row: Labelled) -> str:
    return "" if row.correction is None else str(row.is_none_of_these).lower()


class JsonLines:
    """An object for each row; `correction` is null where nobody said anything."""

    media_type = "application/jsonl"
    extension = "jsonl"

    def head(self) -> bytes:
        return b""

    def row(self, row: Labelled) -> bytes:
        return _bytes(json.dumps(as_object(row), ensure_ascii=False) + "\n")

    def foot(self) -> bytes:
        return b""


def as_object(row: Labelled) -> dict[str, Any]:
    said = row.correction
    correction = said and {
        "label": said.label or None,
        "none_of_these": row.is_none_of_these,
        "by": said.by,
        "at": moment(said.at),
    }
    return {
        "file_name": row.file_name,
        "model": row.model,
        "version": row.version,
        "label": row.label,
        "confidence": round(row.confidence, _DIGITS),
        "level": row.level,
        "correction": correction,
        "classified_at": moment(row.classified_at),
        "prediction_id": str(row.prediction),
        "upload_id": str(row.upload),
        "sha256": row.sha256,
        "picture": row.picture,
        "probabilities": _rounded(row),
    }


class LabelStudio:
    """Tasks for image classification: JSON as Label Studio imports it and exports it again.

    https://labelstud.io/guide/predictions and https://labelstud.io/guide/task_format. A prediction
    with its score and model version; a correction is an annotation. `data` carries our ids there
    and back.
    """

    media_type = "application/json"
    extension = "json"

    def __init__(self) -> None:
        self._between = b"\n"

    def head(self) -> bytes:
        self._between = b"\n"
        return b"["

    def row(self, row: Labelled) -> bytes:
        between, self._between = self._between, b",\n"
        return between + _bytes(json.dumps(as_task(row), ensure_ascii=False))

    def foot(self) -> bytes:
        return b"\n]\n"


def as_task(row: Labelled) -> dict[str, Any]:
    task: dict[str, Any] = {
        "data": {
            IMAGE_TAG: row.picture,
            "prediction_id": str(row.prediction),
            "upload_id": str(row.upload),
            "file_name": row.file_name,
            "sha256": row.sha256,
            "model": row.model,
        },
        "predictions": [
            {
                "model_version": f"{row.model} v{row.version}",
                "score": round(row.confidence, _DIGITS),
                "result": [_choice(row, row.label)],
            }
        ],
        "annotations": [],
    }
    if said := row.correction:
        annotation = {
            "result": [_choice(row, said.label or NONE_OF_THESE)],
            "was_cancelled": False,
            "created_at": moment(said.at),
            "updated_at": moment(said.at),
        }
        task["annotations"].append(annotation)
    return task


def configuration(labels: Iterable[str]) -> str:
    """Return the labelling configuration of a Label Studio project for these label keys, as XML."""
    choices = "".join(
        f'    <Choice value="{escape(label)}"/>\n' for label in (*labels, NONE_OF_THESE)
    )
    return (
        "<View>\n"
        f'  <Image name="{IMAGE_TAG}" value="${IMAGE_TAG}"/>\n'
        f'  <Choices name="{CHOICE_TAG}" toName="{IMAGE_TAG}" choice="single">\n'
        f"{choices}"
        "  </Choices>\n"
        "</View>\n"
    )


def _choice(row: Labelled, label: str) -> dict[str, Any]:
    return {
        "id": row.prediction.hex[-10:],
        "from_name": CHOICE_TAG,
        "to_name": IMAGE_TAG,
        "type": "choices",
        "value": {"choices": [label]},
    }


def _rounded(row: Labelled) -> dict[str, float]:
    return {key: round(value, _DIGITS) for key, value in row.probabilities.items()}


def _bytes(text: str) -> bytes:
    # A lone surrogate, in a name kept by an old version, is no reason to lose the rows after it.
    return text.encode("utf-8", "replace")
