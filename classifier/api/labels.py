"""Labels as a file, written while it is sent."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest, StreamingHttpResponse
from ninja import Field, Query, Router, Schema

from classifier.access import Scope
from classifier.api import catalogue, openapi
from classifier.api.callers import Bearer, Caller, Request
from classifier.identifiers import uuid7
from classifier.labels import choosing, writing
from classifier.models import PredictionQuerySet
from classifier.transfers import Format

router = Router(tags=["labels"])

Written = Literal["csv", "jsonl", "label-studio"]


class Exported(Schema):
    """The query of an export."""

    format: Written = Field("csv", description="docs/how-to/labels.md says what they are.")
    model: str | None = Field(
        None, max_length=64, description="Only what this registered model labelled."
    )
    corrected: bool = Field(False, description="Only what somebody corrected or confirmed.")


def _extra() -> dict[str, Any]:
    extra = openapi.operation(*openapi.ASKED, "model_not_found")
    text, tasks = {"type": "string"}, {"type": "array", "items": {"type": "object"}}
    content = {
        "text/csv": {"schema": text},
        "application/jsonl": {"schema": text},
        # What is in Label Studio's tasks, its own documentation says.
        "application/json": {"schema": tasks},
    }
    extra["responses"][200] = {"description": "The labels, a row each.", "content": content}
    return extra


@router.get(
    "labels",
    auth=Bearer(Scope.READ),
    response={200: None},
    operation_id="export_labels",
    summary="Export labels",
    openapi_extra=_extra(),
)
def export_labels(request: Request, exported: Query[Exported]) -> StreamingHttpResponse:
    """Answer with the labels of the person's own pictures, with the scope admin of everybody's.

    In the order of time, as a stream: however many there are, they come at once.
    """
    caller, form = request.auth, writing.form_of(Format(exported.format))
    model = catalogue.named(exported.model) if exported.model else None
    rows = choosing.narrowed(
        _rows(caller),
        query={},
        model=model.pk if model else None,
        corrected_only=exported.corrected,
        until=uuid7(),
    )
    reader = choosing.Reader(caller.person, _site(request), tells_names=caller.sees_all)
    return StreamingHttpResponse(writing.lines(rows, reader, form), content_type=form.media_type)


def _rows(caller: Caller) -> PredictionQuerySet:
    everybodys = choosing.everybodys()
    if caller.sees_all:
        return everybodys
    return everybodys.owned_by(caller.person) if caller.person else everybodys.none()


def _site(request: HttpRequest) -> str:
    return request.build_absolute_uri("/").rstrip("/")
